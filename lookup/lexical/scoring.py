"""What the terms of a query score in the rows of one index: BM25F, see index.py."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from foundation.arrays import Mask, Vectors
from lookup.lexical.files import LexicalFiles
from lookup.lexical.query import Group, LexicalQuery

# As Robertson and Zaragoza have them ("The Probabilistic Relevance Framework", 2009, 3.6: k1 of 1.2 to 2, b of 0.5 to
# 0.8). On titles of two shops k1 of 0.4 to 1.2 is the same to half a point, b below 0.75 a point worse.
K1, B = 1.2, 0.75
_DENSE = 4  # postings for each row asked for, below which all are scored: looking rows up costs more
Rows = npt.NDArray[np.int32]


class Counted(Protocol):
    """What `Statistics` sums: a `LexicalIndex`."""

    @property
    def rows(self) -> int:
        """Rows of the partition."""

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """(fields,) int64: words of all rows."""

    @property
    def filled(self) -> npt.NDArray[np.int64]:
        """(fields,) int64: rows that have a word in the field."""

    def frequencies(self, terms: Sequence[str]) -> npt.NDArray[np.int64]:
        """(terms,) int64: rows with each."""


@dataclass(frozen=True)
class Statistics:
    """What scores depend on beside a row itself, of all indexes that a search asks."""

    rows: int
    mean_lengths: tuple[float, ...]  # by field: of the rows that have a word in it
    frequencies: Mapping[str, int]  # rows with each term of the query

    @classmethod
    def of(cls, query: LexicalQuery, indexes: Iterable[Counted]) -> Statistics:
        """Those of `query` in `indexes`, of the same fields."""
        asked, terms = list(indexes), query.terms
        lengths, filled = sum(one.lengths for one in asked), sum(one.filled for one in asked)
        counted = sum((one.frequencies(terms) for one in asked), np.zeros(len(terms), np.int64))
        means = np.atleast_1d(lengths / np.maximum(filled, 1)).tolist()
        return cls(sum(one.rows for one in asked), tuple(means), dict(zip(terms, counted.tolist(), strict=True)))

    def frequency(self, terms: Sequence[str]) -> int:
        """Rows with the rarest of `terms`: no more have all of them."""
        return min((self.frequencies.get(term, 0) for term in terms), default=0)

    def idf(self, frequency: int) -> float:
        """Of a term that `frequency` rows have; above zero whatever that is."""
        return math.log1p((self.rows - frequency + 0.5) / (frequency + 0.5))


@dataclass(frozen=True)
class Part:
    """An alternative of a group, in one index."""

    spans: tuple[tuple[int, int], ...]  # where the postings of its terms lie, the rarest first; none: no row has all
    factor: np.float32  # what a row scores that is full of it

    @property
    def size(self) -> int:
        """Postings of its rarest term."""
        return self.spans[0][1] - self.spans[0][0]

    @classmethod
    def of(cls, files: LexicalFiles, terms: Sequence[str], factor: float) -> Part:
        """The alternative of `terms`."""
        spans = sorted((files.span(term) for term in terms), key=lambda span: span[1] - span[0])
        return cls(tuple(spans) if all(end > start for start, end in spans) else (), np.float32(factor))


@dataclass(frozen=True)
class Scorer:
    """Scores of groups in one index. A group is given as its parts."""

    files: LexicalFiles
    weights: tuple[float, ...]  # by field
    statistics: Statistics

    def ordered(self, query: LexicalQuery) -> list[list[Part]]:
        """The groups that some row of all indexes has, from the one that may score most: one order for all indexes.
        Each as those parts of it that rows of this index have.
        """
        factors = [self._factors(group) for group in query.groups]
        order = sorted(range(len(factors)), key=lambda at: -max(factors[at]))
        groups = [(query.groups[at].alternatives, factors[at]) for at in order if max(factors[at]) > 0]
        return [
            [
                part
                for one, factor in zip(alternatives, weighed, strict=True)
                if factor and (part := Part.of(self.files, one.terms, factor)).spans
            ]
            for alternatives, weighed in groups
        ]

    def of_all(self, parts: Sequence[Part], mask: Mask | None) -> tuple[Rows, Vectors]:
        """The rows that have a group, ascending, and what each scores; only those of `mask`."""
        if not parts:
            return np.empty(0, np.int32), np.empty(0, np.float32)
        found = [self._of_part(part, mask) for part in parts]
        if len(found) == 1:
            return found[0]
        rows, scores = np.concatenate([one for one, _ in found]), np.concatenate([one for _, one in found])
        order = np.argsort(rows, kind="stable")
        rows, scores = rows[order], scores[order]
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        return rows[starts], np.maximum.reduceat(scores, starts) if len(rows) else scores

    def of_rows(self, parts: Sequence[Part], rows: Rows) -> Vectors:
        """(n,) float32: what each of `rows`, (n,) ascending, scores for a group, 0 where it lacks it."""
        if len(rows) * _DENSE > sum(part.size for part in parts):
            table = np.zeros(self.files.head.rows, np.float32)
            having, scores = self.of_all(parts, None)
            table[having] = scores
            return table[rows]
        scores = np.zeros(len(rows), np.float32)
        for part in parts:
            weighed = self._weighed_at(part.spans[0], rows)
            for span in part.spans[1:]:
                weighed = np.minimum(weighed, self._weighed_at(span, rows))
            scores = np.maximum(scores, _saturated(weighed, part.factor))
        return scores

    def _of_part(self, part: Part, mask: Mask | None) -> tuple[Rows, Vectors]:
        first = slice(*part.spans[0])
        rows = self.files.rows_of(first)
        places: slice | npt.NDArray[np.int64] = first
        if mask is not None:
            kept = np.flatnonzero(mask[rows])
            rows, places = rows[kept], kept + first.start
        weighed = self._weighed(places, rows)
        for span in part.spans[1:]:
            weighed = np.minimum(weighed, self._weighed_at(span, rows))
        if len(part.spans) > 1:
            rows, weighed = rows[weighed > 0], weighed[weighed > 0]
        return rows, _saturated(weighed, part.factor)

    def _weighed_at(self, span: tuple[int, int], rows: Rows) -> Vectors:
        """(n,) float32: the weighed counts of a term in `rows`, ascending, 0 where one lacks it."""
        places = self.files.places(span, rows)
        weighed, there = np.zeros(len(rows), np.float32), places >= 0
        weighed[there] = self._weighed(places[there], rows[there])
        return weighed

    def _weighed(self, places: slice | npt.NDArray[np.int64], rows: Rows) -> Vectors:
        """(n,) float32: of the postings at `places`, of `rows`: the counts by field, by length, times weights."""
        counts, lengths = self.files.counts[places], self.files.lengths
        total: Vectors = counts[:, 0] * self._norms[0][lengths[:, 0][rows]]
        for field in range(1, len(self.weights)):
            total += counts[:, field] * self._norms[field][lengths[:, field][rows]]
        return total

    @cached_property
    def _norms(self) -> list[Vectors]:
        """By field, what one mention weighs in a field of each length, float32."""
        lengths = np.arange(np.iinfo(self.files.lengths.dtype).max + 1)
        return [
            (weight / (1 - B + B * lengths / (mean or 1.0))).astype(np.float32)
            for weight, mean in zip(self.weights, self.statistics.mean_lengths, strict=True)
        ]

    def _factors(self, group: Group) -> list[float]:
        """What a row scores that is full of each alternative: (k1 + 1) times weights times the idf of the group, which
        is that of its most frequent alternative; 0 where no row has it.
        """
        frequencies = [self.statistics.frequency(one.terms) for one in group.alternatives]
        factor = (K1 + 1) * group.weight * self.statistics.idf(max(frequencies))
        return [
            factor * one.weight if frequency else 0.0
            for one, frequency in zip(group.alternatives, frequencies, strict=True)
        ]


def _saturated(weighed: Vectors, factor: np.float32) -> Vectors:
    return weighed / (weighed + np.float32(K1)) * factor
