"""Exact search: every vector is compared. For partitions so small that this takes less than a millisecond."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

from index_builders.base import BuilderSpec

if TYPE_CHECKING:
    import faiss

    from index_builders.base import Vectors


class Spec(BuilderSpec):
    """IndexFlatIP: float32 vectors, inner product, recall 1."""

    trained: ClassVar[bool] = False

    type: Literal["flat"] = "flat"

    def build(self, xt: Vectors, blocks: Iterable[Vectors], dim: int) -> faiss.Index:
        """See BuilderSpec.build; `xt` is not used."""
        import faiss

        index = faiss.IndexFlatIP(dim)
        for xb in blocks:
            index.add(xb)
        return index
