"""What an index is asked to be measured: held-out rows, and the same rows by their text alone and by their photo alone.

Users ask by one of them what was indexed by both, and the same index finds less of that. So an index is tuned until
every kind of queries reaches the target; where one recall is named, it is the least of all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from index_builders.evaluate import HeldOut, held_out, interval
from index_builders.kept import Kept, Positions, Vectors
from index_builders.shards import SegmentRef, read_tower_vectors
from lookup.errors import InputError
from lookup.manifest import KindRecall

ROW, TEXT, PHOTO = "row", "text", "photo"
_AT_ONCE = 1024  # vectors at a time
NO_ROW = {TEXT: -2, PHOTO: -3}  # own positions of queries that are no rows; -1 is what a search fills up with
_TOWERS = {TEXT: "text", PHOTO: "image"}

# By kind, of `NO_ROW`: (n, dt) float32 unit vectors of that tower -> (n, d) float32 queries by it alone.
Embed = Mapping[str, Callable[[Vectors], Vectors]]


@dataclass(frozen=True)
class Alone:
    """The rows of `segments` as they are asked by one tower alone; `at` (n,) picks some of them, in that order."""

    segments: Sequence[SegmentRef]
    embed: Embed
    at: Positions | None = None

    def among(self, at: Positions) -> Alone:
        """Of the rows at `at` only: what is position p then was at[p] before."""
        return replace(self, at=at if self.at is None else self.at[at])

    def queries(self, kind: str, positions: Positions, dim: int) -> Vectors:
        """(m, dim) float32 queries of a kind of `embed`, one for each row at rising `positions` that has what it is
        asked by; InputError where they are not finite.
        """
        wanted = positions if self.at is None else self.at[positions]
        vectors, start = list[Vectors](), 0
        for ref in self.segments:
            inside = wanted[(wanted >= start) & (wanted < start + ref.rows)] - start
            vectors += [read_tower_vectors(ref, _TOWERS[kind], inside)] if len(inside) else []
            start += ref.rows
        together, embed = np.concatenate(vectors), self.embed[kind]
        found = [embed(together[first : first + _AT_ONCE]) for first in range(0, len(together), _AT_ONCE)]
        queries = np.concatenate([np.empty((0, dim), dtype=np.float32), *found]).astype(np.float32)
        if not np.isfinite(queries).all():
            fix = "report it with the config: no run could answer these queries"
            raise InputError(f"queries of finite numbers by {kind}", "NaN or infinity", fix)
        return queries


def asked(kept: Kept, own: Positions, k: int, alone: Alone | None) -> HeldOut:
    """The rows at rising `own` as queries, and with `alone` also by each tower, with true answers from one pass over
    `kept`.

    A row is no answer to itself, but it is one to its own text and to its own photo.
    """
    queries, owners = [kept.rows[own].astype(np.float32)], [own]
    if alone is None:
        return held_out(queries[0], own, kept, k)
    for kind in alone.embed:
        queries.append(alone.queries(kind, own, kept.dim))
        owners.append(np.full(len(queries[-1]), NO_ROW[kind], dtype=np.int64))
    return held_out(np.concatenate(queries), np.concatenate(owners), kept, k)


def is_row(queries: HeldOut) -> npt.NDArray[np.bool_]:
    """Which queries are rows, (nq,)."""
    return np.asarray(queries.own >= 0)


def by_kind(queries: HeldOut, values: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    """The (nq,) values of queries by kind, of the kinds that were asked."""
    parts = {ROW: values[is_row(queries)], **{kind: values[queries.own == own] for kind, own in NO_ROW.items()}}
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
