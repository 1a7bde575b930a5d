"""Whether an index is of the rows that it stands for."""

from __future__ import annotations

from collections.abc import Iterable

from lookup.store.entries.index_record import made_of
from lookup.store.manifest import PartitionEntry
from pipeline.build.index_ids import misplaced
from pipeline.publish.gates.base import Comparison, Invariant


class Gate(Invariant):
    """Every index was made of the live segments of its partition, ids and vectors. Of an index that is not the parent's
    the ids are compared with those of its rows, file with file; and of one of an earlier version, which does not say
    what it was made of.
    """

    name, rank = "index_rows", 130
    what = "partitions whose index was made of other rows than theirs"

    def wrong(self, comparison: Comparison) -> Iterable[str]:
        """See Invariant."""
        live, compared = comparison.new.shards.segments, list[PartitionEntry]()
        known = {one.index.name for one in comparison.old.partitions} if comparison.old else set()
        for partition in comparison.new.partitions:
            if partition.index.made_of not in (None, made_of(live.of(partition.name).digests)):
                yield partition.name
            elif partition.index.made_of is None or partition.index.name not in known:
                compared.append(partition)
        yield from misplaced(comparison.store, comparison.new, compared)
