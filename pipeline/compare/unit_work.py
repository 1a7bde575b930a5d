"""What a run would do for a unit: nothing, where its shard stands, or copy some vectors and encode others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from foundation.arrays import Mask
from lookup.store.manifest import Manifest
from lookup.store.shard_record import ShardRecord
from lookup.store.store import Store
from pipeline.catalog import stage_columns as col
from pipeline.config.encoding import encoding_identity
from pipeline.config.published import limits_of, to_measure
from pipeline.config.sections import Embedding
from pipeline.embed.earlier.earlier_vectors import FINGERPRINTS, write_tables
from pipeline.embed.earlier.fingerprint_table import FingerprintTable
from pipeline.embed.fingerprints import shard_name
from pipeline.embed.shard_files import earlier_shards, own_record
from pipeline.embed.tries import may_have_passed
from pipeline.photos.photos import is_stamp_of_none, photo_facts
from pipeline.photos.root import Root

_NEXT_RUN = "~"  # comes after every run that there is
_NAMES = {col.TEXT_VECTOR: "texts", col.IMAGE_VECTOR: "photos"}


@dataclass(frozen=True)
class Work:
    """What the run that comes next has to go by: shards by what they were made of, and fingerprints of vectors.

    Shards are taken to be whole, as `vitrine verify` finds them: of one that is damaged a run encodes the rows again.
    """

    store: Store
    embedding: Embedding
    encoding: str | None  # None: it is measured first, so that no shard of before stands
    root: Root
    shards: Mapping[str, str]  # inputs -> name
    tables: Mapping[str, FingerprintTable]
    failed: pa.Array  # fingerprints of photos of which no vector could be made

    def of_unit(self, table: pa.Table) -> tuple[bool, dict[str, Mask]]:
        """Whether the shard of a unit stands; and what is done for its rows else: for texts and photos who is encoded
        and who is copied, and `photos_unreadable`, which are not there, or could not be decoded before.
        """
        if self._stands(table):
            return True, {}
        masks = dict[str, Mask]()
        towers = {col.TEXT_VECTOR: self.embedding.encoders.text, col.IMAGE_VECTOR: self.embedding.encoders.image}
        good = pc.is_null(table.column(col.REJECT))
        for column, tower in towers.items():
            if tower is None:
                continue
            fingerprints = pc.if_else(good, table.column(FINGERPRINTS[column]), None).combine_chunks()
            there = _mask(pc.is_valid(fingerprints))
            found = np.zeros(len(there), np.bool_)
            if column in self.tables:
                found = self.tables[column].find(fingerprints).shards >= 0
            name, waits = _NAMES[column], there & ~found
            masks[f"{name}_copied"] = found
            if column == col.IMAGE_VECTOR:
                failed = _mask(pc.is_in(fingerprints, self.failed))
                readable = self._readable(table, waits & ~failed)
                masks["photos_unreadable"] = waits & ~readable
                waits = readable
            masks[f"{name}_encoded"] = waits
        return False, masks

    def _stands(self, table: pa.Table) -> bool:
        if self.encoding is None:
            return False
        name = self.shards.get(shard_name(self.encoding, col.naming(table)))
        record: ShardRecord | None = None if name is None else own_record(self.store, name)
        return record is not None and not may_have_passed(record, table, self.embedding, self.root)

    def _readable(self, table: pa.Table, asked: Mask) -> Mask:
        """Of the rows that are `asked` for, those that have a photo that is there; nothing is decoded."""
        found = np.zeros(len(asked), np.bool_)
        rows = pa.array(np.flatnonzero(asked))
        photos, stamps = (table.column(name).take(rows).to_pylist() for name in (col.PHOTOS, col.STAMPS))
        for row, some, known in zip(rows.to_pylist(), photos, stamps, strict=True):
            found[row] = any(self._there(photo, stamp) for photo, stamp in zip(some, known, strict=True))
        return found

    def _there(self, photo: dict[str, Any], stamp: str | None) -> bool:
        if photo["bytes"] is not None:
            return True
        if stamp is not None:
            return not is_stamp_of_none(stamp)
        return photo_facts(photo["path"], self.root) is not None


@contextmanager
def next_work(store: Store, embedding: Embedding, root: Root, parent: Manifest | None) -> Iterator[Work]:
    """What the run of `embedding`, with what the parent has measured, would go by; `root` is that of photos."""
    known = earlier_shards(store, parent, _NEXT_RUN)
    limits = limits_of(parent) if parent else None
    with TemporaryDirectory() as folder:
        written = write_tables(store, embedding, [one.file for one in known], limits, Path(folder))
        yield Work(
            store=store,
            embedding=embedding,
            encoding=None if to_measure(embedding) else encoding_identity(embedding),
            root=root,
            shards={one.inputs or one.name: one.name for one in known},
            tables={column: FingerprintTable(Path(folder) / column) for column in written.rows},
            failed=written.failed,
        )


def counted(masks: Mapping[str, Mask], partitions: pa.Array) -> dict[str, Counter[str]]:
    """Partition -> how many of its rows are in each mask."""
    found: dict[str, Counter[str]] = {}
    for name, mask in masks.items():
        for one in pc.value_counts(partitions.filter(pa.array(mask))).to_pylist():
            found.setdefault(one["values"], Counter())[name] += one["counts"]
    return found


def _mask(values: pa.Array | pa.ChunkedArray) -> Mask:
    combined = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    found: Mask = combined.to_numpy(zero_copy_only=False)
    return found
