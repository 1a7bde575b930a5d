"""Whether there is anything to be found."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.publish.gates.base import Comparison, SnapshotGate
from pipeline.report.run_report import GateResult


class Gate(SnapshotGate):
    """One product, or more."""

    name, bound, least, rank, acceptable = "products", 1, True, 40, False

    def check(self, comparison: Comparison) -> Iterable[GateResult]:
        """See SnapshotGate."""
        where, fix = "products that can be found", "look at the rejects by reason"
        yield self.result(comparison.bounds, comparison.new.rows, where, fix)
