"""Products as queries: the vectors that a search by a product's own text and photo would ask by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from encoders.fusion.base import Fusion
from foundation.arrays import Mask, Vectors
from foundation.errors import InputError
from lookup.lru import Recent
from lookup.opened import Opened
from lookup.personal.places import Place
from lookup.store.shards import file_of

_KEPT = 4096  # products whose vectors stay in memory: 4 MB of 256 dimensions
_TOWERS = ("text_vector", "image_vector")  # columns of shards
_READ_BYTES = 32 << 20  # of the columns that were read last


class ItemQueries:
    """Vectors of products, from the shards of an open snapshot, as queries of its fusion. Threads may share it.

    An embedding is no query: fusions weigh, scale and mark items and queries differently. Where a fusion can tell the
    query from the embedding alone (`Fusion.queries_of_items`: concat, single and learned ones) that is read, else what
    the towers said of text and photo, which `shards.towers` keeps.
    """

    def __init__(self, opened: Opened, fusion: Fusion) -> None:
        self._opened, self._fusion = opened, fusion
        self._by_embedding = fusion.queries_of_items(np.empty((0, fusion.dim), np.float32)) is not None
        self._columns = ("embedding",) if self._by_embedding else _TOWERS
        self._vectors: Recent[Place, Vectors] = Recent(_KEPT)
        self._read: Recent[tuple[str, int], pa.Table] = Recent(_READ_BYTES, lambda table: table.nbytes)

    def of(self, places: Sequence[Place]) -> Vectors:
        """(n, dim) float32 as the snapshot's metric compares queries; InputError where a product's vectors were not
        kept, IntegrityError where its shard is damaged.
        """
        found = np.empty((len(places), self._fusion.dim), np.float32)
        for at in sorted(range(len(places)), key=places.__getitem__):  # those of one segment after one another
            place = places[at]
            found[at] = self._vectors.get(place, lambda one=place: self._vector(one))  # type: ignore[misc]
        return found

    def of_segments(self, name: str) -> Iterator[tuple[pa.Array, Vectors]]:
        """Of each segment of partition `name`, in the order of positions: its ids, (n,) string, and its rows as `of`
        gives them, (n, dim) float32. Nothing is kept; errors are those of `of`.
        """
        partition = self._opened.partitions[name]
        for file, group, _ in partition.located():
            table = self._opened.segments.read(file, group, ["id", *self._columns])
            yield table.column("id").combine_chunks(), partition.index.metric.stored(self._asked(table))

    def _vector(self, place: Place) -> Vectors:
        partition = self._opened.partitions[place.partition]
        shard, group, row = partition.locate(place.position)
        file = file_of(shard)
        table = self._read.get((file.path, group), lambda: self._opened.segments.read(file, group, self._columns))
        stored: Vectors = partition.index.metric.stored(self._asked(table.slice(row, 1)))[0]
        return stored

    def _asked(self, table: pa.Table) -> Vectors:
        """(n, dim) float32 of the n rows of `table`, which has those of `_columns` that its shard has."""
        if not self._by_embedding:
            return self._of_towers(table)
        embeddings = table.column("embedding").combine_chunks().flatten().to_numpy()
        found = self._fusion.queries_of_items(embeddings.reshape(-1, self._fusion.dim))
        assert found is not None  # as `_by_embedding` says
        return found

    def _of_towers(self, table: pa.Table) -> Vectors:
        (text, by_text), (image, by_image) = (_tower(table, name) for name in _TOWERS)
        if not (by_text | by_image).all():
            raise InputError(
                f"the vectors of the towers beside embeddings, which {type(self._fusion).__name__} needs to ask by a "
                "product",
                "a snapshot that was made with shards.towers=false",
                "run again with shards.towers=true, or search by the product's text and photo",
            )
        uses = self._fusion.uses
        by_text, by_image = by_text & ("text" in uses), by_image & ("image" in uses)
        found = np.empty((len(table), self._fusion.dim), np.float32)
        for with_text, with_image in ((True, True), (True, False), (False, True)):
            rows = np.flatnonzero((by_text == with_text) & (by_image == with_image))
            if len(rows):
                sides = text[rows] if with_text else None, image[rows] if with_image else None
                found[rows] = self._fusion.queries(*sides)
        return found


def _tower(table: pa.Table, name: str) -> tuple[Vectors, Mask]:
    """(n, d) float32 of a tower's vectors as a shard keeps them, and which rows have one, (n,)."""
    if name not in table.column_names:
        return np.empty((len(table), 0), np.float32), np.zeros(len(table), np.bool_)
    column = table.column(name).combine_chunks()
    there = column.is_valid().to_numpy(zero_copy_only=False)
    found = np.zeros((len(table), column.type.byte_width // 2), np.float32)
    if there.any():
        kept = column.drop_null()
        numbers = np.frombuffer(kept.buffers()[1], "<f2").reshape(-1, found.shape[1])
        found[there] = numbers[kept.offset : kept.offset + len(kept)]
    return found, there


def mean_of(vectors: Vectors, weights: Vectors) -> Vectors:
    """(1, d) float32: the mean of (n, d) float32 `vectors`, by (n,) positive `weights`."""
    shares = weights.astype(np.float64) / weights.sum(dtype=np.float64)
    return np.asarray(shares[None] @ vectors.astype(np.float64), np.float32)
