"""Prices of a feed as a catalog has them: an amount of 18 digits, 4 of them behind the point, beside its currency."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from lookup.filters.prices import currency_named, parse_price
from pipeline.feeds.conversions import by_value

AMOUNT = pa.decimal128(18, 4)
_MOST = Decimal(10) ** (AMOUNT.precision - AMOUNT.scale)
_SMALLEST = Decimal(1).scaleb(-AMOUNT.scale)
# What nearly all prices are: digits, cents behind either mark, a code. Of three digits behind a mark nobody knows.
_PLAIN = r"^(?P<whole>[0-9]{1,12})(?:[.,](?P<cents>[0-9]{1,2}))?(?: ?(?P<currency>[A-Z]{3}))?$"
_MARK = re.compile(r"[0-9]([.,])(?:[0-9]{1,2}|[0-9]{4,})(?![0-9.,])")


def price_columns(texts: pa.Array, decimal_mark: str | None, currencies: pa.Array | None) -> tuple[pa.Array, pa.Array]:
    """(amounts, decimal128(18, 4); currencies, ISO 4217 or a sign that several share) of (n,) strings; both null for
    what is no price, or can be read in two ways and no `decimal_mark` says in which. Where a price has no currency, it
    is that of `currencies`.
    """
    amounts, own = _of_texts(texts, decimal_mark)
    if currencies is not None:
        named = by_value(currencies, lambda one: currency_named(one) or one, pa.string())
        own = pc.coalesce(own, pc.if_else(pc.is_valid(amounts), named, None))
        odd = pc.and_(pc.is_valid(named), pc.invert(pc.match_substring_regex(texts, _PLAIN)))
        if pc.any(odd).as_py():  # 1.299 is a thousand and more where it is of yen, which have no cents
            beside = pc.if_else(odd, pc.binary_join_element_wise(texts, named, " "), None)
            read, of_read = _of_texts(beside, decimal_mark)
            amounts, own = pc.coalesce(read, amounts), pc.coalesce(of_read, own)
    return amounts, own


def mark_of(values: Iterable[str]) -> str | None:
    """The decimal mark that some prices or numbers have; None where they have none, or both."""
    found = Counter(mark for value in values for mark in _MARK.findall(value))
    (mark, count), *others = [*found.most_common(), ("", 0)]
    return mark if mark and count >= 20 * sum(number for _, number in others) else None


def is_currency(word: str) -> bool:
    """Whether a word is a currency by itself."""
    price = parse_price(f"1 {word}", ".")
    return price is not None and price.currency is not None


# --- inside ---


def _of_texts(texts: pa.Array, mark: str | None) -> tuple[pa.Array, pa.Array]:
    encoded = texts.dictionary_encode()
    amounts, own = _of_values(encoded.dictionary, mark)
    return amounts.take(encoded.indices), own.take(encoded.indices)


def _of_values(values: pa.Array, mark: str | None) -> tuple[pa.Array, pa.Array]:
    parts = pc.extract_regex(values, _PLAIN)
    whole, cents, currency = (pc.struct_field(parts, name) for name in ("whole", "cents", "currency"))
    currency = pc.if_else(pc.equal(currency, ""), None, currency)
    known = pa.array([one for one in pc.unique(currency).to_pylist() if one is None or is_currency(one)], pa.string())
    plain = pc.and_(pc.is_valid(parts), pc.is_in(currency, known))
    texts = pc.if_else(
        plain, pc.binary_join_element_wise(whole, pc.if_else(pc.equal(cents, ""), "0", cents), "."), None
    )
    amounts, currency = texts.cast(AMOUNT), pc.if_else(plain, currency, None)
    rest = pc.and_(pc.is_valid(values), pc.invert(pc.fill_null(plain, False)))
    if not pc.any(rest).as_py():
        return amounts, currency
    read = [_read(one, mark) for one in values.filter(rest).to_pylist()]
    amounts = pc.replace_with_mask(amounts, rest, pa.array([amount for amount, _ in read], AMOUNT))
    return amounts, pc.replace_with_mask(currency, rest, pa.array([one for _, one in read], pa.string()))


def _read(text: str, mark: str | None) -> tuple[Decimal | None, str | None]:
    price = parse_price(text, mark)
    if price is None or abs(price.amount) >= _MOST or price.amount % _SMALLEST:
        return None, None
    return price.amount.quantize(_SMALLEST), price.currency
