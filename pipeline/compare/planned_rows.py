"""What the rows of a catalog are beside those that are published, and what the run of it would encode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from foundation.liveness import beat
from lookup.store.checked_files import CheckedFiles
from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.catalog import stage_columns as col
from pipeline.catalog.columns import first_paths
from pipeline.catalog.names import id_hashes
from pipeline.catalog.stage_columns import with_columns
from pipeline.compare.joined_rows import Pairs, joined
from pipeline.compare.row_keys import Hashes, Keys, row_keys
from pipeline.compare.snapshot_rows import Rows, segments_of
from pipeline.compare.unit_work import Work, counted, next_work
from pipeline.config.sections import Embedding
from pipeline.embed.fingerprinted_units import read_fingerprinted
from pipeline.photos.root import photo_root
from pipeline.plan.units import Plan

# What a row is: one of the first four, or `rejected`. `changed` has what the next four say, which may overlap but for
# `attributes`: these alone. `moved_away` and `gone` are published rows, by the partition in which they are.
KINDS = (
    *("new", "rejected_before", "changed", "unchanged", "text", "photo", "attributes", "moved"),
    *("moved_away", "gone", "rejected"),
    *("texts_encoded", "texts_copied", "photos_encoded", "photos_copied", "photos_unreadable"),
)


@dataclass(frozen=True)
class PlannedRows:
    """Rows by KINDS, in all and by partition; `units_stand` of the units are not encoded, nor copied from.

    `against` is the snapshot that is published; None: none is.
    """

    against: str | None
    counts: dict[str, int]
    partitions: dict[str, dict[str, int]]
    units: int
    units_stand: int


def compare_plan(
    store: Store, snapshot: str | None, parent: Manifest | None, embedding: Embedding, plan: Plan
) -> PlannedRows:
    """Read and fingerprint every row of a plan, as its run does, and compare it with what is published by its id;
    nothing is encoded, no photo decoded, nothing written. `embedding` has what the parent has measured.
    """
    found, embedding = _Found(plan.category, parent), plan.reading(embedding)
    files = CheckedFiles(store)
    attributes = [name for name in embedding.catalog.attributes if parent and name in parent.attributes]
    rejected_before = _rejected(files, parent)
    root = photo_root(plan.image_root, embedding.catalog)
    with next_work(store, embedding, root, parent) as work:
        new = found.read(work, plan, attributes)
        old: Iterable[Keys] = ()
        if parent is not None:
            old = Rows(files, segments_of(parent), attributes, found.codes, vectors=False).keys()
        for pairs in joined(old, new, max(plan.rows, parent.rows if parent else 0)):
            found.pairs(pairs, rejected_before)
    return PlannedRows(
        against=snapshot,
        counts={kind: sum(counts[kind] for counts in found.counts.values()) for kind in KINDS},
        partitions={name: {kind: one[kind] for kind in KINDS} for name, one in sorted(found.counts.items())},
        units=len(plan.units),
        units_stand=found.units_stand,
    )


@dataclass
class _Found:
    """What was seen so far; of a plan of one `category` only its own rows are gone."""

    category: str | None
    parent: Manifest | None
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    units_stand: int = 0

    def __post_init__(self) -> None:
        for one in self.parent.partitions if self.parent else ():
            self._code(one.name)

    def read(self, work: Work, plan: Plan, attributes: list[str]) -> Iterator[Keys]:
        """The keys of the good rows of each unit; what is done for them is counted on the way."""
        for unit in plan.units:
            beat()
            table = read_fingerprinted(unit, work.embedding, work.root)
            stands, masks = work.of_unit(table)
            self.units_stand += stands
            bad = pc.is_valid(table.column(col.REJECT)).combine_chunks().to_numpy(zero_copy_only=False)
            partitions = table.column(col.PARTITION).combine_chunks()
            for name, counts in counted({**masks, "rejected": bad}, partitions).items():
                self._of(name).update(counts)
            good = table.filter(pa.array(~bad))
            photos = first_paths(good.column(col.PHOTOS))
            keys = row_keys(with_columns(good, **{col.PHOTO: photos}), attributes, 0, unit.number)
            names = partitions.filter(pa.array(~bad)).dictionary_encode()
            codes = np.array([self._code(name) for name in names.dictionary.to_pylist()], np.uint32)
            keys["partition"] = codes[names.indices.to_numpy()] if len(codes) else 0
            yield keys

    def pairs(self, pairs: Pairs, rejected_before: Hashes) -> None:
        """Count what a part of all rows says."""
        old, new = pairs.old, pairs.new
        again = np.isin(pairs.added["id"], rejected_before)
        self._add("new", pairs.added[~again])
        self._add("rejected_before", pairs.added[again])
        text, photo, moved = (old[name] != new[name] for name in ("text", "photo", "partition"))
        attributes = (old["attributes"] != new["attributes"]) & ~text & ~photo
        changed = text | photo | attributes | moved
        masks = {"text": text, "photo": photo, "attributes": attributes, "moved": moved, "changed": changed}
        for kind, mask in {**masks, "unchanged": ~changed}.items():
            self._add(kind, new[mask])
        self._add("moved_away", old[moved])
        self._add("gone", pairs.gone, only=self.category)

    def _add(self, kind: str, keys: Keys, only: str | None = None) -> None:
        names = list(self.codes)
        for code, count in zip(
            *(one.tolist() for one in np.unique(keys["partition"], return_counts=True)), strict=True
        ):
            if only is None or names[code] == only:
                self._of(names[code])[kind] += count

    def _of(self, partition: str) -> Counter[str]:
        return self.counts.setdefault(partition, Counter())

    def _code(self, partition: str) -> int:
        return self.codes.setdefault(partition, len(self.codes))


def _rejected(files: CheckedFiles, parent: Manifest | None) -> Hashes:
    """Hashes of the ids of rows that were rejected when the snapshot was made."""
    found = [np.empty(0, np.uint64)]
    for shard in parent.shards.entries if parent else ():
        if shard.rejects is not None:
            table = pq.read_table(files.path(shard.rejects), columns=["id"], page_checksum_verification=True)
            found.append(id_hashes(table.column("id").combine_chunks()))
    return np.unique(np.concatenate(found))
