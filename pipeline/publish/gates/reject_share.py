"""How many rows were rejected."""

from __future__ import annotations

from collections.abc import Iterable

from foundation.reasons import fix_of_most
from pipeline.publish.gates.base import Comparison, SnapshotGate, few, most, share
from pipeline.report.run_report import GateResult


class Gate(SnapshotGate):
    """Rejected rows per row read."""

    name, bound, rank = "reject_share", "max_reject_share", 60

    def check(self, comparison: Comparison) -> Iterable[GateResult]:
        """See SnapshotGate."""
        rejects = comparison.new.rejects(comparison.scope)
        bounds, rows = comparison.bounds, rejects.total() + comparison.new.rows_in(comparison.scope)
        value, stops = share(rejects.total(), rows), bounds.enough(rejects.total(), rows)
        fix = f"{fix_of_most(rejects)}; if it is right to leave these rows out, raise gates.max_reject_share"
        where = most(rejects, "rejected") + few(
            value > bounds.max_reject_share and not stops, rejects.total(), bounds.least_rows
        )
        yield self.result(bounds, value, where, fix, stops)
