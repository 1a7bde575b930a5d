"""Declared prices (`catalog.prices`): a column as shards carry it, and what a sample of the feed says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from lookup.filters.prices import AMOUNT, PRICE, WIDE, Price, fits, is_unread, parse_price, rounded
from pipeline.catalog import columns
from pipeline.catalog.pieces import Bounds, unit_rows
from pipeline.catalog.schema import as_meant, file_columns
from pipeline.config.sections import CatalogConfig
from pipeline.files.catalog import part_of
from pipeline.files.discover import open_file
from pipeline.report.notices import Notice

_SAMPLED_FILES = 16  # at equal distances
_SAMPLED_ROWS = 1_024  # of each
_EXAMPLES = 3


def price_column(values: pa.Array, decimal_mark: str | None) -> pa.StructArray:
    """`lookup.filters.prices.PRICE` of a plain column of texts or numbers; null where it is null or NaN.

    A number is its own amount; one that does not fit is kept as its text, as one that cannot be read is. What is not
    UTF-8 is kept as `columns.readable` spells it.
    """
    encoded = values.dictionary_encode()
    prices = pa.array([_price(one, decimal_mark) for one in _python(encoded.dictionary)], PRICE)
    return prices.take(encoded.indices)


def unread(prices: pa.StructArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(n,) bool: which of a price column have a text that is no price. Blank ones have none."""
    texts = prices.field("written").to_pylist()
    amounts = prices.field("amount").is_valid().to_pylist()
    valid = prices.is_valid().to_pylist()
    rows = zip(texts, amounts, valid, strict=True)
    return np.array([there and not read and is_unread(text, None) for text, read, there in rows], np.bool_)


def sampled(units: Sequence[Any], settings: CatalogConfig, max_bytes: int) -> list[Notice]:
    """What the first rows of some files, evenly spread over the `units` of a plan, say of the declared prices."""
    if not settings.prices:
        return []
    first = {unit.path: unit for unit in reversed(units)}
    chosen = list(reversed(first.values()))[:: max(1, -(-len(first) // _SAMPLED_FILES))]
    found = {name: _Sample() for name in settings.prices}
    for unit in chosen:
        with open_file(unit.path, part=part_of(settings, unit.path)) as file:
            names = file_columns(file.schema_arrow, settings, unit.path)
            wanted = {name: names[name] for name in settings.prices if name in names}
            groups = range(unit.first_group, unit.end_group)
            bounds = Bounds(settings.max_row_bytes, max_bytes)
            read = sorted(set(wanted.values()))
            table = unit_rows(unit.path, file, groups, unit.first_row, read, bounds).table
        for name, column in wanted.items():
            values = as_meant(table.column(column).slice(0, _SAMPLED_ROWS), name, settings)
            found[name].add(columns.plain(values), settings.decimal_mark)
    return list(_notices(found, settings))


# --- inside ---


@dataclass
class _Sample:
    values: int = 0
    currencies: Counter[str] = field(default_factory=Counter)
    not_read: Counter[str] = field(default_factory=Counter)
    two_ways: Counter[str] = field(default_factory=Counter)

    def add(self, values: pa.Array, mark: str | None) -> None:
        for one in price_column(values, mark).to_pylist():
            if one is None or not (one["written"] is None or one["written"].strip()):
                continue
            self.values += 1
            if one["amount"] is not None:
                self.currencies.update([one["currency"]] if one["currency"] else [])
            elif mark is None and parse_price(one["written"], "."):
                self.two_ways[one["written"]] += 1
            else:
                self.not_read[one["written"]] += 1


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
                f"{name} is in several currencies, {shown} {of}: a filter `{name} < 20` compares the numbers, "
                f"`{name} < 20 {most[0][0]}` those of one"
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


def _price(value: str | Decimal | None, decimal_mark: str | None) -> dict[str, Any] | None:
    if value is None:
        return None
    given = None if isinstance(value, str) or not fits(value) else Price(value)
    price = parse_price(value, decimal_mark) if isinstance(value, str) else given
    written = value if isinstance(value, str) else None if price else str(value)
    amount = price and price.amount.quantize(Decimal(1).scaleb(-AMOUNT.scale), context=WIDE)
    return {"written": written, "amount": amount, "currency": price and price.currency}
