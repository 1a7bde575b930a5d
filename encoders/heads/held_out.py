"""How well heads find what they did not see: learned on all groups but a part, asked by the rows of that part.

Whether the nearest row is of the same group says little where photos were taken one after the other: it is, by any
vectors. So what counts is the recall of the whole group (R-precision; Musgrave, Belongie, Lim 2020, "A metric learning
reality check").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from encoders.base import Modality
from encoders.heads.base import HeadSpec, Map
from encoders.heads.folder import Figure, HeldOut
from encoders.heads.sums import Sums
from foundation.arrays import Positions, Vectors
from foundation.errors import InputError
from foundation.liveness import beat

FOLDS = 4  # parts of the groups, each of which is held out once
LOSS = 0.001  # of the recall that `auto` gives away for fewer dimensions
_DIMS = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_QUERIES = 512  # of a part
_AT_ONCE = 256
_HITS = 31  # of which as many count as the group has other rows


@dataclass(frozen=True)
class Sample:
    """Rows that ask and are found: (n, d) float32 of the towers that a head reads, side by side, and of each the number
    of its group and the part that this is in, (n,) int64.
    """

    rows: Vectors
    group: Positions
    part: Positions


@dataclass
class _Tally:
    """Of queries, in order: whether the first hit is right, and the share of the group among as many hits."""

    right: list[Vectors] = field(default_factory=list)
    recalls: list[Vectors] = field(default_factory=list)

    @property
    def queries(self) -> int:
        """How many."""
        return sum(map(len, self.recalls))

    def figure(self, dim: int, ridge: float | None, before: _Tally | None = None) -> Figure:
        """The means, and what was won on `before`."""
        recalls, won, error = np.concatenate(self.recalls), None, None
        if before is not None:
            gains = recalls - np.concatenate(before.recalls)
            won, error = round(float(gains.mean()), 4), round(float(gains.std()) / len(gains) ** 0.5, 4)
        precision = round(float(np.concatenate(self.right).mean()), 4)
        recall = round(float(recalls.mean()), 4)
        return Figure(dim=dim, ridge=ridge, precision_at_1=precision, recall=recall, won=won, error=error)


@dataclass(frozen=True)
class Trials:
    """What is tried: a kind of head on the sums of each part, over towers of lengths `dims`."""

    spec: HeadSpec
    parts: Sequence[Sums]
    dims: Mapping[Modality, int]
    ridges: Sequence[float]
    widths: Sequence[int]  # how many coordinates are kept
    sample: Sample
    tallies: dict[tuple[float, int], _Tally] = field(default_factory=dict)


def widths_of(full: int, tried: int, wanted: int | None) -> list[int]:
    """The lengths that are tried: all that there are, `full`, but for what a product quantizer does not divide; shorter
    ones, below the `tried` that heads of fewer groups have, since these cannot tell longer ones apart; and `wanted`.
    """
    most = full - full % 8 if full >= 8 else full
    return sorted({*(dim for dim in _DIMS if dim < min(most, tried)), most, *([] if wanted is None else [wanted])})


def measure(trials: Trials) -> HeldOut:
    """The figures of each ridge and length over all parts; InputError where no part can be held out."""
    spec, raw = trials.spec, _Tally()
    ask, find = spec.asks
    comparable = trials.dims[ask] == trials.dims[find]
    whole = trials.parts[0]
    for part in trials.parts[1:]:
        whole = whole.plus(part)
    for number, part in enumerate(trials.parts):
        queries, rest = _queries(trials, number), whole.without(part)
        if not len(queries) or (rest.shared < 2 and not spec.both) or rest.groups < 2:
            continue
        if comparable:
            _count(raw, _side(trials, ask), _side(trials, find), queries, trials)
        for ridge in trials.ridges:
            _try(trials, queries, spec.fit(rest, trials.dims, ridge), ridge)
            beat()
    if not trials.tallies:
        raise InputError(
            f"groups of two or more products in at least two of the {FOLDS} parts that are held out in turn",
            f"{whole.shared:,} such groups",
            "group by another column (--groups), or learn on a larger catalog",
        )
    before = raw.figure(trials.dims[ask], None) if comparable else None
    told = raw if comparable else None
    after = [tally.figure(width, ridge, told) for (ridge, width), tally in sorted(trials.tallies.items())]
    asked = next(iter(trials.tallies.values())).queries
    return HeldOut(queries=asked, rows=len(trials.sample.rows), before=before, after=tuple(after))


def chosen(held_out: HeldOut, dim: int | None) -> Figure:
    """Of the ridge that finds best, the shortest within `LOSS` of its best recall, or the one of length `dim`."""
    able = [one for one in held_out.after if dim in (None, one.dim)]
    best = max(able, key=lambda one: (one.recall, one.precision_at_1, one.ridge or 0))
    near = [one for one in able if one.ridge == best.ridge and one.recall >= best.recall - LOSS]
    return min(near, key=lambda one: one.dim)


def _try(trials: Trials, queries: Positions, maps: Mapping[Modality, Map], ridge: float) -> None:
    ask, find = trials.spec.asks
    mapped = {side: _mapped(trials, side, maps) for side in {ask, find}}
    for width in trials.widths:
        tally = trials.tallies.setdefault((ridge, width), _Tally())
        cut = {side: _unit(rows[:, :width]) for side, rows in mapped.items()}
        _count(tally, cut[ask], cut[find], queries, trials)


def _mapped(trials: Trials, side: Modality, maps: Mapping[Modality, Map]) -> Vectors:
    """(n, width) float32 of the whole sample, not of unit length: any cut of it is taken before that."""
    rows, one = _side(trials, side), maps[side].cut(max(trials.widths))
    return rows @ one.matrix.astype(np.float32) + one.offset.astype(np.float32)


def _side(trials: Trials, side: Modality) -> Vectors:
    start = 0
    for modality in trials.spec.reads:
        if modality == side:
            break
        start += trials.dims[modality]
    return trials.sample.rows[:, start : start + trials.dims[side]]


def _queries(trials: Trials, part: int) -> Positions:
    """The rows that ask: of a part, those that have another row of their group, or, of pairs, all."""
    sample = trials.sample
    _, at, sizes = np.unique(sample.group, return_inverse=True, return_counts=True)
    able = (sample.part == part) & (sizes[at] > 1 - int(trials.spec.both))
    found = np.flatnonzero(able)
    return found[np.unique(np.linspace(0, len(found) - 1, min(_QUERIES, len(found))).astype(np.int64))]


def _count(tally: _Tally, asking: Vectors, found: Vectors, queries: Positions, trials: Trials) -> None:
    """Add what `queries` find; a row does not find itself, but for pairs, where a text finds its photo."""
    group = trials.sample.group
    _, at, sizes = np.unique(group, return_inverse=True, return_counts=True)
    alone = not trials.spec.both
    for best, some in _nearest(asking, found, queries, alone):
        mates = np.minimum(sizes[at[some]] - int(alone), best.shape[1])
        hits = (group[best] == group[some][:, None]) & (np.arange(best.shape[1]) < mates[:, None])
        tally.right.append(hits[:, 0].astype(np.float32))
        tally.recalls.append((hits.sum(axis=1) / mates).astype(np.float32))


def _nearest(asking: Vectors, found: Vectors, queries: Positions, alone: bool) -> Iterator[tuple[Positions, Positions]]:
    """((m, hits) rows that are nearest, best first, (m,) of which queries)."""
    for start in range(0, len(queries), _AT_ONCE):
        some = queries[start : start + _AT_ONCE]
        scores = asking[some] @ found.T
        if alone:
            scores[np.arange(len(some)), some] = -np.inf
        hits = min(_HITS, scores.shape[1] - int(alone))
        best = np.argpartition(-scores, hits - 1, axis=1)[:, :hits]
        order = np.lexsort((best, -np.take_along_axis(scores, best, axis=1)), axis=-1)
        yield np.take_along_axis(best, order, axis=1), some


def _unit(rows: Vectors) -> Vectors:
    lengths: npt.NDArray[np.float32] = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    return np.asarray(rows / np.maximum(lengths, np.float32(1e-12)), np.float32)
