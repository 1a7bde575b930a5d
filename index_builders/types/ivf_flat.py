"""Inverted file of whole vectors: exact scores within the lists that are probed, for the memory of exact search."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from foundation.metric import Metric
from index_builders.base import BuilderSpec

if TYPE_CHECKING:
    import faiss

    from index_builders.rows.training_set import TrainingSet


class Spec(BuilderSpec):
    """IndexIVFFlat: 4 dim + 8 bytes a vector."""

    trained: ClassVar[bool] = True

    type: Literal["ivf_flat"] = "ivf_flat"
    nlist: int = Field(ge=1, description="inverted lists = coarse centroids")
    seed: int = Field(1234, ge=0, lt=2**31, description="seed of the clustering")

    def nanoseconds(self, dim: int) -> tuple[float, float]:
        """See BuilderSpec.nanoseconds."""
        return 0.12 * dim, 400 + 5.5 * dim

    def vector_bytes(self, dim: int) -> float:
        """See BuilderSpec.vector_bytes."""
        return 4.0 * dim + 8

    def empty(self, learned_from: TrainingSet, dim: int, metric: Metric) -> faiss.Index:
        """See BuilderSpec.empty; needs as many rows as nlist."""
        import faiss

        from index_builders.fill.coarse import trained

        coarse = learned_from.coarse_quantizer(self.nlist, self.seed)
        return trained(faiss.IndexIVFFlat(coarse, dim, self.nlist, metric.faiss), learned_from.some())
