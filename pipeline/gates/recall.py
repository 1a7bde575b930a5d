"""The gate on measured recall."""

from __future__ import annotations

import math

from lookup.manifest import Manifest
from pipeline.gates.result import Scope, result, touched
from pipeline.report import GateResult


def recall(manifest: Manifest, bound: float, scope: Scope) -> list[GateResult]:
    """One result, of the worst partition; none where no partition was touched."""
    judged = [partition for partition in manifest.partitions if touched(partition.name, scope)]
    if not judged:
        return []
    # A NaN is worse than any number: it means that nothing was measured.
    index = {partition.name: partition.index for partition in judged}
    figures = {name: -math.inf if math.isnan(one.recall) else one.recall for name, one in index.items()}
    worst = min(index, key=lambda name: (figures[name], index[name].exact))
    below = sum(not one.recall >= bound for one in index.values())
    asked = f"recall@{index[worst].k} of {index[worst].recall_queries:,} queries"
    measured = "searched exactly, as all are" if index[worst].exact else asked
    where = f"worst partition: {worst}, {measured}; {below} of {len(index)} below the bound"
    fix = "search wider (nprobe, refine_factor), use larger codes, or lower gates.min_recall"
    return [result("recall", index[worst].recall, ">=", bound, where, fix)]
