"""Fingerprints: what decides that a row's vectors, or a whole shard, need not be made again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3
from xxhash import xxh3_128_digest

from encoders.photos.decode import PhotoError
from foundation.liveness import beat
from pipeline.catalog import stage_columns as col
from pipeline.catalog.stage_columns import row_function, with_columns
from pipeline.config.encoding import photo_limits
from pipeline.config.sections import CatalogConfig
from pipeline.photos.photos import content_stamp, expect, fetch, photo_facts, stat_stamp
from pipeline.photos.root import Root

# (path, version) of a photo -> the parts of its identity, and its stamp: see pipeline/photos/photos.py
Identify = Callable[[str, str | None], tuple[tuple[bytes, ...], str | None]]


@row_function(
    needs=(col.TEXT, col.FIELDS, col.PHOTOS, col.VERSION),
    adds=(col.TEXT_FINGERPRINT, col.PHOTO_FINGERPRINT, col.STAMPS),
)
def fingerprint_rows(table: pa.Table, settings: CatalogConfig, root: Root) -> pa.Table:
    """`table` with the fingerprints of texts and photos, and the stamps of these."""
    photos, stamps = stamped_fingerprints(table.column(col.PHOTOS), table.column(col.VERSION), settings, root)
    found = {
        col.TEXT_FINGERPRINT: _of_fields(table.column(col.TEXT), table.column(col.FIELDS)),
        col.PHOTO_FINGERPRINT: photos,
        col.STAMPS: stamps,
    }
    return with_columns(table, **found)


@row_function(needs=(col.PHOTOS, col.STAMPS), adds=(col.PHOTOS,), drops=(col.STAMPS,))
def stamp_photos(table: pa.Table) -> pa.Table:
    """`table` with the stamp of each photo in it, as `fetch` reads it."""
    lists = table.column(col.PHOTOS).combine_chunks()
    each, flat = lists.flatten(), table.column(col.STAMPS).combine_chunks().flatten()
    struct = pa.StructArray.from_arrays([*each.flatten(), flat], fields=[*col.STAMPED_PHOTO])
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    stamped = pa.ListArray.from_arrays(offsets, struct, mask=lists.is_null())
    return with_columns(table, **{col.PHOTOS: stamped}).drop_columns([col.STAMPS])


def text_fingerprints(texts: pa.Array) -> pa.Array:
    """16 bytes for each text; null where there is none."""
    raw = texts.cast(pa.binary()).to_pylist()
    return pa.array([None if text is None else xxh3_128_digest(text) for text in raw], col.FINGERPRINT)


def _of_fields(texts: pa.ChunkedArray, fields: pa.ChunkedArray) -> pa.Array:
    """16 bytes for each text, of which text stands in which of the `fields` too, where there are such."""
    whole = text_fingerprints(texts)
    if not fields.type.num_fields:
        return whole
    hashed = [text_fingerprints(pc.struct_field(fields, [at])).to_pylist() for at in range(fields.type.num_fields)]
    nothing = bytes(col.FINGERPRINT.byte_width)
    found = [
        None if one is None else xxh3_128_digest(b"".join(part or nothing for part in (one, *parts)))
        for one, *parts in zip(whole.to_pylist(), *hashed, strict=True)
    ]
    return pa.array(found, col.FINGERPRINT)


def photo_fingerprints(photos: pa.Array, versions: pa.Array, settings: CatalogConfig, root: Root) -> pa.Array:
    """16 bytes for the identity of each row's photos, as `catalog.image_identity` defines it; null where there is none.

    Bytes in the column are always their own identity. A path is identified by size and mtime or etag (`stat`), by its
    content (`bytes`), or by the row's version column (`version`). A photo that cannot be found has an identity too.
    """
    found, _ = stamped_fingerprints(photos, versions, settings, root)
    return found


def stamped_fingerprints(
    photos: pa.Array, versions: pa.Array, settings: CatalogConfig, root: Root
) -> tuple[pa.Array, pa.Array]:
    """The same, and lists of the stamps of each row's photos; null where an identity is no matter of files."""
    if photos.null_count == len(photos):
        return pa.nulls(len(photos), col.FINGERPRINT), pa.nulls(len(photos), pa.list_(pa.string()))
    identify = _identify(settings, root)
    if settings.image_identity != "version":
        expect(pc.struct_field(pc.list_flatten(photos), "path"), root)
    found: list[tuple[bytes, list[str | None]] | tuple[None, None]] = [
        (None, None) if row is None else _photos_identity(row, version, identify)
        for row, version in zip(photos.to_pylist(), versions.to_pylist(), strict=True)
    ]
    digests = [None if identity is None else xxh3_128_digest(identity) for identity, _ in found]
    return pa.array(digests, col.FINGERPRINT), pa.array([stamps for _, stamps in found], pa.list_(pa.string()))


def shard_name(encoding: str, batch: pa.Table) -> str:
    """32 hex digits of the rows that a shard is made of, in order, and of how they are encoded."""
    hasher = blake3(encoding.encode())
    for name in batch.column_names:
        hasher.update(f"{name}:{batch.schema.field(name).type};".encode())
        _add_column(hasher, batch.column(name).combine_chunks())
    return hasher.hexdigest()[:32]


def _photos_identity(
    row: Sequence[dict[str, Any]], version: str | None, identify: Identify
) -> tuple[bytes, list[str | None]]:
    """The identity of a row's photos, and their stamps."""
    hasher, stamps = blake3(), list[str | None]()
    beat()
    for photo in row:
        own = photo["bytes"]
        parts, stamp = ((b"bytes", own), None) if own is not None else identify(photo["path"], version)
        stamps.append(stamp)
        for part in parts:
            hasher.update(len(part).to_bytes(8, "little") + part)
    return hasher.digest(), stamps


def _identify(settings: CatalogConfig, root: Root) -> Identify:
    """What tells that the photo at a path changed. One that cannot be had is told by its path and the reason."""
    limits = photo_limits(settings)

    def by_version(path: str, version: str | None) -> tuple[tuple[bytes, ...], str | None]:
        if not version:  # one that says nothing would keep the old vector of a new photo for ever
            return by_stamp(path, version)
        return (b"version", path.encode(), version.encode()), None

    def by_content(path: str, version: str | None) -> tuple[tuple[bytes, ...], str]:
        try:
            raw = fetch({"bytes": None, "path": path}, root, limits)
            return (b"bytes", raw), content_stamp(raw)
        except PhotoError as err:
            return (b"absent", path.encode(), err.code.encode()), content_stamp(err)

    def by_stamp(path: str, version: str | None) -> tuple[tuple[bytes, ...], str]:
        facts = photo_facts(path, root)
        parts = (b"absent", path.encode()) if facts is None else (b"stat", path.encode(), facts.encode())
        return parts, stat_stamp(facts)

    return {"version": by_version, "bytes": by_content, "stat": by_stamp}[settings.image_identity]


def _add_column(hasher: blake3, array: pa.Array) -> None:
    """Add a column's values, not its buffers: equal values give equal digests whatever the slicing and padding."""
    kind = array.type
    hasher.update(len(array).to_bytes(8, "little"))
    hasher.update(np.packbits(pc.is_valid(array).to_numpy(zero_copy_only=False)).tobytes())
    if pa.types.is_struct(kind):
        for child in array.flatten():
            _add_column(hasher, child)
        return
    values = array.drop_null()
    if pa.types.is_list(kind):
        hasher.update(pc.list_value_length(values).to_numpy(zero_copy_only=False).astype(np.int32).tobytes())
        _add_column(hasher, values.flatten())
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        hasher.update(pc.binary_length(values).to_numpy(zero_copy_only=False).tobytes())
        offset, end = _span(values)
        hasher.update(memoryview(values.buffers()[2] or b"")[offset:end])
    elif pa.types.is_fixed_size_binary(kind):
        hasher.update(b"".join(values.to_pylist()))
    elif pa.types.is_decimal(kind):
        width, begin = kind.byte_width, values.offset * kind.byte_width  # numpy has none: it would hold addresses
        hasher.update(memoryview(values.buffers()[1] or b"")[begin : begin + width * len(values)])
    else:
        hasher.update(values.to_numpy(zero_copy_only=False).tobytes())


def _span(values: pa.Array) -> tuple[int, int]:
    """First byte, and one past the last, of a string array's characters in its buffer."""
    if not len(values):
        return 0, 0
    offsets = np.frombuffer(values.buffers()[1], dtype=np.int32)
    return int(offsets[values.offset]), int(offsets[values.offset + len(values)])
