"""What an index is asked to be measured: held-out rows, and what users ask, encoded anew: their texts, their photos.

Users ask by one of them what was indexed by both, with vectors that no row has and photos that no catalog has, and the
same index finds less of that. So an index is tuned until every kind of queries reaches the target; where one recall is
named, it is the least of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from foundation.arrays import Positions, Vectors
from foundation.errors import InputError
from index_builders.measure.recall import HeldOut, held_out, interval
from index_builders.rows.shards import SegmentRef
from index_builders.rows.vectors_file import VectorsFile
from lookup.store.entries.index_record import KindRecall

ROW, TEXT, PHOTO, BOTH = "row", "text", "photo", "both"
NO_ROW = {TEXT: -2, PHOTO: -3, BOTH: -4}  # own positions of queries that are no rows; -1 is what a search fills up with

# By kind, of `NO_ROW`: what makes queries (m, d) float32 of the rows at rising positions (n,) of some segments, of
# those that have what they are asked by.
Embed = Mapping[str, Callable[[Sequence[SegmentRef], Positions], Vectors]]


@dataclass(frozen=True)
class TowerQueries:
    """The rows of `segments` as they are asked by text, photo or both; `at` (n,) picks some of them, in that order."""

    segments: Sequence[SegmentRef]
    embed: Embed
    at: Positions | None = None

    def among(self, at: Positions) -> TowerQueries:
        """Of the rows at `at`, (n,) int64, only: what is position p then was at[p] before."""
        return replace(self, at=at if self.at is None else self.at[at])

    def queries(self, kind: str, positions: Positions, dim: int) -> Vectors:
        """(m, dim) float32 queries of a kind of `embed`, one for each row at rising `positions` that has what it is
        asked by; InputError where they are not finite.
        """
        found = self.embed[kind](self.segments, positions if self.at is None else self.at[positions])
        queries = np.asarray(found, dtype=np.float32).reshape(-1, dim)
        if not np.isfinite(queries).all():
            fix = "report it with the config: no run could answer these queries"
            raise InputError(f"queries of finite numbers by {kind}", "NaN or infinity", fix)
        return queries


def inside(segments: Sequence[SegmentRef], positions: Positions) -> Iterator[tuple[SegmentRef, Positions]]:
    """Of rising `positions`, (n,) int64, in all `segments` together those of each segment that has some, counted from
    its first.
    """
    start = 0
    for ref in segments:
        some = positions[(positions >= start) & (positions < start + ref.rows)] - start
        if len(some):
            yield ref, some
        start += ref.rows


def make_queries(vectors: VectorsFile, own: Positions, k: int, alone: TowerQueries | None) -> HeldOut:
    """The rows at rising `own` (n,) int64 as queries, and with `alone` also by text and photo, with true answers from
    one pass over `vectors`.

    A row is no answer to itself, but it is one to its own text and to its own photo.
    """
    queries, owners = [vectors.rows[own].astype(np.float32)], [own]
    if alone is None:
        return held_out(queries[0], own, vectors, k)
    for kind in alone.embed:
        queries.append(alone.queries(kind, own, vectors.dim))
        owners.append(np.full(len(queries[-1]), NO_ROW[kind], dtype=np.int64))
    return held_out(np.concatenate(queries), np.concatenate(owners), vectors, k)


def is_row(queries: HeldOut) -> npt.NDArray[np.bool_]:
    """Which queries are rows, (nq,) bool."""
    return np.asarray(queries.own >= 0)


def by_kind(queries: HeldOut, values: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    """The (nq,) float64 values of queries by kind, of the kinds that were asked."""
    parts = {ROW: values[is_row(queries)], **{kind: values[queries.own == own] for kind, own in NO_ROW.items()}}
    return {kind: part for kind, part in parts.items() if len(part)}


def least(queries: HeldOut, recalls: npt.NDArray[np.float64]) -> float:
    """The mean recall of the kind of queries that has the least, of (nq,) float64 recalls."""
    return min(float(part.mean()) for part in by_kind(queries, recalls).values())


def recalls_of_kinds(queries: HeldOut, recalls: npt.NDArray[np.float64]) -> tuple[KindRecall, ...]:
    """The recall of each kind of queries, of (nq,) float64 ones, with its 95% bootstrap interval, the least first."""
    found = []
    for kind, part in by_kind(queries, recalls).items():
        low, high = interval(part, seed=0)
        found.append(KindRecall(kind=kind, queries=len(part), recall=float(part.mean()), low=low, high=high))
    return tuple(sorted(found, key=lambda one: one.recall))
