"""Whether an index is of the rows that it stands for."""

from __future__ import annotations

from collections.abc import Iterable

from lookup.store.index_record import made_of
from lookup.store.manifest import PartitionEntry
from pipeline.build.index_ids import misplaced
from pipeline.publish.gates.base import Comparison, Invariant


class Gate(Invariant):
    """Every index was made of the live segments of its partition, ids and vectors. One of an earlier version does not
    say what it was made of: its ids are compared.
    """

    name, rank = "index_rows", 130
    what = "partitions whose index was made of other rows than theirs"

    def wrong(self, comparison: Comparison) -> Iterable[str]:
        """See Invariant."""
        live, silent = comparison.new.shards.segments, list[PartitionEntry]()
        for partition in comparison.new.partitions:
            if partition.index.made_of is None:
                silent.append(partition)
            elif partition.index.made_of != made_of(live.of(partition.name).digests):
                yield partition.name
        yield from misplaced(comparison.store, comparison.new, silent)
