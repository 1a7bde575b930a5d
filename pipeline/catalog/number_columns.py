"""Declared numbers (`catalog.numbers`): columns of text that are numbers, as shards carry them."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from lookup.filters.prices import is_unread, parse_price
from pipeline.catalog import columns

# What no price is, and a number: many digits behind the mark, which can then be no other, and powers of ten.
_LONG = re.compile(r"-?[0-9]*[.,][0-9]{4,}|-?[0-9]+(?:[.,][0-9]+)?[eE][-+]?[0-9]{1,3}")


def number_column(values: pa.Array, decimal_mark: str | None) -> tuple[pa.Array, pa.Array]:
    """(a plain column as float64, mask of the texts that are no number and so become null). Columns that are no text
    are as they are.

    Marks are read as in prices, see lookup/filters/prices.py: a text that can be read in two ways is not, unless
    `decimal_mark` is given. Blank texts are null, and in no mask.
    """
    if not pa.types.is_string(values.type):
        return values, columns.repeat(False, len(values))
    encoded = values.dictionary_encode()
    texts = columns.readable(encoded.dictionary).to_pylist()
    numbers = [_number(text.strip().removeprefix("+"), decimal_mark) for text in texts]
    odd = [number is None and is_unread(text, None) for text, number in zip(texts, numbers, strict=True)]
    mask = pc.fill_null(pa.array(odd, pa.bool_()).take(encoded.indices), False)
    return pa.array(numbers, pa.float64()).take(encoded.indices), mask


def _number(text: str, decimal_mark: str | None) -> float | None:
    price = parse_price(text, decimal_mark)
    if price is not None:
        return float(price.amount) if price.currency is None else None
    return float(text.replace(",", ".")) if _LONG.fullmatch(text) else None
