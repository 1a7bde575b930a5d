"""How many rows more a partition has than in the parent snapshot."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.publish.gates.against_parent import growth
from pipeline.publish.gates.base import Comparison, SnapshotGate, few
from pipeline.publish.gates.row_growth import FIX
from pipeline.report.run_report import GateResult


class Gate(SnapshotGate):
    """Rows gained of each partition that is refused, else of the one that grew most. A new one has grown from nothing,
    which no share tells.
    """

    name, bound, rank = "partition_row_growth", "max_partition_growth", 114

    def check(self, comparison: Comparison) -> Iterable[GateResult]:
        """See SnapshotGate."""
        if comparison.old is None:
            return
        bounds, before = comparison.bounds, {one.name: one.rows for one in comparison.old.partitions}
        grown = [
            (one.name, growth(before[one.name], one.rows)) for one in comparison.new.partitions if one.name in before
        ]
        grown.sort(key=lambda one: -one[1].value)
        beyond = [
            (name, one)
            for name, one in grown
            if one.value > bounds.max_partition_growth and one.rows >= bounds.least_rows
        ]
        for name, one in beyond or grown[:1]:
            note = few(one.value > bounds.max_partition_growth, round(one.rows), bounds.least_rows)
            where = f"partition: {name}, {one.where}{note}"
            yield self.result(bounds, one.value, where, FIX, one.rows >= bounds.least_rows, partition=name)
