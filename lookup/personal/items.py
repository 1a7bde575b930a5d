"""Products as queries: the vectors that a search by a product's own text and photo would ask by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from encoders.fusion.base import Fusion
from foundation.arrays import Vectors
from foundation.errors import InputError
from lookup.lru import Recent
from lookup.opened import Opened
from lookup.personal.places import Place
from lookup.store.shards import file_of

_KEPT = 4096  # products whose vectors stay in memory: 4 MB of 256 dimensions
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

    def _vector(self, place: Place) -> Vectors:
        asked = self._of_embedding(place) if self._by_embedding else self._of_towers(place)
        stored: Vectors = self._opened.partitions[place.partition].index.metric.stored(asked)[0]
        return stored

    def _of_embedding(self, place: Place) -> Vectors:
        shard, group, row = self._opened.partitions[place.partition].locate(place.position)
        file = file_of(shard)
        table = self._read.get((file.path, group), lambda: self._opened.segments.read(file, group, ["embedding"]))
        embedding = table.column("embedding").slice(row, 1).combine_chunks().flatten().to_numpy()
        found = self._fusion.queries_of_items(embedding.reshape(1, -1))
        assert found is not None  # as `_by_embedding` says
        return found

    def _of_towers(self, place: Place) -> Vectors:
        text, image = self._opened.towers(place.partition, place.position)
        if text is None and image is None:
            raise InputError(
                f"the vectors of the towers beside embeddings, which {type(self._fusion).__name__} needs to ask by a "
                "product",
                "a snapshot that was made with shards.towers=false",
                "run again with shards.towers=true, or search by the product's text and photo",
            )
        uses = self._fusion.uses
        return self._fusion.queries(text if "text" in uses else None, image if "image" in uses else None)


def mean_of(vectors: Vectors, weights: Vectors) -> Vectors:
    """(1, d) float32: the mean of (n, d) float32 `vectors`, by (n,) positive `weights`."""
    shares = weights.astype(np.float64) / weights.sum(dtype=np.float64)
    return np.asarray(shares[None] @ vectors.astype(np.float64), np.float32)
