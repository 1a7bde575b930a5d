"""Whether the catalog is an earlier export than the parent's: a restored backup, or a feed that was not mounted."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.publish.gates.base import PlanGate, Planned
from pipeline.report.run_report import GateResult


class Gate(PlanGate):
    """Hours by which the newest file of the catalog is older than the newest of the parent's was, at the same place.
    Files in a bucket have no such time.
    """

    name, bound, rank = "catalog_older", "max_hours_older", 5

    def check(self, planned: Planned) -> Iterable[GateResult]:
        """None where one of the two is not known, or the catalog is read from elsewhere."""
        then, now = planned.old.catalog, planned.catalog
        if now is None or then.newest is None or now.newest is None or then.path != now.path:
            return
        hours = max(0.0, (then.newest - now.newest).total_seconds() / 3600)
        where = (
            f"the newest file is of {now.newest:%Y-%m-%d %H:%M:%S} UTC, of the parent's {then.newest:%Y-%m-%d %H:%M:%S}"
        )
        fix = "look whether the export of this night is there, and whether the clock of who wrote it is right"
        yield self.result(planned.bounds, hours, where, fix)
