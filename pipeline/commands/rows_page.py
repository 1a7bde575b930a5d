"""The rows of a plan beside those that are published, for people."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lookup.page import duration
from pipeline.compare.planned_cost import PlannedCost
from pipeline.compare.planned_rows import PlannedRows
from pipeline.engine.printing import echo, table

_COLUMNS = ("new", "text", "photo", "attributes", "moved", "unchanged", "gone", "rejected")


def as_document(rows: PlannedRows, cost: PlannedCost) -> dict[str, Any]:
    """Both as JSON has them."""
    return {**asdict(rows), "cost": asdict(cost)}


def print_rows(rows: PlannedRows, cost: PlannedCost) -> None:
    """What the rows are, what is encoded, what it takes; then by partition."""
    one = rows.counts
    against = f"the published {rows.against}" if rows.against else "nothing, for nothing is published"
    before = f" ({one['rejected_before']:,} more were rejected before)" if one["rejected_before"] else ""
    echo(
        f"beside {against}: {one['new']:,} rows are new{before}, {one['changed']:,} changed, {one['unchanged']:,} as "
        f"they were, {one['gone']:,} gone; {one['rejected']:,} are rejected before anything is encoded"
    )
    if rows.units_stand == rows.units:
        echo(f"all {rows.units:,} units stand: nothing is encoded")
    else:
        echo(_encoded(rows))
    runs = "1 run" if cost.runs == 1 else f"{cost.runs} runs"
    told = "is not known" if cost.encode_seconds is None else f"about {duration(cost.encode_seconds)}, as {runs} took"
    what = "1 index" if cost.indexes == 1 else f"{cost.indexes:,} indexes"
    built = (
        f"building at least {what}, about {duration(cost.build_seconds)}"
        if cost.indexes
        else "no index is known to change"
    )
    echo(f"the next run: reading and encoding {told}; {built}")
    table(
        ["partition", *_COLUMNS],
        [[name, *(f"{counts[kind]:,}" for kind in _COLUMNS)] for name, counts in rows.partitions.items()],
    )


def _encoded(rows: PlannedRows) -> str:
    one = rows.counts
    lost = one["photos_unreadable"]
    tried = f"; those of {lost:,} are not there, or could not be decoded before" if lost else ""
    return (
        f"{rows.units_stand:,} of {rows.units:,} units stand; of the others {one['texts_encoded']:,} texts and the "
        f"photos of {one['photos_encoded']:,} products are encoded, those of {one['texts_copied']:,} and of "
        f"{one['photos_copied']:,} copied{tried}"
    )
