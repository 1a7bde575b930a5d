"""Since when a product is published, as far back as snapshots are kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from foundation.errors import InputError
from lookup.store.checked_files import CheckedFiles
from lookup.store.manifest import Manifest
from lookup.store.publications.publication import Publication
from lookup.store.store import Store
from pipeline.explain.product import IndexedRow, position_of

_LOOKED_AT = 30  # snapshots


@dataclass(frozen=True)
class Appearance:
    """A publication, and the run whose snapshot it is of."""

    number: int
    published_at: datetime | None
    snapshot: str
    run: str


@dataclass(frozen=True)
class Since:
    """Since which publication every one has the product, and since which its rows lie in the file that they lie in
    now. `before` says what is known of the time before the first.
    """

    product: Appearance
    shard: Appearance
    before: str


def since_when(store: Store, files: CheckedFiles, row: IndexedRow, name: str) -> Since | None:
    """Walk back from the served snapshot; None in a store whose snapshot no publication names."""
    product: Appearance | None = None
    shard: Appearance | None = None
    known = dict[str, bool]()
    for count, publication in enumerate(reversed(store.publications())):
        if count == _LOOKED_AT:
            return _since(product, shard, f"earlier ones than the last {_LOOKED_AT} were not looked at")
        try:
            manifest = store.manifest(publication.snapshot)
        except InputError:
            return _since(product, shard, "earlier snapshots are not kept")
        if not _holds(files, manifest, row.partition, name, known):
            return _since(product, shard, "the one before has no such product")
        if shard is product and any(one.file and one.file.path == row.shard for one in manifest.shards.entries):
            shard = product = _appearance(publication, manifest)
        else:
            product = _appearance(publication, manifest)
    return _since(product, shard, "it is the first")


def _since(product: Appearance | None, shard: Appearance | None, before: str) -> Since | None:
    return None if product is None or shard is None else Since(product, shard, before)


def _appearance(publication: Publication, manifest: Manifest) -> Appearance:
    return Appearance(publication.number, publication.published_at, publication.snapshot, manifest.run)


def _holds(files: CheckedFiles, manifest: Manifest, partition: str, name: str, known: dict[str, bool]) -> bool:
    """Whether a snapshot has the id: its partition by now is looked at first, and no file of ids twice."""
    for entry in sorted(manifest.partitions, key=lambda one: one.name != partition):
        path = entry.index.files["ids"].path
        if path not in known:
            known[path] = position_of(files, entry, name) is not None
        if known[path]:
            return True
    return False
