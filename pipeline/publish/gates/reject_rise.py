"""Whether more rows are rejected than in the parent, though fewer than are refused outright."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.publish.gates.against_parent import Figure, ParentGate, rises, rows_lost
from pipeline.publish.gates.base import Comparison


class Gate(ParentGate):
    """Rise of the share of rows that are rejected, over the parent's."""

    name, bound, rank = "reject_rise", "max_reject_rise", 61
    fix = "look at the rejects by reason, which the report has"

    def figures(self, comparison: Comparison) -> Mapping[str | None, Figure]:
        """See ParentGate."""
        return rises(comparison, lambda one: rows_lost(one, "rejected"), "rows rejected")
