"""Rows as they are compared: a few numbers for each, whatever their texts, photos and attributes hold.

Two rows are of one product when their ids' hashes are equal: 8 bytes, of which chance makes two ids of ten million
equal once in 300,000 snapshots. What stands for a text or for photos is the first half of its fingerprint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from foundation.arrays import Vectors
from pipeline.catalog import stage_columns as col
from pipeline.catalog.names import id_hashes

Hashes = npt.NDArray[np.uint64]
Keys = npt.NDArray[np.void]  # (n,) of KEY
KEY = np.dtype(
    [
        *((name, "<u8") for name in ("id", "text", "photo", "attributes", "vector")),
        *((name, "<u4") for name in ("partition", "segment", "row")),  # numbers that whoever makes the keys gives
    ]
)
_NULL = np.uint64(0x9E3779B97F4A7C15)
_ODD = np.uint64(0xD6E8FEB86659FD93)


def row_keys(table: pa.Table, attributes: Sequence[str], partition: int, segment: int) -> Keys:
    """(n,) KEY of rows with ids: of the columns id, text_fingerprint, photo_fingerprint, photo and, of the struct
    attributes, those that are named; `vector` is 0, `row` counts from 0.
    """
    keys = np.zeros(table.num_rows, KEY)
    keys["id"] = id_hashes(table.column(col.ID).combine_chunks())
    keys["text"] = fingerprint_halves(table.column(col.TEXT_FINGERPRINT).combine_chunks())
    keys["photo"] = fingerprint_halves(table.column(col.PHOTO_FINGERPRINT).combine_chunks())
    keys["attributes"] = value_hashes(table.column(col.PHOTO).combine_chunks())
    structs = table.column(col.ATTRIBUTES).combine_chunks() if col.ATTRIBUTES in table.column_names else None
    for name in attributes:
        at = -1 if structs is None else structs.type.get_field_index(name)
        values = pa.nulls(table.num_rows, pa.string()) if at < 0 else pc.struct_field(structs, at)
        keys["attributes"] = _mixed(keys["attributes"], value_hashes(values))
    keys["partition"], keys["segment"], keys["row"] = partition, segment, np.arange(table.num_rows)
    return keys


def fingerprint_halves(fingerprints: pa.Array) -> Hashes:
    """(n,) uint64: the first eight of the 16 bytes of each; 0 where null."""
    raw = np.frombuffer(fingerprints.buffers()[1] or b"", "<u8", 2 * len(fingerprints), 16 * fingerprints.offset)
    halves: Hashes = raw.reshape(-1, 2)[:, 0].copy()
    halves[fingerprints.is_null().to_numpy(zero_copy_only=False)] = 0
    return halves


def value_hashes(values: pa.Array) -> Hashes:
    """(n,) uint64 of attributes of any type: equal values of one type have equal ones."""
    if pa.types.is_struct(values.type):
        found = np.where(values.is_null().to_numpy(zero_copy_only=False), _NULL, np.uint64(0))
        for child in values.flatten():
            found = _mixed(found, value_hashes(child))
        return found
    encoded = _as_strings(values).dictionary_encode()
    return _taken(id_hashes(encoded.dictionary), encoded.indices)


def vector_hashes(block: Vectors) -> Hashes:
    """(n,) uint64 of (n, d) float32: equal bits have equal ones. A sum of products by odd numbers, modulo 2**64."""
    weights = np.random.default_rng(block.shape[1]).integers(0, 2**64, block.shape[1], np.uint64) | np.uint64(1)
    found: Hashes = (np.ascontiguousarray(block).view(np.uint32).astype(np.uint64) * weights).sum(axis=1, dtype="u8")
    return found


def _as_strings(values: pa.Array) -> pa.Array:
    try:
        return values if pa.types.is_string(values.type) else pc.cast(values, pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):  # lists; times beyond what a string can say
        return pa.array([None if one is None else repr(one) for one in _plain(values)], pa.string())


def _plain(values: pa.Array) -> list[Any]:
    found: list[Any] = values.to_pylist()
    return found


def _taken(hashes: Hashes, indices: pa.Array) -> Hashes:
    """The hash of each index; null has one of its own."""
    at = pc.fill_null(indices, len(hashes)).to_numpy(zero_copy_only=False)
    found: Hashes = np.append(hashes, _NULL)[at]
    return found


def _mixed(before: Hashes, more: Hashes) -> Hashes:
    """One hash of two, by which their order counts."""
    found: Hashes = ((before ^ (before >> np.uint64(29))) * _ODD) + more
    return found
