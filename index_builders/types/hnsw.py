"""A graph of near neighbours (Malkov and Yashunin: HNSW, 2016): fast where memory is plenty, slow to build.

The graph depends on the order in which rows reach it, so one thread adds them all: the same rows give the same bytes,
and a million rows take minutes. Graphs cannot be merged either: however large a partition is, it is not built as parts.
Where more rows are equal than a row has neighbours, nothing leads on from them: see measure/equal_rows.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field

from foundation.metric import Metric
from index_builders.base import MULTIPLICATIONS, BuilderSpec, Decoding

if TYPE_CHECKING:
    import faiss

    from index_builders.rows.training_set import TrainingSet


class Spec(BuilderSpec):
    """IndexHNSWFlat: 4 dim + 8 m bytes a vector and more. Its nprobe is efSearch, the rows kept while searching."""

    trained: ClassVar[bool] = False
    mergeable: ClassVar[bool] = False
    words: ClassVar[tuple[str, ...]] = ("m",)

    type: Literal["hnsw"] = "hnsw"
    m: int = Field(32, ge=4, le=256, description="neighbours of a row in the graph; twice as many on its lowest level")
    ef_construction: int = Field(200, ge=8, le=2000, description="rows kept while a row's neighbours are looked for")
    seed: int = Field(1234, ge=0, lt=2**31, description="seed of the levels")

    @classmethod
    def examples(cls, dim: int) -> Sequence[Self]:
        """See BuilderSpec.examples."""
        return [cls(m=16, ef_construction=40)]

    @property
    def decoding(self) -> Decoding:
        """See BuilderSpec.decoding."""
        return "vector"

    @property
    def most_alike(self) -> int | None:
        """See BuilderSpec.most_alike: with more, all neighbours of a row are its equals."""
        return self.m

    def nanoseconds(self, dim: int) -> tuple[float, float]:
        """See BuilderSpec.nanoseconds."""
        return 60 + 0.14 * dim, 0.0  # each row lies elsewhere in memory

    def compared(self, rows: int, nprobe: int) -> float:
        """See BuilderSpec.compared. An estimate: each of efSearch rows shows its 2 m neighbours, half for the first
        time.
        """
        return float(min(rows, nprobe * self.m))

    def build_seconds(self, rows: int, learned: int, dim: int) -> float:
        """See BuilderSpec.build_seconds: each row is compared with all neighbours of those that are kept."""
        return rows * dim * 2.0 * self.ef_construction * self.m / MULTIPLICATIONS

    def vector_bytes(self, dim: int) -> float:
        """See BuilderSpec.vector_bytes: the row, where its links begin, twice m links and one, its level."""
        return 4 * dim + 8 + 4 * (2 * self.m + 1) + 4.0

    def filling_bytes(self, dim: int) -> float:
        """See BuilderSpec.filling_bytes: links are held twice while they move to a larger place."""
        return self.vector_bytes(dim) + 4 * (2 * self.m + 1)

    def empty(self, learned_from: TrainingSet, dim: int, metric: Metric) -> faiss.Index:
        """See BuilderSpec.empty; `learned_from` is not used."""
        import faiss

        index: Any = faiss.IndexHNSWFlat(dim, self.m, metric.faiss)
        index.hnsw.efConstruction = self.ef_construction
        index.hnsw.rng = faiss.RandomGenerator(self.seed)  # type: ignore[attr-defined]  # the stubs lack it
        empty: faiss.Index = index
        return empty
