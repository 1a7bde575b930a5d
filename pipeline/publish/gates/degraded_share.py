"""How many rows lost a modality."""

from __future__ import annotations

from collections.abc import Iterable

from foundation.reasons import fix_of_most
from pipeline.publish.gates.base import Judged, SnapshotGate, most, share
from pipeline.report.run_report import GateResult


class Gate(SnapshotGate):
    """Rows that lost a modality per row embedded."""

    name, bound, rank = "degraded_share", "max_degraded_share", 70

    def check(self, judged: Judged) -> Iterable[GateResult]:
        """See SnapshotGate."""
        degraded = judged.new.degraded(judged.scope)
        value = share(degraded.total(), judged.new.rows_in(judged.scope))
        fix = f"{fix_of_most(degraded)}; if these are gone for good, raise gates.max_degraded_share"
        yield self.result(judged.bounds, value, most(degraded, "degraded"), fix)
