"""Exact search: every vector is compared. For partitions so small that this takes less than a millisecond."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from foundation.metric import Metric
from index_builders.base import ROW_NS, BuilderSpec, Decoding
from index_builders.sizes import EXACT_UP_TO, PartitionSize

if TYPE_CHECKING:
    import faiss

    from index_builders.rows.training_set import TrainingSet


class Spec(BuilderSpec):
    """IndexFlat: float32 vectors, recall 1."""

    trained: ClassVar[bool] = False
    exact: ClassVar[bool] = True
    rank: ClassVar[int] = 4

    type: Literal["flat"] = "flat"

    @classmethod
    def examples(cls, dim: int) -> Sequence[Self]:
        """See BuilderSpec.examples."""
        return [cls()]

    @classmethod
    def weighed(
        cls, size: PartitionSize, whole: PartitionSize, within: Callable[[BuilderSpec], bool]
    ) -> Sequence[BuilderSpec]:
        """See BuilderSpec.weighed: while comparing every row takes no longer than looking for some."""
        return [cls()] if size.rows <= EXACT_UP_TO else []

    @property
    def decoding(self) -> Decoding:
        """See BuilderSpec.decoding."""
        return "vector"

    def nanoseconds(self, dim: int) -> tuple[float, float]:
        """See BuilderSpec.nanoseconds."""
        return ROW_NS * dim, 0.0

    def vector_bytes(self, dim: int) -> float:
        """See BuilderSpec.vector_bytes."""
        return 4.0 * dim

    def filling_bytes(self, dim: int) -> float:
        """See BuilderSpec.filling_bytes: room is made for all rows at once."""
        return self.vector_bytes(dim)

    def empty(self, learned_from: TrainingSet, dim: int, metric: Metric) -> faiss.Index:
        """See BuilderSpec.empty; `learned_from` is not used."""
        import faiss

        return faiss.IndexFlat(dim, metric.faiss)
