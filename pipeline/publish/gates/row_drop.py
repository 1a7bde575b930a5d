"""How many rows were in the parent snapshot and are gone: a share of them, and so many that they matter.

A share alone would stop a night for one product gone from a category of three, a count alone a large catalog for the
ordinary turnover of a day.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.publish.gates.base import Comparison, SnapshotGate, drop, few
from pipeline.report.run_report import GateResult

FIX = "look whether the catalog is whole"


class Gate(SnapshotGate):
    """Rows lost of the whole; `least_rows` must be lost before any share refuses."""

    name, bound, rank = "row_drop", "max_row_drop", 100

    def check(self, comparison: Comparison) -> Iterable[GateResult]:
        """See SnapshotGate."""
        if comparison.old is None:
            return
        new, old, least = comparison.new, comparison.old, comparison.bounds.least_rows
        value, lost = drop(old.rows, new.rows), old.rows - new.rows
        where = f"{new.rows:,} rows, {old.rows:,} in the parent"
        where += few(value > comparison.bounds.max_row_drop, lost, least)
        yield self.result(comparison.bounds, value, where, FIX, lost >= least)
