"""Vectors that earlier shards have: what a run offers its workers, so that no text and no photo is encoded twice.

The shards are those of the snapshot before, and those of runs since that published nothing. The driver lists them, and
writes a table of fingerprints for each tower (fingerprint_table.py), beside one another in a folder of the store;
workers get its name. Content decides: a product that moved, or whose id, price or category changed, has the vectors of
its text and of its photos still. It is a cache: nothing in it is believed unless the shard that it names is whole.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from foundation.arrays import Mask
from foundation.errors import IntegrityError
from foundation.liveness import beat
from foundation.machine import machine_fault
from foundation.reasons import Reason
from index_builders.rows.shards import read_shard, shard_metadata
from lookup.lru import Recent
from lookup.store.fields import FileRef, NamedRecord, Record
from lookup.store.records import lost_record, read_record, write_record
from lookup.store.shard_record import ShardRecord
from lookup.store.shards import ShardEntry
from lookup.store.store import Store
from pipeline.catalog.stage_columns import (
    DEGRADED,
    FINGERPRINT,
    ID,
    IMAGE_VECTOR,
    PHOTO_FINGERPRINT,
    PHOTOS_LOST,
    TEXT_FINGERPRINT,
    TEXT_VECTOR,
)
from pipeline.config.encoding import photo_limits
from pipeline.config.sections import Embedding
from pipeline.embed.earlier.fingerprint_table import FingerprintTable, Places, TableWriter
from pipeline.embed.earlier.scattered_rows import ScatteredRows, ShardVectors
from pipeline.embed.fingerprints import text_fingerprints
from pipeline.embed.vectors import Halves, halves_of

FINGERPRINTS = {TEXT_VECTOR: TEXT_FINGERPRINT, IMAGE_VECTOR: PHOTO_FINGERPRINT}
IDS = "ids"  # the table of ids, as they are digested, of all shards
# Why a vector may not be copied, though some shard's row has the fingerprint: by number in a table of such ones.
TRIED_AGAIN, ENCODER_CHANGED, LIMITS_CHANGED, NOT_KEPT = "tried_again", "encoder_changed", "limits_changed", "not_kept"
WHY_NOT = (TRIED_AGAIN, ENCODER_CHANGED, LIMITS_CHANGED, NOT_KEPT)
_KEPT_BYTES = 64_000_000  # of columns of vectors in the memory of a process, beside one that is larger


class EarlierShard(Record):
    """A shard of before: `inputs` are what it was made of, see fingerprints.py; a file of None: all were rejected."""

    name: str
    inputs: str
    file: FileRef | None


class EarlierShards(NamedRecord):
    """What a run offers: shards, by which the tables number them, and the tables. Its name is its path."""

    shards: tuple[EarlierShard, ...]
    # by column of vectors, of the fingerprints of what may be copied; by `not_copied` of it, of the others; and IDS
    tables: dict[str, FileRef]


@dataclass(frozen=True)
class Offer:
    """What `offer_vectors` wrote: the file that names it all, how much there is, and files that are damaged."""

    path: str
    shards: int
    counts: dict[str, int]  # of vectors, by tower
    damaged: frozenset[str]


NO_OFFER = Offer("", 0, {}, frozenset())  # of a run that encodes nothing


def offer_vectors(
    store: Store,
    embedding: Embedding,
    folder: str,
    known: Sequence[ShardEntry | ShardRecord],
    limits: dict[str, Any] | None,
) -> Offer:
    """Write what the shards of `known` have for `embedding` into `folder` of the store, for EarlierVectors.

    `limits` are those of photos that shards of earlier versions, which do not say them, were made with.
    """
    shards = [EarlierShard(name=one.name, inputs=one.inputs or one.name, file=one.file) for one in known]
    tables = dict[str, FileRef]()
    with store.scratch() as scratch:
        written = write_tables(store, embedding, [one.file for one in shards], limits, scratch)
        for name, rows in (written.rows | written.why).items():
            tables[name] = store.put(scratch / name, f"{folder}/{name}.table", rows, at_hand=True)
    path = f"{folder}/earlier.json"
    write_record(store, path, EarlierShards(name=path, shards=tuple(shards), tables=tables))
    counts = {f"{column}s": rows for column, rows in written.rows.items()}
    return Offer(path, len(shards), counts, written.damaged)


class Tables(NamedTuple):
    """Tables of fingerprints, each in the file that its column of vectors names: how many each has, and in `why` those
    that say why others are encoded. Beside them, files of shards that are damaged, and fingerprints, (n,) binary(16),
    of photos that are there and gave no vector.
    """

    rows: dict[str, int]
    why: dict[str, int]
    damaged: frozenset[str]
    failed: pa.Array


def write_tables(
    store: Store,
    embedding: Embedding,
    files: Sequence[FileRef | None],
    limits: dict[str, Any] | None,
    folder: Path,
) -> Tables:
    """Write a table into `folder` for each tower whose vectors shards have for `embedding`; `limits` as
    `offer_vectors` takes them.
    """
    wanted = _wanted(embedding)
    damaged, failed = set[str](), [pa.array([], FINGERPRINT)]
    rows = sum(file.rows for file in files if file is not None)
    names = [*wanted, *map(not_copied, wanted), IDS] if wanted else []
    writers = {name: TableWriter(folder / name, rows, folder) for name in names}
    for number, file in enumerate(files if wanted else ()):
        if file is None:
            continue
        found = _fingerprints(store, file, wanted, limits)
        if found is None:
            damaged.add(file.path)
            continue
        for column, fingerprints in found.copied.items():
            writers[column].add(number, fingerprints)
        for column, why, fingerprints in found.others:
            writers[not_copied(column)].add(WHY_NOT.index(why), fingerprints)
        writers[IDS].add(number, found.ids)
        failed.append(found.failed)
        beat()
    counts = {name: writer.close() for name, writer in writers.items()}
    copied = {column: counts[column] for column in wanted}
    others = {name: count for name, count in counts.items() if name not in wanted}
    return Tables(copied, others, frozenset(damaged), pa.concat_arrays(failed))


def not_copied(column: str) -> str:
    """The table of the fingerprints whose vectors of `column` may not be copied."""
    return f"{column}.not_copied"


def _wanted(embedding: Embedding) -> dict[str, dict[str, Any]]:
    """Column of vectors -> what a shard must say of itself for its vectors to be those that this run would make."""
    if embedding.fusion.reads_states:  # no shard has these
        return {}
    text, image = embedding.encoders.text, embedding.encoders.image
    wanted: dict[str, dict[str, Any]] = {}
    if text is not None:
        wanted[TEXT_VECTOR] = {"text": text.identity, "text_dim": text.dim}
    if image is not None:
        limits = asdict(photo_limits(embedding.catalog))
        wanted[IMAGE_VECTOR] = {"image": image.identity, "image_dim": image.dim, "photo_limits": limits}
    return wanted


class _Fingerprints(NamedTuple):
    """Of a shard's rows: by column those of vectors that may be copied, null where one may not; the others, as (column,
    why, fingerprints); those of photos that were there and of which none could be encoded; and those of ids.
    """

    copied: dict[str, pa.Array]
    others: list[tuple[str, str, pa.Array]]
    failed: pa.Array
    ids: pa.Array


def _fingerprints(
    store: Store, file: FileRef, wanted: dict[str, dict[str, Any]], limits: dict[str, Any] | None
) -> _Fingerprints | None:
    """What a shard has; None for a shard that cannot be read: its digest is not checked here, and Parquet's footers
    have no checksum.
    """
    names = [ID, *(FINGERPRINTS[column] for column in wanted)]
    try:
        with store.reading(file) as opened:
            known = {"photo_limits": limits, **shard_metadata(opened)}
            table = read_shard(opened, [*names, PHOTOS_LOST, DEGRADED])
    except IntegrityError:
        return None
    except (ValueError, KeyError, TypeError, pa.ArrowException) as err:  # of a footer with other bits
        fault = machine_fault(err)
        if fault is not None:
            raise fault from err
        return None
    why = {column: _why_not(known, facts) for column, facts in wanted.items()}
    needed = [ID, *(FINGERPRINTS[column] for column in wanted if why[column] is None)]
    if any(name not in table.column_names for name in needed):
        return None
    prints = {
        column: table.column(name).combine_chunks()
        for column, name in FINGERPRINTS.items()
        if column in wanted and name in table.column_names
    }
    found = {column: prints[column] for column in wanted if why[column] is None}
    others = [(column, said, prints[column]) for column, said in why.items() if said and column in prints]
    ids, failed = text_fingerprints(table.column(ID)), pa.array([], FINGERPRINT)
    if PHOTOS_LOST not in table.column_names:
        return _Fingerprints(found, others, failed, ids)
    lost = pc.greater(table.column(PHOTOS_LOST), 0).combine_chunks()
    reasons = table.column(DEGRADED).combine_chunks()
    if IMAGE_VECTOR in found:
        there = pc.fill_null(pc.not_equal(reasons, Reason.IMAGE_NOT_FOUND.value), False)
        failed = found[IMAGE_VECTOR].filter(pc.and_(lost, there)).drop_null()
    # who is degraded and lost no photo has no vector of the text
    short = {IMAGE_VECTOR: lost, TEXT_VECTOR: pc.and_(pc.is_valid(reasons), pc.invert(lost))}
    for column, fingerprints in list(found.items()):
        others.append((column, TRIED_AGAIN, pc.if_else(short[column], fingerprints, None)))
        found[column] = pc.if_else(short[column], None, fingerprints)
    return _Fingerprints(found, others, failed, ids)


def _why_not(known: dict[str, Any], facts: dict[str, Any]) -> str | None:
    """Why vectors of a shard that says `known` of itself are not those that are wanted; None where they are."""
    differing = [name for name, value in facts.items() if known.get(name) != value]
    if not differing:
        return None
    if differing == ["photo_limits"]:
        return LIMITS_CHANGED
    return NOT_KEPT if differing[0].endswith("_dim") and known.get(differing[0]) is None else ENCODER_CHANGED


class EarlierVectors:
    """What a run offers, as a worker uses it. Threads may share it."""

    def __init__(self, store: Store, path: str) -> None:
        record = read_record(store, path, EarlierShards)
        if record is None:
            raise lost_record("what earlier shards there are", path, "run")
        self._store, self._shards = store, record.shards
        self._names = {shard.inputs: shard.name for shard in record.shards}
        self._tables = {column: FingerprintTable(store.verified(file)) for column, file in record.tables.items()}
        self._columns: Recent[tuple[int, str], ShardVectors] = Recent(_KEPT_BYTES, lambda one: one.vectors.nbytes)
        self._scratch = store.backend.local(path).parent
        self._scattered: dict[str, ScatteredRows] = {}
        self._lock = threading.Lock()  # of that, and of the next one
        self._whole: dict[int, Path | None] = {}  # shards whose digest was checked; None: damaged

    def shard_of(self, inputs: str) -> str | None:
        """The name of the shard that was made of `inputs`; of several, of later tries, the last one."""
        return self._names.get(inputs)

    def file_of(self, name: str) -> str:
        """The path in the store of the shard of this name; of one that has none, of its record."""
        file = next((shard.file for shard in self._shards if shard.name == name), None)
        return f"shards/{name}.json" if file is None else file.path

    @property
    def none(self) -> bool:
        """Whether there is no earlier shard."""
        return not self._shards

    def find(self, name: str, fingerprints: pa.Array) -> Places | None:
        """Where the vectors of a column lie, or what another table has; None where there is no such table: none of that
        tower are offered.
        """
        table = self._tables.get(name)
        return None if table is None else table.find(fingerprints)

    def file(self, shard: int) -> str:
        """The path in the store of a shard that `find` gave."""
        file = self._shards[shard].file
        return "" if file is None else file.path

    def vectors(self, column: str, shard: int) -> ShardVectors | None:
        """`column` of all rows of a shard; None where the shard is not as it was written."""
        path = self._checked(shard)
        if path is None:
            return None
        try:
            return self._columns.get((shard, column), lambda: _read(path, column))
        except IntegrityError:
            with self._lock:
                self._whole[shard] = None
            return None

    def is_whole(self, shard: int) -> bool:
        """Whether a shard that `find` gave is as it was written."""
        return self._checked(shard) is not None

    def scattered(
        self, column: str, places: Places, fingerprints: pa.Array, dim: int
    ) -> tuple[Halves, Mask, list[int]]:
        """The vectors of `column` at (m,) places in many shards, see ScatteredRows.read."""
        with self._lock:
            if column not in self._scattered:
                lengths = [0 if shard.file is None else shard.file.rows for shard in self._shards]
                self._scattered[column] = ScatteredRows(self._scratch / f"{column}.rows", lengths, dim)
        return self._scattered[column].read(*places, fingerprints, lambda shard: self.vectors(column, shard))

    def _checked(self, shard: int) -> Path | None:
        """The path of a shard whose digest was checked, once: readers do not see one that lies elsewhere."""
        with self._lock:
            if shard not in self._whole:
                file = self._shards[shard].file
                try:
                    self._whole[shard] = None if file is None else self._store.verified(file)
                except IntegrityError:
                    self._whole[shard] = None
            return self._whole[shard]


def _read(path: Path, column: str) -> ShardVectors:
    table = read_shard(path, [FINGERPRINTS[column], column])
    vectors = table.column(column)
    return ShardVectors(
        table.column(FINGERPRINTS[column]).combine_chunks(), *halves_of(vectors, vectors.type.byte_width // 2)
    )


@lru_cache(maxsize=2)  # of this run, and of the one before in a process that stays
def earlier_vectors(root: str, path: str) -> EarlierVectors:
    """What the run offers in file `path` of the store at `root`: opened once per process."""
    return EarlierVectors(Store.at(root), path)
