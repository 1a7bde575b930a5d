"""Ids and categories as strings, whatever type a writer gave them (encoders/names.py says how they are compared)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encoders.names import clean_id
from foundation.errors import InputError
from pipeline.catalog import columns
from pipeline.config.sections import GatesConfig

_PRINTABLE = "^[!-~](?:[ -~]*[!-~])?$"  # an id of these is clean already
# Whole numbers up to here are exact as floats; from here on two ids may have become one when they were written.
_EXACT = {pa.float16(): 2**11, pa.float32(): 2**24, pa.float64(): 2**53}


class Names(NamedTuple):
    """Ids or categories: strings, null where there is none; why that is, where something stands there."""

    values: pa.Array  # string
    not_utf8: pa.Array  # bool
    numbers: pa.Array  # string: numbers that name nothing, what they are and their value; null elsewhere


def names_of(column: pa.ChunkedArray, name: str) -> Names:
    """The names in the column `name`.

    Decimals and floats are taken as the whole numbers that they are, as pandas and warehouses write them; one that is
    no whole number, or too large to be exact, names nothing. NaN is null. Of lists the first item is the name.
    """
    column = columns.first_of(column)
    kind = columns.value_type(column.type)
    if not (pa.types.is_decimal(kind) or pa.types.is_floating(kind)):
        values, wrong = columns.strings(columns.plain(column))
        return Names(values, wrong, pa.nulls(len(values), pa.string()))
    values = (
        pa.concat_arrays([chunk.cast(kind) for chunk in column.chunks]) if column.num_chunks else pa.array([], kind)
    )
    digits, odd = (_digits_of_decimals if pa.types.is_decimal(kind) else _digits_of_floats)(values, name)
    return Names(digits, columns.repeat(False, len(digits)), odd)


@dataclass
class OddNumbers:
    """The ids and categories of a catalog that are numbers and name nothing, by file and column."""

    rows: Counter[str] = field(default_factory=Counter)  # by file
    found: Counter[tuple[str, str]] = field(default_factory=Counter)
    first: dict[tuple[str, str], str] = field(default_factory=dict)  # what it is, and its value

    def add(self, path: str, rows: int, numbers: Mapping[str, pa.Array]) -> None:
        """Count some rows of a file; `numbers`, by column, are the `Names.numbers` of those that have any."""
        self.rows[path] += rows
        for name, odd in numbers.items():
            if len(odd):
                self.found[path, name] += len(odd)
                self.first.setdefault((path, name), odd[0].as_py())

    def refuse(self, gates: GatesConfig) -> None:
        """InputError where they are more than may be rejected, or all that a file has: that is no fault of a row."""
        every = self.rows.total()
        for (path, name), count in self.found.items():
            inside = sum(rows for (_, column), rows in self.found.items() if column == name)
            alone = count == self.rows[path] and gates.enough(count, every)
            if alone or (inside > gates.max_reject_share * every and gates.enough(inside, every)):
                raise InputError(
                    f"{name}: text, or whole numbers that its type holds exactly, but for gates.max_reject_share="
                    f"{gates.max_reject_share:g} of the rows",
                    f"others in {inside:,} of {every:,} rows, {count:,} of {self.rows[path]:,} of {path}: "
                    f"{self.first[path, name]}",
                    f"write {name} as text or as an integer",
                )


def clean_ids(ids: pa.Array) -> pa.Array:
    """`clean_id` of each of the strings; null where nothing is left."""
    odd = pc.fill_null(pc.invert(pc.match_substring_regex(ids, _PRINTABLE)), False)
    if not pc.any(odd).as_py():
        return ids
    cleaned = [clean_id(one) or None for one in ids.filter(odd).to_pylist()]
    return pc.replace_with_mask(ids, odd, pa.array(cleaned, pa.string()))


def _digits_of_decimals(values: pa.Array, name: str) -> tuple[pa.Array, pa.Array]:
    texts = pc.cast(values, pa.string())
    short = pc.fill_null(pc.match_substring(texts, "E"), False)  # 0E-10: a zero with many places
    if pc.any(short).as_py():
        texts = pc.replace_with_mask(texts, short, pa.array([f"{one:f}" for one in values.filter(short).to_pylist()]))
    whole = pc.replace_substring_regex(texts, r"\.0*$", "")
    parts = pc.match_substring_regex(whole, r"\.")
    shown = pc.if_else(parts, whole, None)
    return pc.if_else(parts, None, whole), pc.binary_join_element_wise(f"no whole number in {name}", shown, ": ")


def _digits_of_floats(values: pa.Array, name: str) -> tuple[pa.Array, pa.Array]:
    exact = float(_EXACT[values.type])
    values = pc.if_else(pc.is_nan(values.cast(pa.float64())), None, values.cast(pa.float64()))
    large, parts = pc.greater_equal(pc.abs(values), exact), pc.not_equal(pc.round(values), values)
    odd = pc.or_(large, parts).fill_null(False)
    texts = pa.array(map(repr, values.filter(odd).to_pylist()), pa.string())
    shown = pc.replace_with_mask(pa.nulls(len(values), pa.string()), odd, texts)
    digits = pc.if_else(odd, None, values).cast(pa.int64()).cast(pa.string())
    what = pc.if_else(parts, f"no whole number in {name}", f"a number too large to be exact in {name}")
    return digits, pc.binary_join_element_wise(what, shown, ": ")


def id_hashes(ids: pa.Array) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """(n,) uint64: xxh3 of each id; nulls are left out, so n may be less than the rows."""
    from xxhash import xxh3_64_intdigest  # here, because hosts that only search and judge lack it

    raw = ids.drop_null().cast(pa.binary()).to_pylist()
    return np.fromiter(map(xxh3_64_intdigest, raw), dtype=np.uint64, count=len(raw))
