"""How many ids of the parent are still there: renamed ids leave the rows as many as they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lookup.store.entries.drift import Drift
from pipeline.publish.gates.against_parent import DriftGate, Figure
from pipeline.publish.gates.base import Comparison, share


class Gate(DriftGate):
    """Ids kept, of the parent's. Of the whole those count that moved between partitions; of a partition they do not."""

    name, bound, least, rank = "ids_kept", "min_ids_kept", True, 108
    fix = "look whether ids were renamed, products are missing, or whole categories were moved"

    def figures(self, comparison: Comparison) -> Mapping[str | None, Figure]:
        """See ParentGate."""
        found = dict(super().figures(comparison))
        damaged = len(comparison.drift.damaged) if comparison.drift else 0
        if damaged:
            where = f"{found[None].where}, without those of {damaged:,} damaged shards of the parent"
            found[None] = replace(found[None], where=where)
        return found

    def figure(self, drift: Drift) -> Figure:
        """See DriftGate."""
        gone = drift.before - drift.kept
        where = f"{drift.kept:,} of {drift.before:,} ids of the parent are still there"
        if drift.moved:
            where += f", {drift.moved:,} of them in another partition"
        return Figure(share(drift.kept, drift.before) if drift.before else 1.0, gone, where)
