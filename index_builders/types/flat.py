"""Exact search: every vector is compared. For partitions so small that this takes less than a millisecond."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from foundation.metric import Metric
from index_builders.base import ROW_NS, BuilderSpec

if TYPE_CHECKING:
    import faiss

    from index_builders.rows.training_set import TrainingSet


class Spec(BuilderSpec):
    """IndexFlat: float32 vectors, recall 1."""

    trained: ClassVar[bool] = False
    exact: ClassVar[bool] = True

    type: Literal["flat"] = "flat"

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
