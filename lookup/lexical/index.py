"""One partition's lexical index, memory-mapped: queries of words in, positions and scores out.

    index = LexicalIndex.open({role: store.verified(file) for role, file in files.items()}, rows, fields, analysis)
    query = read_query(text, analysis, indexes)
    statistics = Statistics.of(query, indexes)
    scores, positions = index.search(query, statistics, k=10, mask=None)

Scores are BM25F (Robertson, Zaragoza and Taylor, "Simple BM25 extension to multiple weighted fields", CIKM 2004): of
each group of a query, idf times the saturated sum over fields of weight times count, each count by the length of its
field. Inverse frequencies and mean lengths are those of `Statistics`, of all indexes that a search asks, so that scores
of several compare: partitions merged by score are what one index of all their rows gives, to the last bit.

Groups are added from the one that may score most to the one that may least, in float32, always in that order. As soon
as `k` rows score more than all groups to come can add, no other row is looked at (MaxScore, Turtle and Flood 1995), and
those found are looked up in the postings to come. What comes out is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from foundation.arrays import Mask, Positions, Vectors
from foundation.errors import InputError, IntegrityError
from lookup.lexical.analysis import Analysis
from lookup.lexical.files import FORMAT, LexicalFiles
from lookup.lexical.query import LexicalQuery
from lookup.lexical.scoring import Scorer, Statistics
from lookup.lexical.top import Found, add, best

_FEW = 64  # of which a filter lets through one in so many rows, each is scored by itself


@dataclass(frozen=True)
class LexicalIndex:
    """An open index. Searching changes nothing in it, so threads may share it."""

    files: LexicalFiles
    weights: tuple[float, ...]  # by field

    @classmethod
    def open(
        cls, paths: Mapping[str, Path], rows: int, fields: Mapping[str, float], analysis: Analysis
    ) -> LexicalIndex:
        """The index in `paths`, by role, whose digests were checked before; `fields` are those it was built of, in
        their order, and what each weighs.

        IntegrityError when the files do not belong together, or are of other rows, fields or another analysis.
        """
        files = LexicalFiles.open(paths)
        head, wanted = files.head, (FORMAT, rows, list(fields), analysis.identity)
        found = (head.format, head.rows, head.fields, head.analysis)
        if found != wanted:
            names = ("format", "rows", "fields", "analysis")
            wrong = [at for at in range(len(names)) if found[at] != wanted[at]]
            raise IntegrityError(
                f"{paths['terms']} to be of " + ", ".join(f"{names[at]} {wanted[at]}" for at in wrong),
                ", ".join(f"{names[at]} {found[at]}" for at in wrong),
                "run `vitrine run` again: it builds the index anew",
            )
        return cls(files, tuple(fields.values()))

    @property
    def rows(self) -> int:
        """Rows of the partition."""
        return self.files.head.rows

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """(fields,) int64: words of all rows."""
        return np.array(self.files.head.sums, np.int64)

    @property
    def filled(self) -> npt.NDArray[np.int64]:
        """(fields,) int64: rows that have a word in the field."""
        return np.array(self.files.head.filled, np.int64)

    def frequencies(self, terms: Sequence[str]) -> npt.NDArray[np.int64]:
        """(terms,) int64: rows with each."""
        return np.array([end - start for start, end in map(self.files.span, terms)], np.int64)

    def search(
        self, query: LexicalQuery, statistics: Statistics, k: int, mask: Mask | None = None
    ) -> tuple[Vectors, Positions]:
        """The k best rows, (m,) float32 scores, descending, and int64 positions; equal ones by position.

        m is k, or how many rows have a term of the query and meet `mask`, (rows,) bool, where these are fewer.
        """
        if k < 1:
            raise InputError("k of at least 1", f"k: {k}", "ask for one hit or more")
        if mask is not None and mask.shape != (self.rows,):
            raise InputError(f"a mask of shape ({self.rows},)", f"shape {mask.shape}", "pass one bool a row")
        scorer = Scorer(self.files, self.weights, statistics)
        if mask is not None and _FEW * np.count_nonzero(mask) < self.rows:
            few = np.flatnonzero(mask)
            scores = self.scores(query, statistics, few)
            found = Found(few[scores > 0].astype(np.int32), scores[scores > 0])
        else:
            found = self._found(query, scorer, k, mask)
        chosen = best(found, k)
        return chosen.scores, chosen.rows.astype(np.int64)

    def scores(self, query: LexicalQuery, statistics: Statistics, positions: Positions) -> Vectors:
        """(n,) float32: the score of each of `positions`, (n,) int64, in any order; 0 where it has no term."""
        if positions.size and (positions.min() < 0 or positions.max() >= self.rows):
            came = f"{positions.min()} to {positions.max()}"
            raise InputError(f"positions from 0 to {self.rows - 1}", came, "drop the -1 of missing hits")
        rows, inverse = np.unique(positions, return_inverse=True)
        scorer = Scorer(self.files, self.weights, statistics)
        scores = np.zeros(len(rows), np.float32)
        for parts in scorer.ordered(query):
            scores += scorer.of_rows(parts, rows.astype(np.int32))
        return scores[inverse]

    def _found(self, query: LexicalQuery, scorer: Scorer, k: int, mask: Mask | None) -> Found:
        """Rows among which the k best are, and their scores."""
        groups = scorer.ordered(query)
        bounds = [max((part.factor for part in parts), default=np.float32(0)) for parts in groups]
        found, closed = Found.none(), False
        for at, parts in enumerate(groups):
            rest = np.float32(0)
            for bound in bounds[at + 1 :]:  # in the order in which scores are added, which rounds alike
                rest += bound
            if not closed:
                found, closed = add(found, Found(*scorer.of_all(parts, mask)), rest, k, self.rows)
            else:
                found = Found(found.rows, found.scores + scorer.of_rows(parts, found.rows)).within(rest, k)
        return found
