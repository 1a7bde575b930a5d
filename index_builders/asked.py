"""What an index is asked to be measured: held-out rows, and the same rows by their text alone.

Users ask by text what was indexed by text and photo, and the same index finds less of that. So an index is tuned until
both kinds of queries reach the target; where one recall is named, it is the least of both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from index_builders.evaluate import HeldOut, held_out, interval
from index_builders.kept import Kept, Positions, Vectors
from index_builders.shards import SegmentRef, read_text_vectors
from lookup.errors import InputError
from lookup.manifest import KindRecall

ROW, TEXT = "row", "text"
_AT_ONCE = 1024  # texts at a time
NO_ROW = -2  # the own position of a query that is no row: -1 is what a search returns where it found too little

Embed = Callable[[Vectors], Vectors]  # (n, dt) float32 unit text vectors -> (n, d) float32 queries by text alone


@dataclass(frozen=True)
class Texts:
    """The rows of `segments` as they are asked by their text alone; `at` (n,) picks some of them, in that order."""

    segments: Sequence[SegmentRef]
    embed: Embed
    at: Positions | None = None

    def among(self, at: Positions) -> Texts:
        """Of the rows at `at` only: what is position p then was at[p] before."""
        return replace(self, at=at if self.at is None else self.at[at])

    def queries(self, positions: Positions, dim: int) -> Vectors:
        """(m, dim) float32 queries, one for each row at rising `positions` that has a text; InputError for others."""
        wanted = positions if self.at is None else self.at[positions]
        texts, start = list[Vectors](), 0
        for ref in self.segments:
            inside = wanted[(wanted >= start) & (wanted < start + ref.rows)] - start
            texts += [read_text_vectors(ref, inside)] if len(inside) else []
            start += ref.rows
        together = np.concatenate(texts)
        found = [self.embed(together[first : first + _AT_ONCE]) for first in range(0, len(together), _AT_ONCE)]
        queries = np.concatenate([np.empty((0, dim), dtype=np.float32), *found]).astype(np.float32)
        if not np.isfinite(queries).all():
            fix = "report it with the config: no run could answer these queries"
            raise InputError("queries of finite numbers from text vectors", "NaN or infinity", fix)
        return queries


def asked(kept: Kept, own: Positions, k: int, texts: Texts | None) -> HeldOut:
    """The rows at rising `own` as queries, and with `texts` also by these, with true answers from one pass over `kept`.

    A row is no answer to itself, but it is one to its own text.
    """
    xq = kept.rows[own].astype(np.float32)
    if texts is not None:
        by_text = texts.queries(own, kept.dim)
        xq, own = np.concatenate([xq, by_text]), np.concatenate([own, np.full(len(by_text), NO_ROW, dtype=np.int64)])
    return held_out(xq, own, kept, k)


def is_row(queries: HeldOut) -> npt.NDArray[np.bool_]:
    """Which queries are rows, (nq,)."""
    return np.asarray(queries.own != NO_ROW)


def by_kind(queries: HeldOut, values: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    """The (nq,) values of queries by kind, of the kinds that were asked."""
    rows = is_row(queries)
    parts = {ROW: values[rows], TEXT: values[~rows]}
    return {kind: part for kind, part in parts.items() if len(part)}


def least(queries: HeldOut, recalls: npt.NDArray[np.float64]) -> float:
    """The mean recall of the kind of queries that has the least, of (nq,) recalls."""
    return min(float(part.mean()) for part in by_kind(queries, recalls).values())


def recalls_of_kinds(queries: HeldOut, recalls: npt.NDArray[np.float64]) -> tuple[KindRecall, ...]:
    """The recall of each kind of queries with its 95% bootstrap interval, the least first."""
    found = []
    for kind, part in by_kind(queries, recalls).items():
        low, high = interval(part, seed=0)
        found.append(KindRecall(kind=kind, queries=len(part), recall=float(part.mean()), low=low, high=high))
    return tuple(sorted(found, key=lambda one: one.recall))
