"""Products of a category that stand in another one by now: a run of the first alone would take them out of the
snapshot, and nobody would put them in again before the second is run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from encoders.names import same_category
from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.catalog.categories import partition_names
from pipeline.catalog.names import id_hashes
from pipeline.catalog.rows import ONE_PARTITION, Piece, plan_pieces
from pipeline.config.sections import Embedding
from pipeline.files.pinned import unchanged
from pipeline.plan.units import Plan
from pipeline.publish.gates.base import listed, runs_of

Hashes = npt.NDArray[np.uint64]
_READ_IDS = 16_384  # ids in memory at a time
_NONE: Hashes = np.empty(0, np.uint64)


@dataclass(frozen=True)
class Moves:
    """Where the published products of a category are now: how many stood there, moved to which categories, are gone."""

    category: str
    before: int = 0
    moved: Counter[str] = field(default_factory=Counter)
    gone: int = 0

    def describe(self) -> str:
        """For people."""
        where = listed([f"{rows:,} in {name!r}" for name, rows in self.moved.most_common()])
        after = f"; what moved is found again after {runs_of(self.moved)}" if self.moved else ""
        return (
            f"of {self.before:,} published products of {self.category!r}, {self.moved.total():,} stand in other "
            f"categories by now ({where or 'none'}), {self.gone:,} are gone from the catalog{after}"
        )


def find_moves(store: Store, parent: Manifest, embedding: Embedding, plan: Plan, category: str) -> Moves:
    """Where the products that `parent` has in `category` are in the catalog. By hashes of 8 bytes an id."""
    entry = next((one for one in parent.partitions if one.name == category), None)
    if entry is None:
        return Moves(category)
    embedding, before = plan.reading(embedding), _published(store, entry.index.files["ids"])
    found: dict[str, Hashes] = {}
    for file in plan.files:
        with unchanged(file.path, file.pin):
            for piece in plan_pieces(file.path, embedding.catalog, embedding.shards):
                for name, hashes in _met(piece, before, embedding, plan):
                    found[name] = np.union1d(found.get(name, _NONE), hashes)
    seen = found.pop(category, _NONE)  # who stands there too has not moved: of rows with one id the first is kept
    moved: Counter[str] = Counter()
    for name, hashes in sorted(found.items()):
        moved[name] = len(np.setdiff1d(hashes, seen))
        seen = np.union1d(seen, hashes)
    return Moves(category, len(before), +moved, len(before) - len(seen))


def _met(piece: Piece, before: Hashes, embedding: Embedding, plan: Plan) -> Iterator[tuple[str, Hashes]]:
    """(partition, hashes) of the products of a piece that are among `before`."""
    if piece.categories is None:
        yield ONE_PARTITION, np.intersect1d(id_hashes(piece.ids), before)
        return
    known, separators = pc.is_valid(piece.ids), embedding.catalog.partition_separator
    hashes = id_hashes(piece.ids)
    met = np.isin(hashes, before)
    names = partition_names(piece.categories.filter(known).filter(pa.array(met)), embedding.catalog)
    for name in pc.unique(names).to_pylist():
        meant = [name] if name in plan.partitions else same_category(name, plan.partitions, separators)
        yield meant[0] if meant else name, hashes[met][pc.equal(names, name).to_numpy(zero_copy_only=False)]


def _published(store: Store, file: Any) -> Hashes:
    with pq.ParquetFile(store.verified(file), page_checksum_verification=True) as opened:
        batches = opened.iter_batches(_READ_IDS, columns=["id"], use_threads=False)
        return np.unique(np.concatenate([_NONE, *(id_hashes(batch.column(0)) for batch in batches)]))
