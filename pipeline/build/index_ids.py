"""Whether the ids of indexes are those of the rows that they stand for: position by position, from the files.

FAISS knows no ids: an index that lies beside another's ids answers every query, with other products.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from index_builders.rows.shards import SegmentRef, read_ids
from lookup.store.manifest import Manifest, PartitionEntry
from lookup.store.shards import Located
from lookup.store.store import Store

_AT_ONCE = 32  # partitions whose ids files are open: shards are gone over once for so many
_READ_IDS = 16_384  # ids in memory at a time


def misplaced(store: Store, manifest: Manifest, partitions: Sequence[PartitionEntry]) -> dict[str, str]:
    """Partition -> how the ids of its index differ from those of its live segments, of those `partitions` where they
    do. Digests are checked by whoever read the files before.
    """
    found: dict[str, str] = {}
    for start in range(0, len(partitions), _AT_ONCE):
        with ExitStack() as stack:
            some = {one.name: stack.enter_context(_Ids(store, one)) for one in partitions[start : start + _AT_ONCE]}
            for name, segment in manifest.shards.shard_by_shard(list(some)):
                if name not in found and (problem := some[name].differs(store, segment)):
                    found[name] = problem
    return found


class _Ids:
    """The ids of an index, in order."""

    def __init__(self, store: Store, partition: PartitionEntry) -> None:
        self.file = partition.index.files["ids"]
        self.opened = pq.ParquetFile(store.verified(self.file), page_checksum_verification=True)
        self.batches = self.opened.iter_batches(_READ_IDS, columns=["id"], use_threads=False)
        self.left = pa.array([], pa.string())
        self.position = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self.opened.close()

    def differs(self, store: Store, segment: Located) -> str | None:
        """How the next ids differ from those of `segment`; None when they do not."""
        mine = self._take(segment.rows)
        path = store.local(segment.file)
        if path is None:
            return f"{segment.file.path} is not there"
        theirs = read_ids(SegmentRef(path, segment.row_group, segment.rows, segment.digest))
        if mine.equals(theirs):
            return None
        pairs = enumerate(zip(mine.to_pylist(), theirs.to_pylist(), strict=False))
        at, (one, other) = next(((at, pair) for at, pair in pairs if pair[0] != pair[1]), (len(mine), (None, None)))
        start = self.position - len(mine)
        return f"{self.file.path} has {one!r} at position {start + at}, where {segment.file.path} has {other!r}"

    def _take(self, rows: int) -> pa.Array:
        parts = [self.left]
        while sum(map(len, parts)) < rows and (batch := next(self.batches, None)) is not None:
            parts.append(batch.column(0))
        whole = pa.concat_arrays(parts)
        self.left = whole.slice(rows)
        self.position += min(rows, len(whole))
        return whole.slice(0, rows)
