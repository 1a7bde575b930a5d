"""Whether products of a category that is run alone stand in others by now."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.publish.gates.base import PlanGate, Planned, few, share
from pipeline.report.run_report import GateResult


class Gate(PlanGate):
    """Products that would be found nowhere, per product that is published of the category."""

    name, bound, rank = "moved_products", "max_moved_share", 20

    def check(self, planned: Planned) -> Iterable[GateResult]:
        """None for a run of the whole catalog."""
        if planned.category is None:
            return
        value, least = share(planned.moved, planned.before), planned.bounds.least_rows
        where = planned.where + few(value > planned.bounds.max_moved_share, planned.moved, least)
        fix = "run the whole catalog (without --category), or those categories after this one"
        yield self.result(planned.bounds, value, where, fix, planned.moved >= least)
