"""How many rows of a partition were in the parent snapshot and are gone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.publish.gates.base import Comparison, SnapshotGate, drop, few
from pipeline.publish.gates.row_drop import FIX
from pipeline.report.run_report import GateResult


class Gate(SnapshotGate):
    """Rows lost of each partition that is refused, else of the one that fares worst; `least_rows` must be lost before
    any share refuses.
    """

    name, bound, rank = "partition_row_drop", "max_row_drop", 110

    def check(self, comparison: Comparison) -> Iterable[GateResult]:
        """See SnapshotGate."""
        if comparison.old is None or not comparison.old.partitions:
            return
        bound, least = comparison.bounds.max_row_drop, comparison.bounds.least_rows
        rows = {partition.name: partition.rows for partition in comparison.new.partitions}
        drops = [_Drop(one.name, one.rows, rows.get(one.name)) for one in comparison.old.partitions]
        drops.sort(key=lambda one: (one.share > bound and one.lost >= least, one.share), reverse=True)
        beyond = [one for one in drops if one.share > bound and one.lost >= least]
        for at, one in enumerate(beyond or drops[:1]):
            where = f"{'' if at else 'worst '}partition: {one}{few(one.share > bound, one.lost, least)}"
            yield self.result(comparison.bounds, one.share, where, FIX, one.lost >= least, partition=one.name)


@dataclass(frozen=True)
class _Drop:
    """Rows of a partition, before and now."""

    name: str
    before: int
    now: int | None  # None: vanished

    @property
    def lost(self) -> int:
        return self.before - (self.now or 0)

    @property
    def share(self) -> float:
        return drop(self.before, self.now or 0)

    def __str__(self) -> str:
        now = "vanished" if self.now is None else f"{self.now:,} rows"
        return f"{self.name}, {now}, {self.before:,} in the parent"
