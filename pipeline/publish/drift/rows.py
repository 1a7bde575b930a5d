"""The rows of two snapshots that may differ, read from their shards: what both name the same cancels out unread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_64_intdigest

from foundation.arrays import Mask
from foundation.errors import IntegrityError
from foundation.liveness import beat
from foundation.machine import machine_fault
from index_builders.rows.shards import read_segments
from lookup.filters.values import Sort, sort_of
from lookup.store.shards import Located, Shards
from lookup.store.store import Store
from pipeline.catalog.names import id_hashes
from pipeline.catalog.stage_columns import PHOTO_FINGERPRINT, TEXT_FINGERPRINT
from pipeline.publish.drift.compare import NOTHING, Column, Hashes, Prints, Rows

SAMPLED = 1 << 14  # rows of a partition whose attributes are compared, about: shares are right to 0.4 of a hundred


class Side:
    """A snapshot of two, and which of its segments the other does not name: (segments,) by row of the table."""

    def __init__(self, shards: Shards, differing: Mask) -> None:
        self.shards, self._differing = shards, differing
        self._rows = shards.segments.numbers("rows")

    def counts(self, partition: str) -> tuple[int, int]:
        """(rows that may differ, all rows) of a partition."""
        at = self.shards.segments.partitions.get(partition, slice(0, 0))
        rows = self._rows[at]
        return int(rows[self._differing[at]].sum(dtype=np.int64)), int(rows.sum(dtype=np.int64))

    def segments(self, partitions: Sequence[str]) -> Iterator[tuple[str, Located]]:
        """(partition, segment) of those that may differ; those of one shard are beside one another."""
        where = self.shards.segments.partitions
        places = [
            (at.start + int(one), name)
            for name in partitions
            if (at := where.get(name)) is not None
            for one in np.flatnonzero(self._differing[at])
        ]
        numbers = self.shards.segments.numbers("shard")
        for number, name in sorted(places, key=lambda one: (numbers[one[0]], one[0])):
            segment = self.shards.at(number)
            if segment is not None:
                yield name, segment


def sides(before: Shards, now: Shards) -> tuple[Side, Side]:
    """Both snapshots. A segment is the same where it is the same row group of the same bytes, of the same partition."""
    files: dict[str, int] = {}
    names: dict[str, int] = {}
    keys = [_keys(shards, files, names) for shards in (before, now)]
    there = [shards.segments.numbers("rows") > 0 for shards in (before, now)]
    alike = np.intersect1d(keys[0][there[0]], keys[1][there[1]])
    masks = [rows & ~np.isin(key, alike) for rows, key in zip(there, keys, strict=True)]
    return Side(before, masks[0]), Side(now, masks[1])


def _keys(shards: Shards, files: dict[str, int], names: dict[str, int]) -> npt.NDArray[np.int64]:
    """(segments,) what each is: its file, by its bytes, the row group, and the partition; numbered in `files`, `names`.

    Shards do not say of which partition their rows are: all of one may have moved to another. There is room for 8
    million files, and for a million row groups and partitions.
    """
    numbers = [files.setdefault(one.file.blake3 if one.file else "", len(files)) for one in shards.entries]
    table = shards.segments
    keys = np.array([*numbers, 0], np.int64)[table.numbers("shard")] << 40
    keys += (table.numbers("row_group").astype(np.int64) + 1) << 20
    for name, at in table.partitions.items():
        keys[at] += names.setdefault(name, len(names))
    return keys


@dataclass
class Reading:
    """What was read of a snapshot: rows by partition, files that could not be, and whether all had fingerprints."""

    rows: dict[str, Rows]
    damaged: set[str] = field(default_factory=set)
    fingerprinted: bool = True


def read_rows(store: Store, side: Side, every: Mapping[str, int], tolerant: bool) -> Reading:
    """The rows that may differ of the partitions in `every`, and the attributes of one in so many of them, by the hash
    of its id. A file that is damaged is left out where that is to be tolerated.
    """
    parts: dict[str, list[Rows]] = {name: [] for name in every}
    found = Reading({})
    for name, table, damaged in _tables(store, side, list(every), ("id", *_PRINTS, "attributes"), tolerant):
        if table is None:
            found.damaged.add(damaged)
        else:
            found.fingerprinted &= set(_PRINTS) <= set(table.column_names)
            parts[name].append(_part(table, every[name]))
    found.rows = {name: _joined(several) for name, several in parts.items()}
    return found


def read_vectors(store: Store, side: Side, partition: str, ids: Hashes) -> tuple[npt.NDArray[np.float32], Hashes]:
    """(m, d) float32 and (m,) uint64: of the rows with sorted `ids`, those of a partition that may differ, the vectors
    of photos, zeros where there is none, and their hashes, 0 there. d is 0 where shards have no such vectors.
    """
    vectors, hashes = np.zeros((len(ids), 0), np.float32), np.zeros(len(ids), np.uint64)
    for _, table, _ in _tables(store, side, [partition], ("id", "image_vector"), tolerant=True):
        if table is None or "image_vector" not in table.column_names:
            continue
        column = table.column("image_vector").combine_chunks()
        if not vectors.shape[1]:
            vectors = np.zeros((len(ids), column.type.byte_width // 2), np.float32)
        own = id_hashes(table.column("id").combine_chunks())
        wanted = np.isin(own, ids) & column.is_valid().to_numpy(zero_copy_only=False)
        raw = column.filter(pa.array(wanted)).to_pylist()
        at = np.searchsorted(ids, own[wanted])
        if raw:
            vectors[at] = np.frombuffer(b"".join(raw), "<f2").reshape(len(raw), -1)
            hashes[at] = [xxh3_64_intdigest(one) or 1 for one in raw]
    return vectors, hashes


# --- inside ---

_PRINTS = (TEXT_FINGERPRINT, PHOTO_FINGERPRINT)


def _tables(
    store: Store, side: Side, partitions: Sequence[str], columns: Sequence[str], tolerant: bool
) -> Iterator[tuple[str, pa.Table | None, str]]:
    """(partition, `columns` of a segment, its file), None for a file that is damaged, once."""
    for path, several in groupby(side.segments(partitions), key=lambda one: one[1].file.path):
        named = list(several)
        if tolerant and not store.stands(named[0][1].file):
            yield named[0][0], None, path
            continue
        try:
            with store.reading(named[0][1].file) as opened:
                groups = [segment.row_group for _, segment in named]
                for (name, _), table in zip(named, read_segments(opened, groups, columns), strict=True):
                    beat()
                    yield name, table, path
        except (
            IntegrityError,
            ValueError,
            KeyError,
            TypeError,
            pa.ArrowException,
        ) as err:  # of footers with other bits
            if not tolerant:
                raise
            if fault := machine_fault(err):
                raise fault from err
            yield named[0][0], None, path


def _part(table: pa.Table, every: int) -> Rows:
    ids = id_hashes(table.column("id").combine_chunks())
    prints = [_prints(table, name) for name in _PRINTS]
    sampled = np.flatnonzero(ids % np.uint64(every) == 0)
    columns: dict[str, Column] = {}
    if "attributes" in table.column_names:
        structs = table.column("attributes").combine_chunks().take(pa.array(sampled))
        for at, one in enumerate(structs.type):
            columns[one.name] = _column(pc.struct_field(structs, at))
    return Rows(ids, prints[0], prints[1], sampled, columns)


def _prints(table: pa.Table, name: str) -> Prints:
    """Four bytes of each fingerprint: of ten million products that changed 0.002 look as if they had not."""
    if name not in table.column_names:
        return np.zeros(len(table), np.uint32)
    column = table.column(name).combine_chunks()
    raw = np.frombuffer(column.buffers()[1] or b"", np.uint32, 4 * len(column), 16 * column.offset)
    there = column.is_valid().to_numpy(zero_copy_only=False)
    return np.where(there, np.maximum(raw.reshape(len(column), 4)[:, 0], 1), 0).astype(np.uint32)


def _column(values: pa.Array) -> Column:
    """An attribute as it is compared. Dates and times move by themselves, and have no distance."""
    sort = sort_of(values.type)
    if sort is Sort.PRICE:
        values = pc.struct_field(values, "amount")
        sort = Sort.NUMBER
    there = values.is_valid().to_numpy(zero_copy_only=False)
    if sort is Sort.NUMBER:
        numbers = pc.fill_null(values.cast(pa.float64(), safe=False), 0.0).to_numpy(zero_copy_only=False)
        return Column(numbers, there & ~np.isnan(numbers))
    if sort in (Sort.TEXT, Sort.BOOLEAN):
        return Column(_codes(values.cast(pa.string())), there)
    return Column(None, there)


def _codes(words: pa.Array) -> Hashes:
    encoded = words.dictionary_encode()
    named = encoded.dictionary.cast(pa.binary()).to_pylist()
    hashes = np.array([xxh3_64_intdigest(one) for one in named] + [0], np.uint64)
    codes: Hashes = hashes[pc.fill_null(encoded.indices, len(named)).to_numpy(zero_copy_only=False)]
    return codes


def _joined(parts: Sequence[Rows]) -> Rows:
    if not parts:
        return Rows(np.empty(0, np.uint64), NOTHING, NOTHING)
    ends = np.cumsum([0, *(len(one.ids) for one in parts)])
    named = set.intersection(*(set(one.columns) for one in parts))
    return Rows(
        ids=np.concatenate([one.ids for one in parts]),
        texts=np.concatenate([one.texts for one in parts]),
        photos=np.concatenate([one.photos for one in parts]),
        sampled=np.concatenate([one.sampled + end for one, end in zip(parts, ends[:-1], strict=True)]),
        columns={name: _chained([one.columns[name] for one in parts]) for name in sorted(named)},
    )


def _chained(columns: Sequence[Column]) -> Column:
    """Segments of one attribute; of two kinds, as where some have no value at all, the kind that has some."""
    there = np.concatenate([one.there for one in columns])
    kinds = {one.values.dtype for one in columns if one.values is not None and one.there.any()}
    if len(kinds) != 1 or any(one.values is None and one.there.any() for one in columns):
        return Column(None, there)
    kind = kinds.pop()
    return Column(
        np.concatenate(
            [
                one.values if one.values is not None and one.values.dtype == kind else np.zeros(len(one.there), kind)
                for one in columns
            ]
        ),
        there,
    )
