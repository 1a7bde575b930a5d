"""Search: one query over one or all partitions of a published snapshot."""

from __future__ import annotations

import bisect
import difflib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from lookup.errors import InputError
from lookup.hit import Hit
from lookup.index import PartitionIndex
from lookup.manifest import FileRef, Manifest, PartitionEntry, Segment, ShardEntry
from lookup.query import QueryEncoder
from lookup.store import Store

Vectors = npt.NDArray[np.float32]
_SEGMENTS_KEPT = 64  # segments whose attributes stay in memory after a hit


@dataclass
class _Shard:
    """A shard that hits came from: one thread checks its digest and reads it, the others wait or read other shards."""

    file: FileRef
    path: Path | None = None  # None: not yet checked
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Segments:
    """id, row, photo and attributes of segments, read when a hit first needs them. Threads may share it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()  # of the two below; never held while a file is read
        self._shards: dict[str, _Shard] = {}
        self._tables: OrderedDict[tuple[str, int], pa.Table] = OrderedDict()  # used last comes last

    def table(self, file: FileRef, row_group: int) -> pa.Table:
        """One row group of a shard, as a table of one chunk."""
        with self._lock:
            shard = self._shards.setdefault(file.path, _Shard(file))
        found = self._kept(file, row_group)
        if found is None:
            with shard.lock:
                found = self._kept(file, row_group)  # another thread may have read it meanwhile
                if found is None:
                    found = self._keep(file, row_group, self._read(shard, row_group))
        return found

    def _kept(self, file: FileRef, row_group: int) -> pa.Table | None:
        with self._lock:
            found = self._tables.get((file.path, row_group))
            if found is not None:
                self._tables.move_to_end((file.path, row_group))
            return found

    def _keep(self, file: FileRef, row_group: int, table: pa.Table) -> pa.Table:
        with self._lock:
            self._tables[file.path, row_group] = table
            if len(self._tables) > _SEGMENTS_KEPT:
                self._tables.popitem(last=False)
        return table

    def _read(self, shard: _Shard, row_group: int) -> pa.Table:
        if shard.path is None:  # once, not again for every segment
            shard.path = self._store.verified(shard.file)
        with pq.ParquetFile(shard.path, page_checksum_verification=True) as opened:
            wanted = [name for name in ("id", "row", "photo", "attributes") if name in opened.schema_arrow.names]
            return opened.read_row_group(row_group, columns=wanted).combine_chunks()


@dataclass(frozen=True)
class _Partition:
    """An open index, and where the attributes of its positions lie."""

    index: PartitionIndex
    segments: tuple[tuple[ShardEntry, Segment], ...]
    ends: tuple[int, ...]  # ends[i]: one past the last position of segment i

    def locate(self, position: int) -> tuple[ShardEntry, Segment, int]:
        """The segment of a position, and the row in it."""
        at = bisect.bisect_right(self.ends, position)
        shard, segment = self.segments[at]
        return shard, segment, position - (self.ends[at] - segment.rows)


@dataclass(frozen=True)
class Reader:
    """An open snapshot. It stays what it was when a new one is published; threads may share it."""

    store: Store
    snapshot: str
    manifest: Manifest
    _queries: QueryEncoder
    _partitions: Mapping[str, _Partition]
    _segments: _Segments

    @classmethod
    def open(cls, path: str, partitions: Sequence[str] | None = None, device: str = "cpu") -> Reader:
        """Open the published snapshot of the store at `path`, or only some of its partitions.

        Every file's digest is checked before it is opened; InputError when nothing is published or a partition is
        unknown, IntegrityError when a file is missing, cut or altered.
        """
        store = Store.open(path)
        snapshot, manifest = store.published()
        known = {partition.name: partition for partition in manifest.partitions}
        chosen = [_known(name, known) for name in partitions] if partitions is not None else list(known.values())
        opened = {partition.name: _open_partition(store, manifest, partition) for partition in chosen}
        return cls(store, snapshot, manifest, QueryEncoder.of(manifest, device), opened, _Segments(store))

    @property
    def categories(self) -> list[str]:
        """The partitions that can be searched."""
        return list(self._partitions)

    def search(
        self,
        text: str | None = None,
        image: bytes | None = None,
        category: str | None = None,
        k: int = 10,
        nprobe: int | None = None,
    ) -> list[Hit]:
        """The `k` best products for a text, a photo (a file's bytes), or both; over all partitions unless `category`
        names one.

        Scores are those of the snapshot's metric, so hits of different partitions compare (lookup/index.py says how
        true they are). Equal scores are in order of
        partition and position, but which of them FAISS returns at the cut of a partition is its choice. `nprobe`
        replaces the tuned one of indexes that are not exact.
        """
        return self.search_vector(self._queries.embed(text=text, image=image), category, k, nprobe)

    def search_vector(
        self, xq: Vectors, category: str | None = None, k: int = 10, nprobe: int | None = None
    ) -> list[Hit]:
        """The `k` best products for a query vector, (1, dim) float32."""
        if k < 1:
            raise InputError("k of at least 1", str(k), "ask for one hit or more")
        if nprobe is not None and nprobe < 1:
            raise InputError("nprobe of at least 1", str(nprobe), "leave it out for the tuned one")
        names = self.categories if category is None else [_known(category, self._partitions) and category]
        found: list[tuple[float, str, int]] = []
        for name in names:
            index = self._partitions[name].index
            scores, positions = index.search(
                xq, min(k, index.rows), min(nprobe, index.widest) if nprobe and index.widest else None
            )
            found += [(float(s), name, int(p)) for s, p in zip(scores[0], positions[0], strict=True) if p >= 0]
        best = sorted(found, key=lambda one: (-one[0], one[1], one[2]))[:k]
        return [self._hit(score, name, position) for score, name, position in best]

    def _hit(self, score: float, name: str, position: int) -> Hit:
        partition = self._partitions[name]
        shard, segment, row = partition.locate(position)
        assert shard.record.file is not None  # a live segment lies in a file
        table = self._segments.table(shard.record.file, segment.row_group)
        at = {column: table.column(column)[row].as_py() for column in table.column_names}
        source = (shard.source, shard.row_groups[0], at["row"])
        return Hit(at["id"], score, name, at.get("attributes") or {}, at["photo"], source)


def _open_partition(store: Store, manifest: Manifest, partition: PartitionEntry) -> _Partition:
    record = partition.index
    index = PartitionIndex.open({role: store.verified(file) for role, file in record.files.items()}, record)
    live = tuple((shard, s) for shard in manifest.shards for s in shard.segments if s.partition == partition.name)
    return _Partition(index, live, tuple(accumulate(segment.rows for _, segment in live)))


def _known(name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.4) or sorted(known)[:10]
        raise InputError(
            f"a category of the snapshot, such as {', '.join(map(repr, near))}", repr(name), "correct --category"
        )
    return known[name]
