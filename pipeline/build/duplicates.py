"""The near-duplicates of each partition: which stand, which have to be found, and their files in the store.

A partition's are found anew when its photos, its group ids or, where vectors count, its index changed, or what is
looked for did. They are named and kept like indexes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from blake3 import blake3

from foundation.errors import InputError
from foundation.identity import identity_of
from foundation.liveness import beat
from index_builders.duplicates.groups import Groups, equal_links, grouped, grouped_by_blocks, sizes_of
from index_builders.duplicates.near import near_links
from index_builders.rows.shards import SegmentRef, blocks
from lookup.index.partition_index import PartitionIndex
from lookup.store.entries.duplicates_record import ANY, DuplicatesRecord, GroupCount
from lookup.store.manifest import Manifest, PartitionEntry
from lookup.store.records import read_record, write_record
from lookup.store.shards import Shards
from lookup.store.store import Store
from pipeline.build.index_files import Made, made_path, pointed_index, put_files, record_path
from pipeline.build.task_files import opened
from pipeline.config.duplicates import DuplicatesConfig
from pipeline.engine.progress import Progress
from pipeline.report.notices import Notice, notice

_FORMAT = 1
_LARGEST = 10  # groups whose sizes are recorded
_ROWS = 1_024  # vectors asked by at a time
_log = logging.getLogger(__name__)


class _Values(NamedTuple):
    """What the rows of a partition are compared by besides vectors: (rows,) each, null where a row has none."""

    photos: pa.ChunkedArray | None
    groups: pa.ChunkedArray | None

    def digest(self) -> list[str | None]:
        """64 hex digits of each."""
        return [None if one is None else _digest(one) for one in self]


def with_duplicates(
    store: Store,
    settings: DuplicatesConfig | None,
    shards: Shards,
    partitions: Sequence[PartitionEntry],
    parent: Manifest | None,
    progress: Progress | None = None,
) -> tuple[list[PartitionEntry], int]:
    """`partitions` of `shards` with their near-duplicates, and of how many these stood; without any where `settings`
    are None.
    """
    if settings is None:
        return list(partitions), 0
    known = {one.name: one.duplicates for one in (parent.partitions if parent else ())}
    found, stood = list[PartitionEntry](), 0
    for number, entry in enumerate(partitions):
        segments = opened(store, shards.located(entry.name))
        values = _values(segments, settings, entry.name)
        inputs = identity_of(
            {
                "format": _FORMAT,
                "near": settings.near,
                "index": entry.index.name if settings.near is not None else None,
                "values": values.digest(),
                "rows": entry.rows,
            }
        )
        record = _standing(store, inputs, known.get(entry.name))
        stood += record is not None
        if record is None:
            record = _find(store, settings, entry, segments, values, inputs)
        write_record(store, made_path(inputs), Made(name=inputs, index=record.name))
        found.append(entry.model_copy(update={"duplicates": record}))
        if progress is not None:
            progress("duplicates", number + 1, len(partitions))
        beat()
    return found, stood


def floods(settings: DuplicatesConfig | None, partitions: Sequence[PartitionEntry]) -> list[Notice]:
    """The groups that are too large to be products: a photo that stands for none, titles of one template."""
    if settings is None:
        return []
    words = {"photo": "one photo", "near": "nearly one vector", "group": f"one {settings.group}"}
    large = [
        (size, f"{size:,} products share {words[kind]} in {entry.name}, such as {one!r}")
        for entry in partitions
        if entry.duplicates is not None
        for kind, count in sorted(entry.duplicates.kinds.items())
        for size, one in count.largest
        if kind != ANY and size > settings.told
    ]
    named = [said for _, said in sorted(large, key=lambda pair: (-pair[0], pair[1]))]
    return notice("flood", f"groups of more than {settings.told} products that count as one:", named)


def own_duplicates(store: Store, name: str) -> DuplicatesRecord | None:
    """The record of that name; None where there is none."""
    return read_record(store, record_path(name), DuplicatesRecord, name)


def _standing(store: Store, inputs: str, parent: DuplicatesRecord | None) -> DuplicatesRecord | None:
    """What was found of `inputs` before, by the parent or by a run that did not end, where its files are whole."""
    if parent is not None and parent.inputs == inputs:
        record: DuplicatesRecord | None = parent
    else:
        name = pointed_index(store, inputs)
        record = None if name is None else own_duplicates(store, name)
    if record is None or record.inputs != inputs or not all(store.stands(file) for file in record.files.values()):
        return None
    if own_duplicates(store, record.name) is None:
        write_record(store, record_path(record.name), record)
    return record


def _find(
    store: Store,
    settings: DuplicatesConfig,
    entry: PartitionEntry,
    segments: Sequence[SegmentRef],
    values: _Values,
    inputs: str,
) -> DuplicatesRecord:
    """Find the groups of a partition, their record last."""
    began = time.perf_counter()
    kinds = dict(_groups(store, settings, entry, segments, values))
    each = np.arange(entry.rows, dtype=np.int64)
    kinds[ANY] = grouped_by_blocks(entry.rows, [(each, at.astype(np.int64)) for at in kinds.values()])
    index = PartitionIndex.open({role: store.verified(file) for role, file in entry.index.files.items()}, entry.index)
    with store.scratch() as folder:
        counts = {kind: _written(folder / f"{kind}.npy", groups, index) for kind, groups in kinds.items()}
        name, files = put_files(store, inputs, folder, {kind: f"{kind}.npy" for kind in kinds}, entry.rows)
    record = DuplicatesRecord(
        name=name,
        inputs=inputs,
        rows=entry.rows,
        kinds=counts,
        files=files,
        build_seconds=time.perf_counter() - began,
    )
    standing = own_duplicates(store, name)
    if standing is None or (standing.inputs, standing.files) != (inputs, files):
        write_record(store, record_path(name), record)
    return record


def _groups(
    store: Store,
    settings: DuplicatesConfig,
    entry: PartitionEntry,
    segments: Sequence[SegmentRef],
    values: _Values,
) -> Iterator[tuple[str, Groups]]:
    """Kind -> the groups of its rows."""
    if values.photos is not None:
        yield "photo", grouped(entry.rows, *equal_links(values.photos))
    if values.groups is not None:
        yield "group", grouped(entry.rows, *equal_links(values.groups))
    if settings.near is not None:
        paths = {role: store.verified(file) for role, file in entry.index.files.items()}
        index = PartitionIndex.open(paths, entry.index)
        yield "near", grouped_by_blocks(entry.rows, near_links(index, partial(blocks, segments, _ROWS), settings.near))


def _written(path: Path, groups: Groups, index: PartitionIndex) -> GroupCount:
    """Write the file of a kind; how many groups there are."""
    sizes = sizes_of(groups)
    np.save(path, np.stack([groups, sizes]), allow_pickle=False)
    firsts = np.flatnonzero((groups == np.arange(len(groups))) & (sizes > 1))
    largest = firsts[np.lexsort((firsts, -sizes[firsts]))][:_LARGEST]
    names = index.ids(largest)
    return GroupCount(
        groups=len(firsts),
        rows=int(sizes[firsts].sum(dtype=np.int64)),
        largest=tuple((int(sizes[at]), name) for at, name in zip(largest.tolist(), names, strict=True)),
    )


def _values(segments: Sequence[SegmentRef], settings: DuplicatesConfig, partition: str) -> _Values:
    """What a partition's rows are compared by. A photo that was lost, or that some are lost of, makes no two alike."""
    photos, groups = list[pa.Array](), list[pa.Array]()
    for ref in segments:
        with pq.ParquetFile(ref.path, page_checksum_verification=True) as file:
            if settings.photo:
                table = file.read_row_group(ref.row_group, columns=["photo_fingerprint", "photos_lost"])
                lost = pc.greater(pc.fill_null(table["photos_lost"], 0), 0)
                photos += pc.if_else(lost, pa.scalar(None, pa.binary(16)), table["photo_fingerprint"]).chunks
            if settings.group is not None:
                # `a` also names `a.b`: the field is taken by name
                attributes = file.read_row_group(ref.row_group, columns=[f"attributes.{settings.group}"])["attributes"]
                groups.append(_group_ids(pc.struct_field(attributes.combine_chunks(), settings.group), partition))
    return _Values(
        pa.chunked_array(photos, pa.binary(16)) if settings.photo else None,
        pa.chunked_array(groups, pa.string()) if settings.group is not None else None,
    )


def _group_ids(values: pa.Array, partition: str) -> pa.Array:
    """Group ids as text, null where there is none; InputError where they have no text of one meaning."""
    if pa.types.is_nested(values.type):
        raise InputError(
            "duplicates.group to name an attribute of text or whole numbers",
            f"{values.type} in {partition}",
            "name another, or set duplicates.group=null",
        )
    texts = values.cast(pa.string())
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def _digest(values: pa.ChunkedArray) -> str:
    """64 hex digits of which rows have a value, and of these."""
    digest = blake3(len(values).to_bytes(8, "little"))
    for chunk in values.chunks:
        digest.update(np.packbits(pc.is_valid(chunk).to_numpy(zero_copy_only=False)).tobytes())
        raw = chunk.drop_null().cast(pa.binary())
        digest.update(pc.binary_length(raw).to_numpy(zero_copy_only=False).astype("<i8").tobytes())
        digest.update(b"".join(raw.to_pylist()))
    return digest.hexdigest()
