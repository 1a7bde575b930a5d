"""The rows of two snapshots that are not the same rows of the same files, as keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from foundation.arrays import Vectors
from index_builders.rows.shards import SegmentRef, read_embeddings, read_places
from lookup.store.checked_files import CheckedFiles
from lookup.store.manifest import Manifest
from lookup.store.shards import Located
from pipeline.catalog import stage_columns as col
from pipeline.compare.row_keys import Keys, row_keys, vector_hashes
from pipeline.publish.drift.rows import sides

_COLUMNS = (col.ID, col.TEXT_FINGERPRINT, col.PHOTO_FINGERPRINT, col.PHOTO, col.ATTRIBUTES)


class Segment(NamedTuple):
    """A live segment of a snapshot, and whether the other one has a segment of equal ids and embeddings."""

    partition: str
    at: Located
    same_vectors: bool = False


@dataclass(frozen=True)
class Rows:
    """Segments of a snapshot whose rows are compared; `codes` number partitions."""

    files: CheckedFiles
    segments: Sequence[Segment]
    attributes: Sequence[str]
    codes: Mapping[str, int]
    vectors: bool = True

    @property
    def count(self) -> int:
        """Rows."""
        return sum(one.at.rows for one in self.segments)

    def keys(self) -> Iterator[Keys]:
        """The keys of each segment; `vector` where those of both sides may differ."""
        for number, one in enumerate(self.segments):
            with pq.ParquetFile(self.files.path(one.at.file), page_checksum_verification=True) as file:
                wanted = [name for name in _COLUMNS if name in file.schema_arrow.names]
                table = file.read_row_group(one.at.row_group, columns=wanted, use_threads=False)
            keys = row_keys(table, self.attributes, self.codes[one.partition], number)
            if self.vectors and not one.same_vectors:
                keys["vector"] = vector_hashes(read_embeddings(self._ref(one)))
            yield keys

    def ids(self, keys: Keys) -> list[str]:
        """The ids of some of the rows."""
        found = dict[tuple[int, int], str]()
        for number in np.unique(keys["segment"]).tolist():
            rows = np.unique(keys["row"][keys["segment"] == number]).astype(np.int64)
            names, _ = read_places(self._ref(self.segments[number]), rows)
            found.update(zip(((number, row) for row in rows.tolist()), names, strict=True))
        return [found[place] for place in zip(keys["segment"].tolist(), keys["row"].tolist(), strict=True)]

    def embeddings(self, keys: Keys) -> Vectors:
        """(n, dim) float32 of some of the rows."""
        found: Vectors | None = None
        for number in np.unique(keys["segment"]).tolist():
            at = np.flatnonzero(keys["segment"] == number)
            block = read_embeddings(self._ref(self.segments[number]))
            found = np.zeros((len(keys), block.shape[1]), np.float32) if found is None else found
            found[at] = block[keys["row"][at]]
        return np.zeros((0, 0), np.float32) if found is None else found

    def _ref(self, one: Segment) -> SegmentRef:
        return SegmentRef(self.files.path(one.at.file), one.at.row_group, one.at.rows, one.at.digest)


def unlike_segments(old: Manifest, new: Manifest) -> tuple[list[Segment], list[Segment]]:
    """The segments of two snapshots but those that both name."""
    pair = zip((old, new), sides(old.shards, new.shards), strict=True)
    left = [list(side.segments([one.name for one in manifest.partitions])) for manifest, side in pair]
    digests = [{(partition, at.digest) for partition, at in side} for side in left]
    same = digests[0] & digests[1]
    marked = [[Segment(name, at, (name, at.digest) in same) for name, at in side] for side in left]
    return marked[0], marked[1]


def segments_of(manifest: Manifest) -> list[Segment]:
    """The live segments of a snapshot, those of one shard beside one another."""
    names = [one.name for one in manifest.partitions]
    return [Segment(name, at) for name, at in manifest.shards.shard_by_shard(names)]
