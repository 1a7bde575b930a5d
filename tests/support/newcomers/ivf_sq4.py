"""Inverted file of scalar codes: half a byte for each dimension, of the residual to the centroid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field

from foundation.metric import Metric
from index_builders.base import BuilderSpec, Decoding, RefineKind
from index_builders.sizes import PartitionSize

if TYPE_CHECKING:
    import faiss

    from index_builders.rows.training_set import TrainingSet


class Spec(BuilderSpec):
    """IndexIVFScalarQuantizer, QT_4bit: dim / 2 + 8 bytes a vector."""

    trained: ClassVar[bool] = True
    rank: ClassVar[int] = 6

    type: Literal["ivf_sq4"] = "ivf_sq4"
    nlist: int = Field(ge=1, description="inverted lists = coarse centroids")
    refine: RefineKind = Field("fp16", description="vectors that rank candidates again")
    seed: int = Field(1234, ge=0, lt=2**31, description="seed of the clustering")

    @classmethod
    def examples(cls, dim: int) -> Sequence[Self]:
        """See BuilderSpec.examples."""
        return [cls(nlist=8)]

    @classmethod
    def weighed(
        cls, size: PartitionSize, whole: PartitionSize, within: Callable[[BuilderSpec], bool]
    ) -> Sequence[BuilderSpec]:
        """See BuilderSpec.weighed."""
        return [cls.sized(size, {})]

    @property
    def decoding(self) -> Decoding:
        """See BuilderSpec.decoding."""
        return "code"

    @property
    def refined(self) -> tuple[RefineKind, int | None]:
        """See BuilderSpec.refined."""
        return self.refine, None

    def nanoseconds(self, dim: int) -> tuple[float, float]:
        """See BuilderSpec.nanoseconds."""
        return 0.08 * dim, 400.0

    def vector_bytes(self, dim: int) -> float:
        """See BuilderSpec.vector_bytes."""
        return dim / 2 + 8

    def empty(self, learned_from: TrainingSet, dim: int, metric: Metric) -> faiss.Index:
        """See BuilderSpec.empty; needs as many rows as nlist."""
        import faiss

        from index_builders.fill.coarse import trained

        coarse = learned_from.coarse_quantizer(self.nlist, self.seed)
        ivf = faiss.IndexIVFScalarQuantizer(coarse, dim, self.nlist, faiss.ScalarQuantizer.QT_4bit, metric.faiss)
        return trained(ivf, learned_from.some())
