"""Products that come into question for one query: what the steps of a search hand on to one another."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from foundation.arrays import Positions, Vectors


class Merge(NamedTuple):
    """How scores of two halves were merged: `weight` times lexical / `most`, plus the rest times where dense stands
    from `low` to `high`.
    """

    weight: float
    most: float
    low: float
    high: float

    def of_words(self, lexical: Vectors) -> Vectors:
        """(n,) float32: what scores have of the words, of scores by words or of differences of these."""
        return np.asarray(np.float32(self.weight / self.most) * lexical, np.float32)

    def of_vectors(self, dense: Vectors) -> Vectors:
        """(n,) float32: what scores have of the embeddings, of scores by these."""
        if self.high <= self.low:
            return np.full(len(dense), 1 - self.weight, np.float32)
        return np.asarray(np.float32(self.per_dense()) * (dense - np.float32(self.low)), np.float32)

    def per_dense(self) -> float:
        """What a score has of one unit of the score of an embedding."""
        return (1 - self.weight) / (self.high - self.low) if self.high > self.low else 0.0


@dataclass(frozen=True)
class Candidates:
    """Rows of some partitions, (n,) arrays of one length, no row twice.

    Whoever makes a ranking puts what ranks into `score` and calls `ranked`; the halves stay beside it for those after.
    """

    partitions: tuple[str, ...]  # names that `part` numbers
    part: npt.NDArray[np.int32]
    positions: Positions  # in the index of their partition
    score: Vectors  # float32, bigger is better
    dense: Vectors  # float32 scores of the embeddings, by the snapshot's metric; NaN: not asked
    lexical: Vectors  # float32 scores of the words, 0 where none meets; NaN: not asked
    merge: Merge | None = None  # of the two halves; None: one of them alone ranks

    @classmethod
    def of(cls, partitions: Sequence[str], found: Sequence[tuple[Vectors, Positions]]) -> Candidates:
        """What a dense search of each of `partitions` found: (n,) scores and positions, -1 where there is no row."""
        there = [positions >= 0 for _, positions in found]
        scores = [scores[is_row] for (scores, _), is_row in zip(found, there, strict=True)]
        dense = np.concatenate(scores) if scores else np.empty(0, np.float32)
        rows = [positions[is_row] for (_, positions), is_row in zip(found, there, strict=True)]
        return cls(
            tuple(partitions),
            np.repeat(np.arange(len(rows), dtype=np.int32), [len(one) for one in rows]),
            np.concatenate(rows) if rows else np.empty(0, np.int64),
            dense,
            dense,
            np.full(len(dense), np.nan, np.float32),
        )

    def __len__(self) -> int:
        return len(self.positions)

    def take(self, order: npt.NDArray[np.integer]) -> Candidates:
        """Those at `order`, in that order."""
        part, positions, score = self.part[order], self.positions[order], self.score[order]
        return Candidates(self.partitions, part, positions, score, self.dense[order], self.lexical[order], self.merge)

    def ranked(self, score: Vectors | None = None) -> Candidates:
        """Best first by `score`, (n,) float32, or by what they have; equal ones by partition and position."""
        scored = self if score is None else replace(self, score=score)
        return scored.take(scored.order(scored.score))

    def order(self, score: npt.NDArray[np.floating]) -> npt.NDArray[np.intp]:
        """(n,): the order of best first by `score`, (n,); equal ones by partition and position."""
        places = {name: place for place, name in enumerate(sorted(self.partitions))}
        by_name = np.array([places[name] for name in self.partitions], np.int32)[self.part]
        return np.lexsort((self.positions, by_name, -score))

    def first(self, k: int) -> Candidates:
        """The first k."""
        return self.take(np.arange(min(k, len(self))))

    def without(self, rows: Collection[tuple[str, int]]) -> Candidates:
        """Those that are not among `rows`, each (partition, position)."""
        if not rows:
            return self
        kept = [(self.name(at), int(self.positions[at])) not in rows for at in range(len(self))]
        return self.take(np.flatnonzero(kept))

    def name(self, at: int) -> str:
        """The partition of the one at `at`."""
        return self.partitions[int(self.part[at])]
