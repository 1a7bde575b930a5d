"""Whether a model is another one though nobody named another: its folder got other files."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.publish.gates.base import PlanGate, Planned
from pipeline.report.run_report import GateResult


class Gate(PlanGate):
    """How many encoders and fusions have other files than the parent's under the same fields.

    Where versions alone differ, as of the photo decoder, somebody installed another release, and every run after it has
    them: that is said, and stops nothing. A run of one category is refused elsewhere for any difference.
    """

    name, bound, rank = "encoder_changed", 0, 15

    def check(self, planned: Planned) -> Iterable[GateResult]:
        """None for a run of one category."""
        if planned.category is not None:
            return
        files = [one for one in planned.replaced if one.files]
        told = "; ".join(f"{one.name}: {one.differs}" for one in files or planned.replaced)
        where = told or "encoders and fusion are those of the parent, or named otherwise in the config"
        if told and not files:
            where = f"of other versions than the parent's, every product is encoded again: {told}"
        fix = (
            "every product would be encoded again, and found otherwise: restore the model as the parent's run had it, "
            "or, if it was replaced on purpose, run once with --accept encoder_changed"
        )
        yield self.result(planned.bounds, len(files), where, fix)
