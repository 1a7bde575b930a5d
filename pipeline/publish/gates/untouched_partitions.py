"""Whether a run of one category left the others alone."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.publish.gates.base import Comparison, Invariant
from pipeline.report.run_report import GateResult


class Gate(Invariant):
    """Partitions outside of the scope are the parent's."""

    name, rank = "untouched_partitions", 50
    what = "partitions that this run was not asked to touch, and changed"

    def check(self, comparison: Comparison) -> Iterable[GateResult]:
        """None for a run of the whole catalog."""
        return super().check(comparison) if comparison.old is not None and comparison.scope is not None else ()

    def wrong(self, comparison: Comparison) -> Iterable[str]:
        """See Invariant."""
        assert comparison.old is not None
        before = {entry.name: entry for entry in comparison.old.partitions if not comparison.touched(entry.name)}
        after = {entry.name: entry for entry in comparison.new.partitions if not comparison.touched(entry.name)}
        return (name for name in before | after if before.get(name) != after.get(name))
