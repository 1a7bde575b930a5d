"""Ids and categories as strings, whatever type a writer gave them (encoders/names.py says how they are compared)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encoders.names import clean_id
from foundation.errors import InputError
from pipeline.catalog import columns

_PRINTABLE = "^[!-~](?:[ -~]*[!-~])?$"  # an id of these is clean already
# Whole numbers up to here are exact as floats; from here on two ids may have become one when they were written.
_EXACT = {pa.float16(): 2**11, pa.float32(): 2**24, pa.float64(): 2**53}


def name_strings(column: pa.ChunkedArray, name: str) -> tuple[pa.Array, pa.Array]:
    """(ids or categories as strings, null where they are not UTF-8; mask of those).

    Decimals and floats are taken as the whole numbers that they are, as pandas and warehouses write them; InputError
    for one that is no whole number, or too large to be exact. NaN is null.
    """
    kind = columns.value_type(column.type)
    if not (pa.types.is_decimal(kind) or pa.types.is_floating(kind)):
        return columns.strings(columns.plain(column))
    values = (
        pa.concat_arrays([chunk.cast(kind) for chunk in column.chunks]) if column.num_chunks else pa.array([], kind)
    )
    digits = _digits_of_decimals(values, name) if pa.types.is_decimal(kind) else _digits_of_floats(values, name)
    return digits, columns.repeat(False, len(digits))


def clean_ids(ids: pa.Array) -> pa.Array:
    """`clean_id` of each of the strings; null where nothing is left."""
    odd = pc.fill_null(pc.invert(pc.match_substring_regex(ids, _PRINTABLE)), False)
    if not pc.any(odd).as_py():
        return ids
    cleaned = [clean_id(one) or None for one in ids.filter(odd).to_pylist()]
    return pc.replace_with_mask(ids, odd, pa.array(cleaned, pa.string()))


def _digits_of_decimals(values: pa.Array, name: str) -> pa.Array:
    texts = pc.cast(values, pa.string())
    short = pc.fill_null(pc.match_substring(texts, "E"), False)  # 0E-10: a zero with many places
    if pc.any(short).as_py():
        texts = pc.replace_with_mask(texts, short, pa.array([f"{one:f}" for one in values.filter(short).to_pylist()]))
    whole = pc.replace_substring_regex(texts, r"\.0*$", "")
    _refuse(values, pc.match_substring_regex(whole, r"\."), name)
    return whole


def _digits_of_floats(values: pa.Array, name: str) -> pa.Array:
    exact = _EXACT[values.type]
    values = pc.if_else(pc.is_nan(values.cast(pa.float64())), None, values.cast(pa.float64()))
    _refuse(
        values, pc.or_(pc.not_equal(pc.round(values), values), pc.greater_equal(pc.abs(values), float(exact))), name
    )
    return values.cast(pa.int64()).cast(pa.string())


def _refuse(values: pa.Array, wrong: pa.Array, name: str) -> None:
    """InputError where some of the numbers name nothing."""
    some = values.filter(pc.fill_null(wrong, False))
    if len(some):
        raise InputError(
            f"{name}: text, or whole numbers that its type holds exactly",
            f"{len(some):,} others of type {values.type}, such as {some[0].as_py()}",
            f"write {name} as text or as an integer",
        )


def id_hashes(ids: pa.Array) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """(n,) uint64: xxh3 of each id; nulls are left out, so n may be less than the rows."""
    from xxhash import xxh3_64_intdigest  # here, because hosts that only search and judge lack it

    raw = ids.drop_null().cast(pa.binary()).to_pylist()
    return np.fromiter(map(xxh3_64_intdigest, raw), dtype=np.uint64, count=len(raw))
