"""The cheapest setting of an index that reaches a recall: how many lists, and how many candidates ranked again.

nprobe is doubled from 1 (for hnsw from k + 1); for each, one search gives the recall of every refine factor, since
fewer candidates are the first of more; once a setting reaches the target, those that cost over twice as much are left
out. Then the gap below the best nprobe is halved to an eighth of it. An index with the training of another night is
measured where that was tuned to, and no more widely than it takes. What was measured is kept: the settings that no
other one beats in both recall and cost are the curve of the manifest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from foundation.arrays import Positions, Vectors
from index_builders.base import BuilderSpec
from index_builders.fill.threads import in_order
from index_builders.measure.cost import Cost, cost_of, scanned
from index_builders.measure.queries import least
from index_builders.measure.recall import HeldOut, milliseconds, recalls
from lookup.index.partition_index import HITS, STEADY, PartitionIndex
from lookup.index.ranking import best
from lookup.store.entries.index_record import CurvePoint

_CANDIDATES = 1000  # per query at most, unless k asks for more: beyond, scanning more whole vectors is cheaper
_FACTORS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
_DEARER = 2  # times what reaches the target already: settings that cost more are not measured
_TIMED = 20  # queries timed at each point of the curve


class Setting(Protocol):
    """How widely an index is searched, and how many candidates are ranked again."""

    @property
    def nprobe(self) -> int:
        """See PartitionIndex."""

    @property
    def refine_factor(self) -> int:
        """See PartitionIndex."""


@dataclass(frozen=True)
class Tuned:
    """The chosen setting and the curve it is from; `point` is the cheapest that reaches the target, or the best."""

    point: CurvePoint
    curve: tuple[CurvePoint, ...]


def tune(index: PartitionIndex, spec: BuilderSpec, queries: HeldOut, target: float) -> Tuned:
    """Measure and choose nprobe and refine factor of `index`, which `spec` built, for recall@k of `target` or more.

    Recall is that of the kind of queries that has the least. Where nothing reaches the target, the best recall. Costs
    are those of cost.py; no clock is looked at, and `ms` is 0.
    """
    return _cheapest(_measured(index, spec, queries, target), target)


def tune_again(
    index: PartitionIndex, spec: BuilderSpec, queries: HeldOut, target: float, then: Setting
) -> Tuned | None:
    """The setting of an index whose training reached the target with other rows at `then`: it is measured at that
    nprobe, and where it falls short in steps of an eighth up to twice that; None where these do not do either.
    """
    cost, points, nprobe = cost_of(spec, index.dim), list[CurvePoint](), then.nprobe
    while nprobe <= min(2 * then.nprobe, index.widest):
        few = index.candidates_for(queries.k + 1, then.refine_factor)
        enough = cost.microseconds(index.nlist, *scanned(index, spec, queries.xq, nprobe), few, spec.refined[0])
        points += _points(index, spec, queries, cost, nprobe, enough)
        if any(point.recall >= target for point in points):
            return _cheapest(points, target)
        nprobe += max(1, then.nprobe // 8)
    return None


def settled(index: PartitionIndex, queries: HeldOut, tuned: Tuned, target: float) -> Tuned:
    """`tuned` with the setting, and the recall@k, that a reader gets.

    It can differ from the curve's in the last digit: which of equal scores FAISS returns depends on how many it is
    asked for. Then the next setting is taken that holds the target; the best where none does.
    """
    measured = list[CurvePoint]()
    for point in (point for point in tuned.curve if point.cost_us >= tuned.point.cost_us):
        asked = replace(index, nprobe=point.nprobe, refine_factor=point.refine_factor)
        measured.append(point.model_copy(update={"recall": least(queries, recalls(asked, queries))}))
        if measured[-1].recall >= target:
            return Tuned(measured[-1], tuned.curve)
    return Tuned(max(measured, key=lambda one: one.recall), tuned.curve)


def clocked(index: PartitionIndex, queries: HeldOut, curve: Sequence[CurvePoint]) -> tuple[CurvePoint, ...]:
    """The points of a curve with the median milliseconds of a query at each."""
    return tuple(point.model_copy(update={"ms": _median_ms(index, queries, point)}) for point in curve)


def _cheapest(points: Sequence[CurvePoint], target: float) -> Tuned:
    """The front of `points`, and of it the cheapest that reaches the target, or the best."""
    curve = _front(points)
    reaching = [point for point in curve if point.recall >= target]
    return Tuned(reaching[0] if reaching else curve[-1], tuple(curve))


def _measured(index: PartitionIndex, spec: BuilderSpec, queries: HeldOut, target: float) -> list[CurvePoint]:
    cost = cost_of(spec, index.dim)
    if not index.widest:
        return _points(index, spec, queries, cost, 0, np.inf)
    # hnsw is asked for k + 1 rows at least: a search that keeps fewer gets lost near where it began
    nprobe = 1 if index.nlist else min(queries.k + 1, index.widest)
    points, cheapest, recalls_by_nprobe = list[CurvePoint](), np.inf, list[float]()
    while True:
        points += _points(index, spec, queries, cost, nprobe, cheapest)
        recalls_by_nprobe.append(max(point.recall for point in points if point.nprobe == nprobe))
        cheapest = min((point.cost_us for point in points if point.recall >= target), default=np.inf)
        narrowest = min(point.cost_us for point in points if point.nprobe == nprobe)
        if nprobe == index.widest or narrowest > cheapest:
            break
        if cheapest == np.inf and _hopeless(recalls_by_nprobe, np.log2(index.widest / nprobe), target):
            break
        nprobe = min(2 * nprobe, index.widest)
    if cheapest < np.inf:
        points += _between(index, spec, queries, cost, points, target, cheapest)
    return points


def _hopeless(recalls_by_nprobe: Sequence[float], doublings: float, target: float) -> bool:
    """Whether `doublings` more of nprobe would not reach the target if none won more recall than the last one did.

    Once a doubling wins less than the one before it, the next wins less again: what is missed then is lost by codes,
    not by lists that were not looked at.
    """
    if len(recalls_by_nprobe) < 3 or recalls_by_nprobe[-1] >= target:
        return False
    before, last = np.diff(recalls_by_nprobe[-3:])
    return bool(last <= before and recalls_by_nprobe[-1] + last * doublings < target)


def _between(
    index: PartitionIndex,
    spec: BuilderSpec,
    queries: HeldOut,
    cost: Cost,
    points: Sequence[CurvePoint],
    target: float,
    cheapest: float,
) -> list[CurvePoint]:
    """The points of the halved gaps below the cheapest nprobe that reaches the target."""
    high = min((p for p in points if p.recall >= target), key=lambda p: (p.cost_us, p.nprobe)).nprobe
    low, found = high // 2, list[CurvePoint]()
    step = max(1, (high - low) // 8)
    while high - low > step:
        middle = (low + high) // 2
        found += _points(index, spec, queries, cost, middle, cheapest)
        reached = any(point.recall >= target for point in found if point.nprobe == middle)
        low, high = (low, middle) if reached else (middle, high)
    return found


def _points(
    index: PartitionIndex, spec: BuilderSpec, queries: HeldOut, cost: Cost, nprobe: int, cheapest: float
) -> list[CurvePoint]:
    """One search with `nprobe`, and what each refine factor makes of it that costs little more than `cheapest`."""
    hits, (lists, seen) = queries.k + 1, scanned(index, spec, queries.xq, nprobe)

    def spent(factor: int) -> float:
        few = index.candidates_for(hits, factor)
        return cost.microseconds(index.nlist, lists, seen, few, spec.refined[0])

    # Of factors that ask for equally many candidates the least.
    distinct = {index.candidates_for(hits, factor): factor for factor in reversed(refine_factors(spec, queries.k))}
    first, *more = sorted(distinct.values())
    factors = [first, *(factor for factor in more if spent(factor) <= _DEARER * cheapest)]
    most = index.candidates_for(hits, factors[-1])
    found = list(in_order(lambda xq: _ranked(index, xq, most, nprobe or None), queries.parts()))
    scores, positions = np.concatenate([part[0] for part in found]), np.concatenate([part[1] for part in found])
    points = []
    for factor in factors:
        few = index.candidates_for(hits, factor)
        answers = best(scores[:, :few], positions[:, :few], hits)[1]
        recall = least(queries, queries.recalls(answers))
        points.append(CurvePoint(nprobe=nprobe, refine_factor=factor, recall=recall, cost_us=spent(factor), ms=0.0))
    return points


def _ranked(index: PartitionIndex, xq: Vectors, count: int, nprobe: int | None) -> tuple[Vectors, Positions]:
    """Candidates in FAISS's order, (n, count), with the scores of the refine vectors where there are any."""
    scores, positions = index.candidates(xq, count, nprobe)
    if index.refine is not None:
        scores = index.refine.scores(index.metric.stored(xq), positions)
    return scores, positions


def refine_factors(spec: BuilderSpec, k: int) -> list[int]:
    """The refine factors to try: 0 without a refine stage, the one that is given, or a rising few."""
    refine, given = spec.refined
    if refine == "none":
        return [0]
    if given is not None:
        return [given]
    hits = k + 1 if k + 1 > STEADY else HITS  # as PartitionIndex.candidates_for counts
    return [1, *(factor for factor in _FACTORS if factor * hits <= max(_CANDIDATES, 4 * hits))]


def _front(points: Sequence[CurvePoint]) -> list[CurvePoint]:
    """The points that no other one beats in both recall and cost, by rising cost and recall."""
    front: list[CurvePoint] = []
    for point in sorted(points, key=lambda p: (p.cost_us, -p.recall, p.nprobe)):
        if not front or point.recall > front[-1].recall:
            front.append(point)
    return front


def _median_ms(index: PartitionIndex, queries: HeldOut, point: CurvePoint) -> float:
    asked = replace(index, refine_factor=point.refine_factor)
    return float(np.median(milliseconds(asked, queries.xq[:_TIMED], queries.k, point.nprobe or None)))
