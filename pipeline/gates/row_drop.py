"""The gates on rows that were in the parent snapshot and are gone: a share of them, and so many that they matter.

A share alone would stop a night for one product gone from a category of three, a count alone a large catalog for the
ordinary turnover of a day.
"""

from __future__ import annotations

from dataclasses import dataclass

from lookup.manifest import Manifest
from pipeline.gates.result import drop, few, result
from pipeline.report import GateResult

_FIX = "look whether the catalog is whole; if it did shrink, run once with gates.max_row_drop=1"


@dataclass(frozen=True)
class _Drop:
    """Rows of a partition, before and now."""

    name: str
    before: int
    now: int | None  # None: vanished

    @property
    def lost(self) -> int:
        return self.before - (self.now or 0)

    @property
    def share(self) -> float:
        return drop(self.before, self.now or 0)

    def __str__(self) -> str:
        now = "vanished" if self.now is None else f"{self.now:,} rows"
        return f"{self.name}, {now}, {self.before:,} in the parent"


def row_drops(manifest: Manifest, parent: Manifest, bound: float, least: int) -> list[GateResult]:
    """Rows lost of the whole, and of the partition that fares worst; `least` rows must be lost before any share
    refuses.
    """
    whole, lost = f"{manifest.rows:,} rows, {parent.rows:,} in the parent", parent.rows - manifest.rows
    value, enough = drop(parent.rows, manifest.rows), lost >= least
    results = [result("row_drop", value, "<=", bound, whole + few(value > bound, lost, least), _FIX, enough)]
    rows = {partition.name: partition.rows for partition in manifest.partitions}
    drops = [_Drop(partition.name, partition.rows, rows.get(partition.name)) for partition in parent.partitions]
    if drops:
        worst = max(drops, key=lambda one: (one.share > bound and one.lost >= least, one.share))
        where = f"worst partition: {worst}{few(worst.share > bound, worst.lost, least)}"
        enough = worst.lost >= least
        results.append(result("partition_row_drop", worst.share, "<=", bound, where, _FIX, enough))
    return results
