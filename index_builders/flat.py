"""Exact search: every vector is compared. For partitions so small that this takes less than a millisecond."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

from index_builders.base import BuilderSpec
from lookup.metric import Metric

if TYPE_CHECKING:
    import faiss

    from index_builders.base import Vectors


class Spec(BuilderSpec):
    """IndexFlat: float32 vectors, recall 1."""

    trained: ClassVar[bool] = False

    type: Literal["flat"] = "flat"

    def build(self, xt: Vectors, blocks: Iterable[Vectors], dim: int, metric: Metric) -> faiss.Index:
        """See BuilderSpec.build; `xt` is not used."""
        import faiss

        index = faiss.IndexFlat(dim, metric.faiss)
        for xb in blocks:
            index.add(xb)
        return index
