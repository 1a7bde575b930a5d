"""What a unit lost, counted by what its details have in common: 376 photos that are HTML are one line, not 376."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from lookup.store.shard_record import OTHERS, DetailCount
from pipeline.catalog.stage_columns import DEGRADED, DETAIL, ID, IMAGE_FAULT, PARTITION, PHOTOS_LOST, REJECT

_MOST = 20  # kinds of a unit; its record, and so the manifest, has them all, for each partition
_LONGEST = 300  # characters of an example


def detail_counts(good: pa.Table, bad: pa.Table) -> tuple[DetailCount, ...]:
    """The losses of a unit: rejected rows, degraded ones, and those that lost some of their photos; what is none of the
    most frequent kinds is summed by its reason.
    """
    found: dict[tuple[str, str, str, str], list[str]] = {}
    _add(found, "rejected", bad, REJECT)
    _add(found, "degraded", good.filter(pc.is_valid(good.column(DEGRADED))), DEGRADED)
    short = pc.and_(pc.is_null(good.column(DEGRADED)), pc.greater(good.column(PHOTOS_LOST), 0))
    _add(found, "photos_lost", good.filter(short), IMAGE_FAULT)
    counts = [
        DetailCount(
            partition=partition, outcome=outcome, reason=reason, detail=detail, rows=len(examples), example=examples[0]
        )
        for (partition, outcome, reason, detail), examples in _summed(found).items()
    ]
    return tuple(sorted(counts, key=lambda one: (-one.rows, one.partition, one.outcome, one.reason, one.detail)))


def common_part(detail: str) -> str:
    """What a detail has in common with others of its kind: what stands before the first `: `."""
    return detail.partition(": ")[0][:_LONGEST]


def _summed(found: dict[tuple[str, str, str, str], list[str]]) -> dict[tuple[str, str, str, str], list[str]]:
    """`found` with the kinds that are not among the most frequent of all partitions as one for each reason."""
    rows: Counter[tuple[str, ...]] = Counter()
    for (_, *kind), examples in found.items():
        rows[tuple(kind)] += len(examples)
    most = {kind for kind, _ in sorted(rows.items(), key=lambda one: (-one[1], one[0]))[:_MOST]}
    summed: dict[tuple[str, str, str, str], list[str]] = {}
    for (partition, *kind), examples in found.items():
        outcome, reason, detail = kind
        shown = detail if tuple(kind) in most else OTHERS
        summed.setdefault((partition, outcome, reason, shown), []).extend(examples)
    return summed


def _add(found: dict[tuple[str, str, str, str], list[str]], outcome: str, rows: pa.Table, reason: str) -> None:
    if not rows.num_rows:
        return
    columns = [rows.column(name).to_pylist() for name in (PARTITION, reason, DETAIL, ID)]
    for partition, code, detail, row_id in zip(*columns, strict=True):
        key = (partition, outcome, code, common_part(detail or ""))
        own = (detail or "").removeprefix(key[-1]).removeprefix(": ")
        example = ": ".join(filter(None, ((row_id or "no id")[:100], own)))[:_LONGEST]
        found.setdefault(key, []).append(example)
