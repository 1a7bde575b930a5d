"""Whether more rows are degraded than in the parent, though fewer than are refused outright."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.publish.gates.against_parent import Figure, ParentGate, rises, rows_lost
from pipeline.publish.gates.base import Comparison


class Gate(ParentGate):
    """Rise of the share of rows that are degraded, over the parent's."""

    name, bound, rank = "degraded_rise", "max_degraded_rise", 71
    fix = "look whether photos can be reached, which the report has by reason"

    def figures(self, comparison: Comparison) -> Mapping[str | None, Figure]:
        """See ParentGate."""
        return rises(comparison, lambda one: rows_lost(one, "degraded"), "rows degraded")
