"""Declared prices (`catalog.prices`): a column as shards carry it, and what a sample of the feed says of it, and of
declared numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lookup.filters.prices import (
    AMOUNT,
    PRICE,
    WIDE,
    Price,
    currency_named,
    fits,
    in_shop,
    is_unread,
    parse_price,
    rounded,
)
from pipeline.catalog import columns
from pipeline.catalog.number_columns import number_column
from pipeline.catalog.pieces import Bounds, unit_rows
from pipeline.catalog.schema import as_meant, file_columns
from pipeline.config.sections import CatalogConfig
from pipeline.files.catalog import part_of
from pipeline.files.discover import open_file
from pipeline.report.notices import Notice

_SAMPLED_FILES = 16  # at equal distances
_SAMPLED_ROWS = 1_024  # of each
_EXAMPLES = 3


def currency_column(price: str) -> str:
    """The canonical column of the currencies of the prices of one, as `vitrine import` names it."""
    return f"{price}_currency"


def price_column(
    values: pa.Array, decimal_mark: str | None, currencies: pa.Array | None = None, own: str | None = None
) -> pa.StructArray:
    """`lookup.filters.prices.PRICE` of a plain column of texts or numbers; null where it is null or NaN.

    `currencies`, strings, stand beside the values: a price is read with its own, written behind it. `own` is the
    currency of prices that name none (`catalog.currency`). A number is its own amount; one that does not fit is kept
    as its text, as one that cannot be read is. What is not UTF-8 is kept as `columns.readable` spells it.
    """
    encoded = values.dictionary_encode()
    amounts = _python(encoded.dictionary)
    named = pa.nulls(len(values), pa.string()) if currencies is None else columns.readable(currencies)
    codes = named.dictionary_encode()
    names = [*codes.dictionary.to_pylist(), None]
    of = codes.indices.fill_null(len(names) - 1).to_numpy(zero_copy_only=False).astype(np.int64)
    at = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    pairs, rows = np.unique(at * len(names) + of, return_inverse=True)
    known = [divmod(pair, len(names)) for pair in pairs.tolist()] if amounts else []
    prices = pa.array([_price(amounts[one], names[code], decimal_mark, own) for one, code in known], PRICE)
    return prices.take(pc.if_else(encoded.indices.is_null(), None, pa.array(rows, pa.int64())))


def unread(prices: pa.StructArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(n,) bool: which of a price column have a text that is no price. Blank ones have none."""
    texts = prices.field("written").to_pylist()
    amounts = prices.field("amount").is_valid().to_pylist()
    valid = prices.is_valid().to_pylist()
    rows = zip(texts, amounts, valid, strict=True)
    return np.array([there and not read and is_unread(text, None) for text, read, there in rows], np.bool_)


def sampled(units: Sequence[Any], settings: CatalogConfig, max_bytes: int) -> list[Notice]:
    """What the first rows of some files, evenly spread over the `units` of a plan, say of the prices and numbers."""
    if not (settings.prices or settings.numbers):
        return []
    first = {unit.path: unit for unit in reversed(units)}
    chosen = list(reversed(first.values()))[:: max(1, -(-len(first) // _SAMPLED_FILES))]
    found = {name: _Sample() for name in settings.prices}
    odd = {name: Counter[str]() for name in settings.numbers}
    for unit in chosen:
        plain = _first_rows(unit, settings, max_bytes)
        for name in found.keys() & plain.keys():
            currencies = plain.get(currency_column(name))
            found[name].add(price_column(plain[name], settings.decimal_mark, currencies, settings.currency), settings)
        for name in odd.keys() & plain.keys():
            unreadable = number_column(plain[name], settings.decimal_mark)[1]
            odd[name].update(columns.readable(plain[name].filter(unreadable)).to_pylist())
    return [*_notices(found, settings), *_of_numbers(odd)]


# --- inside ---


@dataclass
class _Sample:
    values: int = 0
    currencies: Counter[str] = field(default_factory=Counter)
    not_read: Counter[str] = field(default_factory=Counter)
    two_ways: Counter[str] = field(default_factory=Counter)

    def add(self, prices: pa.StructArray, settings: CatalogConfig) -> None:
        for one in prices.to_pylist():
            if one is None or not (one["written"] is None or one["written"].strip()):
                continue
            self.values += 1
            if one["amount"] is not None:
                self.currencies.update([one["currency"]] if one["currency"] else [])
            elif settings.decimal_mark is None and parse_price(one["written"], "."):
                self.two_ways[one["written"]] += 1
            else:
                self.not_read[one["written"]] += 1


def _first_rows(unit: Any, settings: CatalogConfig, max_bytes: int) -> dict[str, pa.Array]:
    """The plain columns of declared prices, their currencies and numbers, of the first rows of a unit."""
    with open_file(unit.path, part=part_of(settings, unit.path)) as file:
        names = file_columns(file.schema_arrow, settings, unit.path)
        asked = [*settings.prices, *map(currency_column, settings.prices), *settings.numbers]
        wanted = {name: names[name] for name in asked if name in names}
        groups = range(unit.first_group, unit.end_group)
        bounds = Bounds(settings.max_row_bytes, max_bytes)
        table = unit_rows(unit.path, file, groups, unit.first_row, sorted({*wanted.values()}), bounds).table
    values = {name: table.column(column).slice(0, _SAMPLED_ROWS) for name, column in wanted.items()}
    return {name: columns.plain(as_meant(column, name, settings)) for name, column in values.items()}


def _of_numbers(odd: Mapping[str, Counter[str]]) -> Iterator[Notice]:
    for name, texts in odd.items():
        if texts:
            told = (
                f"{texts.total():,} sampled values of {name} are no number, or only with catalog.decimal_mark, "
                "and become null; such as"
            )
            yield _counted("sampled_numbers_unread", told, texts)


def _notices(found: Mapping[str, _Sample], settings: CatalogConfig) -> Iterator[Notice]:
    for name, one in found.items():
        of = f"of {one.values:,} sampled values of {name}"
        if one.not_read:
            told = (
                f"{one.not_read.total():,} {of} are no price: a hit shows them, a filter takes them for null; such as"
            )
            yield _counted("sampled_prices_unread", told, one.not_read)
        if one.two_ways:
            told = (
                f"{one.two_ways.total():,} {of} can be read in two ways, and are not: set catalog.decimal_mark to the "
                "feed's, '.' or ','; such as"
            )
            yield _counted("sampled_prices_of_two_ways", told, one.two_ways)
        if len(one.currencies) > 1:
            most = one.currencies.most_common()
            shown = ", ".join(f"{currency} {count:,}" for currency, count in most)
            told = (
                f"{name} is in several currencies, {shown} {of}: a filter has to name one, as "
                f"`{name} < 20 {most[0][0]}`"
            )
            yield Notice(what="sampled_prices_of_currencies", count=len(one.currencies), told=told)


def _counted(what: str, told: str, texts: Counter[str]) -> Notice:
    some = tuple(repr(text) for text, _ in texts.most_common(_EXAMPLES))
    return Notice(what=what, count=texts.total(), told=told, examples=some, kinds=len(texts))


def _python(values: pa.Array) -> list[Any]:
    """Texts as str, and numbers as the decimal that they are written as."""
    if pa.types.is_string(values.type):
        return list(columns.readable(values).to_pylist())
    if pa.types.is_floating(values.type):
        numbers = values.to_numpy(zero_copy_only=False)
        return [None if np.isnan(number) else rounded(Decimal(str(number))) for number in numbers]
    return [None if one is None else Decimal(one) for one in values.to_pylist()]


def _price(
    value: str | Decimal | None, named: str | None, decimal_mark: str | None, own: str | None
) -> dict[str, Any] | None:
    """A price, of which a currency is `named` beside it, as a PRICE."""
    if value is None:
        return None
    named = named.strip() if named else None
    text = value.strip() if isinstance(value, str) else f"{value.normalize(WIDE):f}"
    beside = text if not named or currency_named(text.strip("0123456789., ")) else f"{text} {named}"
    if isinstance(value, str):
        price = parse_price(f"{text} {named or ''}".strip(), decimal_mark)
        if (price is None or price.currency is None) and not named and own:
            price = parse_price(f"{text} {own}", decimal_mark)
    else:
        code = currency_named(named) if named else None
        price = Price(value, code) if fits(value) and (code or not named) else None
    kept = None if price and not isinstance(value, str) else str(value)
    written = beside if named and (price or not isinstance(value, str)) else kept
    price = price and in_shop(price, own)
    amount = price and price.amount.quantize(Decimal(1).scaleb(-AMOUNT.scale), context=WIDE)
    return {"written": written, "amount": amount, "currency": price and price.currency}
