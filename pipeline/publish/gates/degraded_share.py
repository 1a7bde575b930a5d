"""How many rows lost a modality."""

from __future__ import annotations

from collections.abc import Iterable

from foundation.reasons import fix_of_most
from pipeline.publish.gates.base import Comparison, SnapshotGate, few, most, share
from pipeline.report.run_report import GateResult


class Gate(SnapshotGate):
    """Rows that lost a modality per row embedded."""

    name, bound, rank = "degraded_share", "max_degraded_share", 70

    def check(self, comparison: Comparison) -> Iterable[GateResult]:
        """See SnapshotGate."""
        degraded = comparison.new.degraded(comparison.scope)
        bounds, rows = comparison.bounds, comparison.new.rows_in(comparison.scope)
        value, stops = share(degraded.total(), rows), bounds.enough(degraded.total(), rows)
        fix = f"{fix_of_most(degraded)}; if these are gone for good, raise gates.max_degraded_share"
        where = most(degraded, "degraded") + few(
            value > bounds.max_degraded_share and not stops, degraded.total(), bounds.least_rows
        )
        yield self.result(bounds, value, where, fix, stops)
