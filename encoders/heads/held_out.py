"""How well heads find what they did not see: learned on all groups but a part, asked by the rows of that part.

Whether the nearest row is of the same group says little where photos were taken one after the other: it is, by any
vectors. So what counts is the recall of the whole group (R-precision; Musgrave, Belongie, Lim 2020, "A metric learning
reality check").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

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
_STRIP = 16  # rows of which the nearest one says whether any can be a hit


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
            _count({trials.dims[ask]: raw}, _side(trials, ask), _side(trials, find), queries, trials)
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
    tallies = {width: trials.tallies.setdefault((ridge, width), _Tally()) for width in trials.widths}
    _count(tallies, mapped[ask], mapped[find], queries, trials)


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


def _count(tallies: Mapping[int, _Tally], asking: Vectors, found: Vectors, queries: Positions, trials: Trials) -> None:
    """Add what `queries` find by the first coordinates, as many as the key of each tally says; a row does not find
    itself, but for pairs, where a text finds its photo.
    """
    group, alone = trials.sample.group, not trials.spec.both
    _, at, sizes = np.unique(group, return_inverse=True, return_counts=True)
    hits = min(_HITS, len(found) - int(alone))
    for start in range(0, len(queries), _AT_ONCE):
        some = queries[start : start + _AT_ONCE]
        mates = np.minimum(sizes[at[some]] - int(alone), hits)
        for width, scores in _scores(asking[some], found, sorted(tallies)):
            if alone:
                scores[np.arange(len(some)), some] = -np.inf
            right = group[_best(scores, hits)] == group[some][:, None]
            right &= np.arange(hits) < mates[:, None]
            tallies[width].right.append(right[:, 0].astype(np.float32))
            tallies[width].recalls.append((right.sum(axis=1) / mates).astype(np.float32))


def _scores(asking: Vectors, found: Vectors, widths: Sequence[int]) -> Iterator[tuple[int, Vectors]]:
    """(m, n) float32 for each of ascending `widths`: the products of the first coordinates of rows that ask with those
    of rows of unit length that are found. Each is summed from the one before.
    """
    products = np.zeros((len(asking), len(found)), np.float32)
    squares, start = np.zeros(len(found), np.float32), 0
    for width in widths:
        more = found[:, start:width]
        products += asking[:, start:width] @ more.T
        squares += np.einsum("ij,ij->i", more, more)
        start = width
        yield width, np.asarray(products / np.maximum(np.sqrt(squares), np.float32(1e-12)), np.float32)


def _best(scores: Vectors, hits: int) -> Positions:
    """(m, hits): where each row of (m, n) scores is greatest, the greatest first.

    A strip can hold a hit only where its own greatest is among as many greatest of strips: all others are passed over.
    """
    columns, strips = scores.shape[1], scores.shape[1] // _STRIP
    able = np.broadcast_to(np.arange(columns), scores.shape)
    if strips > hits:
        cut = strips * _STRIP
        greatest = scores[:, :cut].reshape(len(scores), _STRIP, strips).max(axis=1)  # of every strips-th column
        near = np.argpartition(greatest, strips - hits, axis=1)[:, None, strips - hits :]
        inside = (near + np.arange(0, cut, strips)[:, None]).reshape(len(scores), -1)
        able = np.concatenate([inside, able[:, cut:]], axis=1)
    kept = np.take_along_axis(scores, able, axis=1)
    some = np.argpartition(kept, kept.shape[1] - hits, axis=1)[:, kept.shape[1] - hits :]
    best = np.take_along_axis(able, some, axis=1)
    order = np.lexsort((best, -np.take_along_axis(kept, some, axis=1)), axis=-1)
    return np.take_along_axis(best, order, axis=1)
