"""How well the indexes find."""

from __future__ import annotations

import math
from collections.abc import Iterable

from pipeline.publish.gates.base import Comparison, SnapshotGate
from pipeline.report.run_report import GateResult


class Gate(SnapshotGate):
    """Measured recall of the worst partition that was touched."""

    name, bound, least, rank = "recall", "min_recall", True, 90

    def check(self, comparison: Comparison) -> Iterable[GateResult]:
        """See SnapshotGate."""
        index = {entry.name: entry.index for entry in comparison.new.partitions if comparison.touched(entry.name)}
        if not index:
            return
        # A NaN is worse than any number: it means that nothing was measured.
        figures = {name: -math.inf if math.isnan(one.recall) else one.recall for name, one in index.items()}
        worst = min(index, key=lambda name: (figures[name], index[name].exact))
        below = sum(not one.recall >= comparison.bounds.min_recall for one in index.values())
        asked = f"recall@{index[worst].k} of {index[worst].recall_queries:,} queries"
        measured = "searched exactly, as all are" if index[worst].exact else asked
        where = f"worst partition: {worst}, {measured}; {below} of {len(index)} below the bound"
        fix = "search wider (nprobe, refine_factor), use larger codes, or lower gates.min_recall"
        yield self.result(comparison.bounds, index[worst].recall, where, fix)
