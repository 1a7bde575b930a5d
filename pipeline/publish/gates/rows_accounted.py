"""Whether every row of every shard came to something."""

from __future__ import annotations

from collections.abc import Iterable

from lookup.store.manifest import ShardEntry
from pipeline.publish.gates.base import Comparison, Invariant


class Gate(Invariant):
    """Of every shard, rows in are embedded + rejected."""

    name, rank = "rows_accounted", 10
    what = "shards whose rows in are not embedded + rejected"

    def wrong(self, comparison: Comparison) -> Iterable[str]:
        """See Invariant."""
        return (entry.record.name for entry in comparison.new.shards if not _adds_up(entry))


def _adds_up(entry: ShardEntry) -> bool:
    """Whether a shard's counts agree. Of one that a re-index has replaced in part, only its own record can."""
    record = entry.record
    embedded = sum(segment.rows for segment in record.segments)
    rejected = sum(reject.rows for reject in record.rejected)
    if not set(entry.segments) <= set(record.segments) or not set(entry.rejected) <= set(record.rejected):
        return False
    in_files = (record.file.rows if record.file else 0, record.rejects.rows if record.rejects else 0)
    return record.rows_in == embedded + rejected and in_files == (embedded, rejected)
