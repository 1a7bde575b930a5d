"""The two halves of a search, by embeddings and by words, merged by calibrated score (docs/explanation/words.md).

Each half gives its best rows; what one half found and the other did not is scored by the other all the same,
exactly, so that nothing in the union is guessed. Both halves are measured alike, from nothing in common with the query
to a perfect match, so that the one whose best rows are no match counts for less. A row's score is `weight` times the
share of the query's words that it has, plus the rest times how near its embedding comes:

    words       its BM25 score over that of a row of mean length with each word once, or over the best one's where
                that is more: 0 to 1; words that no product has count as missing
    embedding   from 0, where a typical row is, to 1, where one would be that has just what is asked for (or the best,
                where that is nearer); below 0 what is farther than a typical row, the mean of rows spread over all

Neither depends on `k`, on other candidates or on filters. Of a query by text and photo the words are one of two things
that are asked for, so they have half their weight. Where no product has a word of the query, or there is none in it,
hits and scores are those of the embeddings alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from pydantic import ValidationError

from foundation.arrays import Positions, Vectors
from foundation.errors import InputError
from lookup.candidates import Candidates, Merge
from lookup.dense import dense_candidates
from lookup.index.partition_index import STEADY
from lookup.index.scores import scores_of
from lookup.index.subset import RowSubset
from lookup.lexical.analysis import Analysis
from lookup.lexical.index import LexicalIndex
from lookup.lexical.query import Correction, LexicalQuery
from lookup.lexical.reading import read_query
from lookup.lexical.scoring import K1, Statistics
from lookup.segments import Partition
from lookup.store.manifest import Manifest
from lookup.store.store import Store

_LEAST = 1e-6
_TYPICAL = 128  # rows whose mean score is that of a typical one; of a cosine to 0.01
Within = Sequence[tuple[Partition, RowSubset | None]]


@dataclass(frozen=True)
class Words:
    """How an open snapshot is searched by words: the lexical index of each partition, and what a query's words are."""

    analysis: Analysis
    weight: float  # share of the words in a score, unless a query says another
    indexes: Mapping[str, LexicalIndex]

    @classmethod
    def of(cls, store: Store, manifest: Manifest, partitions: Sequence[str]) -> Words | None:
        """Those of some partitions, opened after their digests were checked; None where there are none."""
        entry = manifest.lexical
        if entry is None:
            return None
        try:
            analysis = Analysis(**entry.analysis)
        except (ValidationError, TypeError) as err:
            fix = "install the version of the run (`vitrine inspect STORE` shows it), or run again with this one"
            raise InputError("an analysis of words that this version knows", str(err), fix) from err
        records = {one.name: one.lexical for one in manifest.partitions if one.name in {*partitions}}
        opened = {
            name: LexicalIndex.open(
                {role: store.verified(file) for role, file in record.files.items()},
                record.rows,
                {field: entry.fields[field] for field in record.fields},
                analysis,
            )
            for name, record in records.items()
            if record is not None
        }
        return cls(analysis, entry.weight, opened)

    def asked(self, text: str, within: Within) -> Asked:
        """A text as those partitions are asked for it."""
        indexes = [self.indexes[partition.name] for partition, _ in within]
        query = read_query(text, self.analysis, indexes)
        return Asked(query, Statistics.of(query, indexes), indexes)


@dataclass(frozen=True)
class Asked:
    """The words of a query, and the lexical indexes of the partitions that are searched, in their order."""

    query: LexicalQuery
    statistics: Statistics
    indexes: Sequence[LexicalIndex]

    @property
    def corrections(self) -> tuple[Correction, ...]:
        """The words that no product has, and what was looked for in their place."""
        return self.query.corrections

    @cached_property
    def full(self) -> float:
        """The score of a row of mean length that has each word once, in the field that weighs most; words that no
        product has count as the rarest.
        """
        found, heaviest = 0.0, max(self.indexes[0].weights)
        for group in self.query.groups:
            most = max(self.statistics.frequency(one.terms) for one in group.alternatives)
            found += (K1 + 1) * group.weight * self.statistics.idf(most) * heaviest / (heaviest + K1)
        return found

    def shares(self, scores: Vectors, best: float) -> Vectors:
        """BM25 scores, (n,) float32, as shares of the words: 1 is `full`, or the `best` row where that has more."""
        return np.asarray(scores / np.float32(self.most(best)), np.float32)

    def most(self, best: float) -> float:
        """The BM25 score that counts as all of the words, see `shares`."""
        return max(self.full, best) or 1.0

    def best(self, within: Within, k: int) -> Candidates:
        """The `k` best rows by words, of each partition those that a filter lets through."""
        found = list[tuple[Vectors, Positions]]()
        for index, (_, subset) in zip(self.indexes, within, strict=True):
            mask = None
            if subset is not None:
                mask = np.zeros(index.rows, np.bool_)
                mask[subset.positions] = True
            found.append(index.search(self.query, self.statistics, k, mask))
        best = Candidates.of([partition.name for partition, _ in within], found).ranked().first(k)
        return replace(best, lexical=best.score, dense=np.full(len(best), np.nan, np.float32))

    def scores(self, rows: Candidates) -> Vectors:
        """(n,) float32: the BM25 score of each of `rows`, of these partitions; 0 where it has no word."""
        scores = np.zeros(len(rows), np.float32)
        for number, index in enumerate(self.indexes):
            here = rows.part == number
            if here.any():
                scores[here] = index.scores(self.query, self.statistics, rows.positions[here])
        return scores


@dataclass(frozen=True)
class Halves:
    """Candidates of both halves, and what each gives to a score of theirs: (n,) float32 each, before it is weighed."""

    rows: Candidates  # `score` is that of the embeddings
    words: Vectors
    vectors: Vectors

    def ranked(self, weight: float) -> Candidates:
        """Best first, where words have the share `weight`, 0..1, of a score."""
        # never quite without the embedding: rows that have no word come in its order
        score = weight * self.words + max(1 - weight, _LEAST) * self.vectors
        assert self.rows.merge is not None  # as `both_halves` has it
        merge = self.rows.merge._replace(weight=weight)
        return replace(self.rows, merge=merge).ranked(score.astype(np.float32))


def hybrid_candidates(
    xq: Vectors, asked: Asked, within: Within, k: int, nprobe: int | None, weight: float
) -> Candidates:
    """The best rows of both halves for `xq`, (1, dim) float32, and the words `asked`, best first: `k` or more where so
    many meet the filter. Words have the share `weight`, 0..1, of a score.
    """
    found = both_halves(xq, asked, within, k, nprobe)
    return replace(found.rows, merge=None) if weight < 1 and not found.words.any() else found.ranked(weight)


def both_halves(xq: Vectors, asked: Asked, within: Within, k: int, nprobe: int | None) -> Halves:
    """The candidates that `hybrid_candidates` puts in order; where none has a word, those of the embeddings alone, best
    first.
    """
    depth = max(k, STEADY)
    dense, words = dense_candidates(xq, within, depth, nprobe).first(depth), asked.best(within, depth)
    rows, typical = _joined(xq, within, asked, dense, words)
    high = max(within[0][0].index.metric.perfect, float(dense.score.max(initial=-np.inf)))
    by_vector = (rows.dense - typical) / (high - typical) if high > typical else np.ones(len(rows), np.float32)
    best = float(words.score.max(initial=0))
    merge = Merge(0.0, asked.most(best), typical, high)
    return Halves(replace(rows, merge=merge), asked.shares(rows.lexical, best), np.asarray(by_vector, np.float32))


def _joined(
    xq: Vectors, within: Within, asked: Asked, dense: Candidates, words: Candidates
) -> tuple[Candidates, float]:
    """Both, no row twice, each with its scores by either half; and the mean score of rows spread over the partitions by
    their embeddings.
    """
    known = {(int(part), int(row)) for part, row in zip(dense.part, dense.positions, strict=True)}
    pairs = zip(words.part, words.positions, strict=True)
    new = words.take(np.array([at for at, (part, row) in enumerate(pairs) if (int(part), int(row)) not in known], int))
    vectors, typical = np.empty(len(new), np.float32), list[Vectors]()
    for number, spread in enumerate(_spread([partition.index.rows for partition, _ in within])):
        here = np.flatnonzero(new.part == number)
        rows, at = np.unique(np.concatenate([new.positions[here], spread]), return_inverse=True)
        if len(rows):  # asked at once: some indexes look through all of theirs for it
            scores = scores_of(within[number][0].index, xq, rows)[0][at]
            vectors[here] = scores[: len(here)]
            typical.append(scores[len(here) :])
    joined = Candidates(
        dense.partitions,
        np.concatenate([dense.part, new.part]),
        np.concatenate([dense.positions, new.positions]),
        np.concatenate([dense.score, vectors]),
        np.concatenate([dense.dense, vectors]),
        np.concatenate([asked.scores(dense), new.lexical]),
    )
    return joined, float(np.concatenate(typical).mean(dtype=np.float64))


def _spread(rows: Sequence[int]) -> list[Positions]:
    """Positions in each of some partitions of so many `rows`: `_TYPICAL` in all, evenly spaced, or every row."""
    ends = np.cumsum(rows)
    places = np.linspace(0, ends[-1] - 1, min(_TYPICAL, int(ends[-1]))).astype(np.int64)
    part = np.searchsorted(ends, places, side="right")
    return [places[part == number] - (ends[number] - count) for number, count in enumerate(rows)]
