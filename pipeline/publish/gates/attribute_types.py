"""Whether filters that read one night's attributes read the next one's."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.catalog.attribute_types import changed
from pipeline.publish.gates.base import PlanGate, Planned
from pipeline.report.run_report import GateResult


class Gate(PlanGate):
    """How many attributes of a whole run do not compare with the parent's."""

    name, bound, rank = "attribute_types", "max_changed_types", 10

    def check(self, planned: Planned) -> Iterable[GateResult]:
        """None for a run of one category, which is refused elsewhere where types differ."""
        if planned.category is not None:
            return
        differing = changed(planned.types, planned.old.attribute_types)
        listed = "; ".join(f"{name}: {then} in the parent, {now} now" for name, (then, now) in differing.items())
        fix = (
            "filters on it would end with an error: write the column as before, declare it in catalog.prices if it "
            f"became the text of a price, or if it is right run once with gates.max_changed_types={len(differing)}"
        )
        where = listed or "every attribute compares with the parent's"
        yield self.result(planned.bounds, len(differing), where, fix)
