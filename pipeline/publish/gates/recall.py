"""How well the indexes find."""

from __future__ import annotations

import math
from collections.abc import Iterable

from pipeline.publish.gates.base import Comparison, SnapshotGate
from pipeline.report.run_report import GateResult


class Gate(SnapshotGate):
    """Measured recall of the partitions that were touched: of each that is below the bound, else of the worst."""

    name, bound, least, rank = "recall", "min_recall", True, 90

    def check(self, comparison: Comparison) -> Iterable[GateResult]:
        """See SnapshotGate."""
        index = {entry.name: entry.index for entry in comparison.new.partitions if comparison.touched(entry.name)}
        if not index:
            return
        # A NaN is worse than any number: it means that nothing was measured.
        figures = {name: -math.inf if math.isnan(one.recall) else one.recall for name, one in index.items()}
        order = sorted(index, key=lambda name: (figures[name], index[name].exact))
        below = [name for name in order if not index[name].recall >= comparison.bounds.min_recall]
        fix = "search wider (nprobe, refine_factor), use larger codes, or lower gates.min_recall"
        for at, name in enumerate(below or order[:1]):
            one = index[name]
            asked = f"recall@{one.k} of {one.recall_queries:,} queries"
            measured = "searched exactly, as all are" if one.exact else asked
            where = f"partition: {name}, {measured}"
            if at == 0:
                where = f"worst {where}; {len(below)} of {len(index)} below the bound"
            yield self.result(comparison.bounds, one.recall, where, fix, partition=name)
