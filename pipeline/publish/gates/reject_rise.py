"""Whether more rows are rejected than in the parent, though fewer than are refused outright."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.publish.gates.against_parent import Figure, ParentGate, rises
from pipeline.publish.gates.base import Comparison


class Gate(ParentGate):
    """Rise of the share of rows that are rejected, over the parent's."""

    name, bound, rank = "reject_rise", "max_reject_rise", 61
    fix = "look at the rejects by reason, which the report has"

    def figures(self, comparison: Comparison) -> Mapping[str | None, Figure]:
        """See ParentGate."""
        assert comparison.old is not None
        counts = [
            {name: (lost[name], rows[name] + lost[name]) for name in rows | lost}
            for rows, lost in (
                (one.shards.segments.rows_of(), one.shards.segments.lost_of("rejected"))
                for one in (comparison.old, comparison.new)
            )
        ]
        return rises(comparison, counts[0], counts[1], "rows rejected")
