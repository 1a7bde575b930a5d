"""All that is known of an id: its row or why it has none, where that came from, and its place for a query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from encoders.names import clean_id
from foundation.errors import InputError
from lookup.near_ids import NearIds
from lookup.store.checked_files import CheckedFiles
from lookup.store.manifest import Manifest, PartitionEntry, Provenance
from lookup.store.store import Store
from pipeline.explain.history import Since, since_when
from pipeline.explain.product import IndexedRow, RejectedRow, indexed_row, rejected_rows
from pipeline.explain.ranking import Asked, Rank, rank_of


@dataclass(frozen=True)
class IndexFacts:
    """The index of a partition in short."""

    rows: int
    type: str
    nprobe: int  # 0: exact
    k: int
    recall: float


@dataclass(frozen=True)
class Explanation:
    """Why a product is, or is not, found in a snapshot."""

    id: str
    snapshot: str
    outcome: Literal["indexed", "rejected", "absent"]
    row: IndexedRow | None
    rejected: tuple[RejectedRow, ...]  # also beside a row: duplicates
    near: tuple[str, ...]  # ids that may have been meant, of one that is absent
    catalog: str  # its path, as the config had it
    provenance: Provenance | None  # of the partition; None: no row, or of an earlier version
    index: IndexFacts | None
    since: Since | None
    rank: Rank | None  # for the query, if there was one


def explain(path: str, name: str, asked: Asked | None) -> Explanation:
    """Look an id up in the published snapshot of the store at `path`, and compare it with what is `asked`. InputError
    where there is no such store, or the query cannot be asked.
    """
    store = Store.open(path)
    snapshot, manifest = store.published()
    cleaned = clean_id(name)
    if not cleaned:
        raise InputError("the id of a product", repr(name), "give one, as hits show it")
    files, near = CheckedFiles(store), NearIds(cleaned)
    row = indexed_row(files, manifest, cleaned, near)
    rejected = tuple(rejected_rows(files, manifest, cleaned, near))
    entry = _entry(manifest, row)
    return Explanation(
        id=cleaned,
        snapshot=snapshot,
        outcome="indexed" if row else "rejected" if rejected else "absent",
        row=row,
        rejected=rejected,
        near=() if row or rejected else tuple(near.nearest()),
        catalog=manifest.catalog.path,
        provenance=None if entry is None else entry.provenance,
        index=None if entry is None else _facts(entry),
        since=since_when(store, files, row, cleaned) if row else None,
        rank=rank_of(store, manifest, row, cleaned, asked) if row and asked else None,
    )


def _entry(manifest: Manifest, row: IndexedRow | None) -> PartitionEntry | None:
    return next((one for one in manifest.partitions if row and one.name == row.partition), None)


def _facts(entry: PartitionEntry) -> IndexFacts:
    index = entry.index
    return IndexFacts(entry.rows, index.type, index.nprobe, index.k, index.recall)
