"""Inverted file of whole vectors: exact scores within the lists that are probed, for the memory of exact search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field

from foundation.metric import Metric
from index_builders.base import BuilderSpec, Decoding
from index_builders.sizes import EXACT_UP_TO, PartitionSize

if TYPE_CHECKING:
    import faiss

    from index_builders.rows.training_set import TrainingSet


class Spec(BuilderSpec):
    """IndexIVFFlat: 4 dim + 8 bytes a vector."""

    trained: ClassVar[bool] = True
    rank: ClassVar[int] = 5

    type: Literal["ivf_flat"] = "ivf_flat"
    nlist: int = Field(ge=1, description="inverted lists = coarse centroids")
    seed: int = Field(1234, ge=0, lt=2**31, description="seed of the clustering")

    @classmethod
    def examples(cls, dim: int) -> Sequence[Self]:
        """See BuilderSpec.examples."""
        return [cls(nlist=8)]

    @classmethod
    def weighed(
        cls, size: PartitionSize, whole: PartitionSize, within: Callable[[BuilderSpec], bool]
    ) -> Sequence[BuilderSpec]:
        """See BuilderSpec.weighed: where `flat` is not."""
        return [cls.sized(size, {})] if size.rows > EXACT_UP_TO else []

    @property
    def decoding(self) -> Decoding:
        """See BuilderSpec.decoding."""
        return "vector"

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
