"""Whether golden queries find what a shop says that they have to find."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.publish.gates.base import Comparison, SnapshotGate, share
from pipeline.report.run_report import GateResult


class Gate(SnapshotGate):
    """The share that finds one of the products it expects, of the queries whose products the snapshot has. One query of
    several that misses is told and stops nothing: a new product may have taken its place.
    """

    name, bound, least, rank = "golden", "min_golden", True, 126

    def check(self, comparison: Comparison) -> Iterable[GateResult]:
        """None without golden queries."""
        golden, bounds = comparison.new.golden, comparison.bounds
        if golden is None or not golden.queries:
            return
        asked = golden.queries - golden.unknown
        missed, value = asked - golden.found, 1.0 if not asked else share(golden.found, asked)
        stops = missed >= 2 or missed > 0.5 * asked
        where = f"{golden.found:,} of {asked:,} golden queries find a product that they expect"
        if value < bounds.min_golden and not stops:
            where += "; one of several that does not stops nothing"
        fix = (
            "golden.json in the run's folder has the hits of each: see what came before the products; if these are "
            "right now, correct the file, or run once with --accept golden"
        )
        yield self.result(bounds, value, where, fix, stops)
