"""Manifests of format 1: one JSON file, in which each shard has its record, and its live segments once more."""

from __future__ import annotations

from typing import Any

from lookup.store.fields import Record
from lookup.store.segment_table import SegmentsBuilder
from lookup.store.shard_record import RejectCount, Segment, ShardRecord
from lookup.store.shards import ShardEntry, Shards


class _Entry(Record):
    """A shard as a snapshot of format 1 uses it: `segments` and `rejected` are the live ones of its record."""

    record: ShardRecord
    source: str
    row_groups: tuple[int, int]
    segments: tuple[Segment, ...]
    rejected: tuple[RejectCount, ...]


def upgraded(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a manifest of format 1 as those of a manifest; ValidationError where they are not."""
    entries = [_Entry.model_validate(one) for one in fields.pop("shards", ())]
    builder = SegmentsBuilder()
    for number, one in enumerate(entries):
        builder.add(number, one.segments, one.rejected, one.record.details)
    shards = tuple(ShardEntry.of(one.record, one.source, one.row_groups) for one in entries)
    return {**fields, "shards": Shards(entries=shards, segments=builder.close())}
