"""Whether an index's files are of one index."""

from __future__ import annotations

from collections.abc import Iterable

from lookup.store.manifest import Manifest, PartitionEntry
from pipeline.publish.gates.base import Comparison, Invariant


class Gate(Invariant):
    """Every index holds as many vectors, ids and refine vectors as it says, of the snapshot's length and metric."""

    name, rank = "index_files", 30
    what = "indexes whose ntotal, ids, dim or metric are not what the snapshot says"

    def wrong(self, comparison: Comparison) -> Iterable[str]:
        """See Invariant."""
        return (entry.name for entry in comparison.new.partitions if not _is_whole(entry, comparison.new))


def _is_whole(partition: PartitionEntry, manifest: Manifest) -> bool:
    index = partition.index
    same_rows = bool(index.files) and all(file.rows == index.rows for file in index.files.values())
    return same_rows and (index.dim, index.metric) == (manifest.dim, manifest.metric)
