"""Whether the products that golden queries expect are there at all: renamed ids are not, however whole a catalog is."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.publish.gates.base import Comparison, SnapshotGate, share
from pipeline.report.run_report import GateResult

_FEWEST = 2  # unknown queries that stop a run: one is a product that is no longer sold


class Gate(SnapshotGate):
    """The share of golden queries whose products, or whose category, the snapshot does not have. One such query is a
    product that is no longer sold: it is told, and stops nothing.
    """

    name, bound, rank = "golden_unknown", "max_golden_unknown", 128

    def check(self, comparison: Comparison) -> Iterable[GateResult]:
        """None without golden queries."""
        golden = comparison.new.golden
        if golden is None or not golden.queries:
            return
        where = f"the snapshot has no product that {golden.unknown:,} of {golden.queries:,} golden queries expect"
        fix = (
            "see whether ids were renamed, or categories are gone; if these products are no longer sold, take them out "
            "of the golden queries"
        )
        unknown, enough = share(golden.unknown, golden.queries), golden.unknown >= _FEWEST
        if not enough and unknown > comparison.bounds.max_golden_unknown:
            where += f"; fewer than {_FEWEST}, so nothing is stopped"
        yield self.result(comparison.bounds, unknown, where, fix, enough)
