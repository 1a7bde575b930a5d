"""What gates on the difference to the parent share: figures of the whole and of each partition, one by one refused."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from lookup.store.entries.drift import Drift
from lookup.store.manifest import Manifest
from pipeline.config.sections import GatesConfig
from pipeline.publish.gates.base import Comparison, SnapshotGate, few, share
from pipeline.report.run_report import GateResult

Counts = Mapping[str, tuple[int, int]]  # partition -> so many, of so many


@dataclass(frozen=True)
class Figure:
    """A figure of so many `rows`, or photos, and where it comes from."""

    value: float
    rows: float
    where: str


class ParentGate(SnapshotGate):
    """A gate on what differs from the parent: a result for the whole, and one for each partition that it refuses. Fewer
    than `least_rows` stop nothing.
    """

    fix: ClassVar[str]

    def check(self, comparison: Comparison) -> Iterable[GateResult]:
        """None for a first snapshot."""
        if comparison.old is None:
            return
        figures = self.figures(comparison)
        yield self._judged(comparison.bounds, figures[None], None)
        parts = figures if len(figures) > 2 else {}  # one that is the whole is told once
        refused = [self._judged(comparison.bounds, one, name) for name, one in parts.items() if name is not None]
        yield from sorted((one for one in refused if not one.passed), key=lambda one: one.value, reverse=not self.least)

    @abstractmethod
    def figures(self, comparison: Comparison) -> Mapping[str | None, Figure]:
        """The figure of the whole, None, and of the partitions that may be refused."""

    def _judged(self, bounds: GatesConfig, one: Figure, partition: str | None) -> GateResult:
        found = self.result(bounds, one.value, one.where, self.fix, partition=partition)
        if found.passed or one.rows >= bounds.least_rows:
            return found
        where = one.where + few(True, round(one.rows), bounds.least_rows)
        return self.result(bounds, one.value, where, enough=False, partition=partition)


class DriftGate(ParentGate):
    """A gate on the drift of each partition, and of all."""

    silent: ClassVar[str | None] = None  # what may be impossible to compare: TEXTS, PHOTOS, LOOKS

    def figures(self, comparison: Comparison) -> Mapping[str | None, Figure]:
        """See ParentGate. One that says why, where nothing can be compared."""
        drift = comparison.drift
        assert drift is not None
        if why := drift.silent.get(self.silent or ""):
            return {None: Figure(0.0, 0, f"not compared: {why}")}
        several: list[tuple[str | None, Drift]] = [(None, drift.total), *drift.of.items()]
        return {name: self.figure(one) for name, one in several if name is None or one.before}

    @abstractmethod
    def figure(self, drift: Drift) -> Figure:
        """The figure of a partition, or of all."""


def growth(before: int, now: int) -> Figure:
    """Rows gained, of those there were; a loss is no growth."""
    return Figure(max(0.0, share(now - before, before)), now - before, f"{now:,} rows, {before:,} in the parent")


def rows_lost(manifest: Manifest, outcome: Literal["degraded", "rejected"]) -> Counts:
    """Rows of that outcome by partition: degraded ones are of those embedded, rejected ones stand beside these."""
    rows, lost = manifest.shards.segments.rows_of(), manifest.shards.segments.lost_of(outcome)
    beside = lost if outcome == "rejected" else Counter[str]()
    return {name: (lost[name], rows[name] + beside[name]) for name in rows | lost}


def rises(comparison: Comparison, counted: Callable[[Manifest], Counts], what: str) -> dict[str | None, Figure]:
    """How much a share rose, of the partitions that the run touched and in all; `counted` says of a snapshot how many
    of how many.
    """
    assert comparison.old is not None
    before, now = counted(comparison.old), counted(comparison.new)
    names = [name for name in {**before, **now} if comparison.touched(name)]
    totals = [
        [sum(pair) for pair in zip(*(one.get(name, (0, 0)) for name in names), strict=True)] for one in (before, now)
    ]
    several: list[tuple[str | None, Sequence[int], Sequence[int]]] = [
        (None, totals[0] or (0, 0), totals[1] or (0, 0)),
        *((name, before[name], now[name]) for name in names if name in now and before.get(name, (0, 0))[1]),
    ]
    found: dict[str | None, Figure] = {}
    for name, (then, of_then), (here, of_here) in several:
        rise = share(here, of_here) - share(then, of_then)
        where = f"{here:,} of {of_here:,} {what}, {then:,} of {of_then:,} in the parent"
        found[name] = Figure(max(0.0, rise), rise * of_here, where)
    return found
