"""Whether every partition has its index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pipeline.publish.gates.base import Comparison, Invariant


class Gate(Invariant):
    """Every partition has one index, of the rows of its live segments."""

    name, rank = "rows_indexed", 20
    what = "partitions whose index does not hold the rows of their live segments"

    def wrong(self, comparison: Comparison) -> Iterable[str]:
        """See Invariant."""
        live = comparison.new.shards.segments.rows_of()
        named = Counter(partition.name for partition in comparison.new.partitions)
        yield from (name for name in live if name not in named)
        yield from (name for name, times in named.items() if times > 1)
        for partition in comparison.new.partitions:
            if not partition.rows == partition.index.rows == live[partition.name]:
                yield partition.name
