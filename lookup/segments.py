"""Where the rows of a partition lie in shards, and the columns of those that hits and filters need."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from foundation.arrays import Vectors
from foundation.errors import IntegrityError
from lookup.index.partition_index import PartitionIndex
from lookup.lru import Recent
from lookup.store.fields import FileRef
from lookup.store.manifest import PartitionEntry, path_of
from lookup.store.segment_table import PartitionSegments
from lookup.store.shards import ShardEntry, file_of
from lookup.store.store import Store

_TOWER_BYTES = 64 << 20  # of segments' tower vectors that stay in memory
_KEPT = 64  # segments whose attributes stay in memory after a hit


@dataclass(frozen=True)
class Partition:
    """An open index, and where the attributes of its positions lie."""

    name: str
    index: PartitionIndex
    segments: PartitionSegments  # the live ones
    shards: tuple[ShardEntry, ...]  # of the snapshot, by number

    def locate(self, position: int) -> tuple[ShardEntry, int, int]:
        """The shard of a position, the row group, and the row in it."""
        return locate(self.segments, self.shards, position)

    def located(self) -> Iterator[tuple[FileRef, int, int]]:
        """(file, row group, rows) of each segment, in the order of positions."""
        return ((file_of(self.shards[one.shard]), one.row_group, one.rows) for one in self.segments)


def locate(segments: PartitionSegments, shards: Sequence[ShardEntry], position: int) -> tuple[ShardEntry, int, int]:
    """The shard of a position of a partition's index, the row group, and the row in it."""
    at = int(np.searchsorted(segments.ends, position, side="right"))
    shard = shards[segments.shards[at]]
    return shard, int(segments.row_groups[at]), position - int(segments.ends[at] - segments.rows[at])


def of_other_rows(partition: PartitionEntry, came: str) -> IntegrityError:
    """The error for an index whose rows are not those of its partition, however whole its files are."""
    return IntegrityError(
        f"{partition.index.files['ids'].path} to have the ids of the rows of {partition.name!r}",
        came,
        "delete that folder and run `vitrine run` again: it builds the index anew; until then serve an earlier one",
    )


@dataclass
class _Shard:
    """A shard that rows came from: one thread checks its digest, others wait for it or read other shards."""

    path: Path | None = None  # None: not yet checked
    lock: threading.Lock = field(default_factory=threading.Lock)


class Segments:
    """id, row, photo and attributes of segments of a snapshot, read when they are needed. Threads may share it."""

    def __init__(self, store: Store, snapshot: str) -> None:
        self._store, self._snapshot = store, snapshot
        self._lock = threading.Lock()  # of the shards' dict; never held while a file is read
        self._shards: dict[str, _Shard] = {}
        self._tables: Recent[tuple[str, int], pa.Table] = Recent(_KEPT)
        self._towers: Recent[tuple[str, int], pa.Table] = Recent(_TOWER_BYTES, lambda table: table.nbytes)

    def table(self, file: FileRef, row_group: int) -> pa.Table:
        """What hits show of one row group of a shard, as a table of one chunk."""
        return self._tables.get(
            (file.path, row_group), lambda: self._read(file, row_group, ("id", "row", "photo", "attributes"))
        )

    def read(self, file: FileRef, row_group: int, columns: Sequence[str]) -> pa.Table:
        """Those of `columns` that a shard has, of one row group, read anew, as a table of one chunk."""
        return self._read(file, row_group, columns)

    def attribute(self, file: FileRef, row_group: int, rows: int, name: str) -> pa.Array:
        """One attribute of a segment, read anew, nothing else with it; IntegrityError where the shard lacks it."""
        return self.attributes(file, row_group, rows, (name,))[name]

    def attributes(self, file: FileRef, row_group: int, rows: int, names: Sequence[str]) -> dict[str, pa.Array]:
        """Some attributes of a segment by name, else as `attribute`."""
        # Parquet counts a struct's fields as columns of their own. `a` also names `a.b`: the field is taken by name.
        table = self._read(file, row_group, [f"attributes.{name}" for name in names])
        structs = table.column("attributes").combine_chunks() if "attributes" in table.column_names else None
        lacking = [name for name in names if structs is None or structs.type.get_field_index(name) < 0]
        if structs is None or lacking or len(structs) != rows:
            raise IntegrityError(
                f"{file.path} with the attribute {', '.join(lacking or names)} of {rows} rows in row group {row_group}",
                "none" if structs is None else f"{len(structs)} rows of {structs.type}",
                "run `vitrine verify STORE`; if the store is whole, run `vitrine run` on the whole catalog again",
            )
        return {name: pc.struct_field(structs, structs.type.get_field_index(name)) for name in names}

    def towers(self, file: FileRef, row_group: int, row: int) -> tuple[Vectors | None, Vectors | None]:
        """The vectors of text and photos, (1, d) float32 each, of a row of a segment; None where the shard has none."""
        names = ("text_vector", "image_vector")
        table = self._towers.get((file.path, row_group), lambda: self._read(file, row_group, names))
        raw = [table[name][row].as_py() if name in table.column_names else None for name in names]
        text, image = (None if one is None else np.frombuffer(one, "<f2").astype(np.float32)[None] for one in raw)
        return text, image

    def _read(self, file: FileRef, row_group: int, columns: Sequence[str]) -> pa.Table:
        try:
            with pq.ParquetFile(self._verified(file), page_checksum_verification=True) as opened:
                wanted = [name for name in columns if name.split(".")[0] in opened.schema_arrow.names]
                return opened.read_row_group(row_group, columns=wanted).combine_chunks()
        except (IntegrityError, FileNotFoundError) as err:
            if self._store.exists(path_of(self._snapshot)):
                raise
            raise IntegrityError(
                f"{file.path} of snapshot {self._snapshot}, which this reader opened",
                "that snapshot was deleted meanwhile, by `vitrine gc` or by hand",
                "open the store anew, and do so more often than the age that `vitrine gc --older-than` is given",
            ) from err

    def _verified(self, file: FileRef) -> Path:
        """The path of a shard whose digest was checked: once, not again for every segment."""
        with self._lock:
            shard = self._shards.setdefault(file.path, _Shard())
        with shard.lock:
            if shard.path is None:
                shard.path = self._store.verified(file)
            return shard.path
