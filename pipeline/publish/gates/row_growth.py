"""How many rows more there are than in the parent snapshot: a feed that was written twice, or another shop's."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.publish.gates.against_parent import Figure, ParentGate, growth
from pipeline.publish.gates.base import Comparison

FIX = "look whether the feed has products of another shop, or was written several times under other ids"


class Gate(ParentGate):
    """Rows gained of the whole."""

    name, bound, rank, fix = "row_growth", "max_row_growth", 104, FIX

    def figures(self, comparison: Comparison) -> Mapping[str | None, Figure]:
        """See ParentGate."""
        assert comparison.old is not None
        return {None: growth(comparison.old.rows, comparison.new.rows)}
