"""Conditions on attributes: `price < 20`, `brand in Acme, "Smith, Jones"`, `price between 10, 20`.

    condition = parse('brand in Acme, "Smith, Jones"')
    mask = condition.mask(column, column.type)

Values are text and are read as what the attribute is: a number, true or false, a date or time as ISO 8601 writes it
(2026-11-21, 2026-11-21T08:30), or a text. Null and NaN match `is null` and nothing else, not even `!=`. A list of texts
is equal to each that it holds. Texts have no order: letter by letter, 100.00 USD comes before 20.00 USD.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from foundation.arrays import Mask
from foundation.errors import InputError
from lookup.filters.prices import PRICE, Price
from lookup.filters.values import (
    ORDER,
    Operator,
    Sort,
    as_compared,
    common_type,
    example_of,
    matching,
    read_value,
    sort_of,
    type_name,
)

__all__ = ["Condition", "Operator", "Where", "as_compared", "common_type", "condition", "parse", "parsed"]

# The name ends where the operator begins; in quotes it may hold anything, a quote is doubled. So are values read.
_CONDITION = re.compile(
    r'\s*(?:"(?P<quoted>(?:[^"]|"")+)"|(?P<name>[^\s"=!<>]+))\s*'
    r"(?P<operator><=|>=|!=|=|<|>|(?<=[\s\"])(?:in|between|is\s+not\s+null|is\s+null)\b)\s*(?P<values>.*)",
    re.DOTALL,
)
_VALUE = re.compile(r'\s*(?:"(?P<quoted>(?:[^"]|"")*)"|(?P<plain>[^\s",=!<>](?:[^",]*[^\s",])?))\s*(?P<more>,|\Z)')
_PLAIN_NAME = re.compile(r'[^\s"=!<>]+')
_FORM = (
    "a condition such as 'price < 20', 'price between 10, 20', 'brand in Acme, Zeta' or 'brand = \"Smith, Jones\"' "
    "(= != < <= > >= in between `is null` `is not null`)"
)
# How other languages write a comparison. The word behind a name that is no operator here.
_MEANT = {"==": "=", "=<": "<=", "=>": ">=", "<>": "!="}
_WORD = re.compile(r'\s*(?:"(?:[^"]|"")+"|[^\s"=!<>]+)\s*(?P<word>[=!<>]{2,}|(?<=\s)[a-z]+(?=[\s"]))', re.IGNORECASE)
_JOINED = re.compile(r"\s(?:and|or|&&|\|\|)\s", re.IGNORECASE)
_QUOTE = 'put a name or value with spaces at its ends, commas or quotes into "", and double a quote inside'


@dataclass(frozen=True)
class Condition:
    """One comparison. `values` are as they are written: two for `between`, one or more for `in`, else one."""

    attribute: str
    operator: Operator
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        count = len(self.values)
        if self.operator in (Operator.NULL, Operator.NOT_NULL):
            wanted, fits, fix = "no value", count == 0, f"end the condition after `{self.operator}`"
        elif self.operator is Operator.BETWEEN:
            wanted, fits, fix = "two values", count == 2, "write the least and the most, with a comma between them"
        elif self.operator is Operator.IN:
            wanted, fits, fix = "one value or more", count > 0, "write the values with commas between them"
        elif self.operator in (Operator.EQUAL, Operator.NOT_EQUAL):
            wanted, fits, fix = "one value", count == 1, f"use `in` for a set; {_QUOTE}"
        else:
            wanted, fits, fix = "one value", count == 1, "write one, as 19.99: a comma stands between values"
        if not fits:
            raise InputError(f"{wanted} for `{self.operator}`", f"{count} in: {self}", fix)

    def __str__(self) -> str:
        """The condition as `parse` reads it."""
        name = self.attribute if _PLAIN_NAME.fullmatch(self.attribute) else _quoted(self.attribute)
        return f"{name} {self.operator} {', '.join(map(_written, self.values))}".rstrip(" ")

    def mask(self, column: pa.Array, kind: pa.DataType) -> Mask:
        """(n,) bool: which values match. `column` is of type `kind`, of one that `common_type` joins with others into
        it, a dictionary of such, or null, its texts `as_compared`; InputError where a value cannot be read as `kind`.
        """
        values = [] if pa.types.is_null(kind) else [self._read(text, kind) for text in self.values]
        if self.operator is Operator.BETWEEN and values:
            self._check_ends(*values)
        if pa.types.is_null(column.type) or pa.types.is_null(kind):
            return np.full(len(column), self.operator is Operator.NULL)
        return matching(self.operator, column, values)

    def of_any_currency(self) -> bool:
        """Whether a condition on a price compares the amounts of all currencies; its values can be read as prices."""
        prices = [read_value(text, PRICE) for text in self.values]
        return any(price.currency is None for price in prices)

    def in_currency(self, code: str) -> Condition:
        """The same of prices in that currency, where none is named; its values can be read as prices."""
        values = (text if read_value(text, PRICE).currency else f"{text} {code}" for text in self.values)
        return Condition(self.attribute, self.operator, tuple(values))

    def _check_ends(self, least: Any, most: Any) -> None:
        if isinstance(least, Price) and least.currency != most.currency:
            came, fix = f"{least.currency or 'none'} and {most.currency or 'none'}", "write the currency behind both"
            raise InputError(f"one currency for both ends of {self.attribute}", came, fix)
        if least > most:
            raise InputError(f"the least value first for {self.attribute}", str(self), "swap the values")

    def _read(self, text: str, kind: pa.DataType) -> Any:
        sort = sort_of(kind)
        if self.operator in ORDER and sort in (Sort.TEXT, Sort.LIST, Sort.BOOLEAN):
            raise InputError(
                f"=, !=, in or `is null` for {self.attribute} ({sort})",
                f"`{self.operator}`",
                self._instead(sort),
            )
        try:
            return read_value(text, kind)
        except (ValueError, pa.ArrowInvalid) as err:
            fix = APART if is_joined(text) else _FIX
            raise InputError(
                f"{example_of(kind)} for {self.attribute}, which is {type_name(kind)}", f"{text!r} ({err})", fix
            ) from err

    def _instead(self, sort: Sort) -> str:
        """What to do where there is no order."""
        if sort is Sort.BOOLEAN:
            return "write `= true` or `= false`"
        if sort is Sort.LIST:
            return "write = for a text that the list holds"
        return (
            f"if it is a price or a number, declare it, catalog.prices=[{self.attribute}] or "
            f"catalog.numbers=[{self.attribute}], and run again; if it is a date, write that column with such a type"
        )


Where = str | Condition | Sequence[str | Condition]  # all of them must hold; none: every product
_FIX = "correct the value in the condition"
APART = "give conditions one by one, all of which must hold; there is no `or`, but `in` takes a set of values"


def condition(attribute: str, operator: str, *values: object) -> Condition:
    """A condition of Python values: str, bool, int, float, Decimal, date and datetime; InputError for others.

    condition("price", "between", 10, 19.99), condition("brand", "in", "Acme", "Zeta")
    """
    if operator not in list(Operator):
        raise InputError(f"an operator, one of {' '.join(Operator)}", repr(operator), "correct it")
    return Condition(attribute, Operator(operator), tuple(map(_text, values)))


def parse(text: str) -> Condition:
    """The condition that is written in `text`; InputError where there is none."""
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise InputError(_FORM, repr(text), _meant(text))
    values, rest = list[str](), found["values"].rstrip()
    name = found["name"] or found["quoted"].replace('""', '"')
    operator = Operator(" ".join(found["operator"].split()))
    at, more = 0, "" if operator in (Operator.NULL, Operator.NOT_NULL) and not rest else ","
    while more:
        value = _VALUE.match(rest, at)
        if value is None:
            raise InputError(_FORM, f"{text!r}, of which {rest[at:]!r} is not a value", _meant(text))
        values.append(value["plain"] if value["quoted"] is None else value["quoted"].replace('""', '"'))
        at, more = value.end(), value["more"]
    return Condition(name, operator, tuple(values))


def parsed(where: Where) -> tuple[Condition, ...]:
    """Conditions, all of which must hold, from what callers write."""
    listed = [where] if isinstance(where, str | Condition) else where
    if not isinstance(listed, Sequence) or not all(isinstance(one, str | Condition) for one in listed):
        raise InputError("conditions as text or built by `condition`, one or a list", repr(where), "correct `where`")
    return tuple(parse(one) if isinstance(one, str) else one for one in listed)


def squashed(text: str) -> str:
    """What is left of a value when case, spaces, commas, quotes and other marks do not count."""
    return "".join(filter(str.isalnum, text.casefold()))


def is_joined(text: str) -> bool:
    """Whether `text` looks like several conditions with `and` or `or` between them."""
    return _JOINED.search(text) is not None


def _meant(text: str) -> str:
    """What to do about a condition that cannot be read."""
    found = _WORD.match(text)
    said = "" if found is None else found["word"]
    word = said.lower()
    if word in _MEANT or (word in list(Operator) and said != word):
        return f"write `{_MEANT.get(word, word)}`"
    if word in ("like", "ilike", "contains", "matches"):
        return f"there is no `{word}`: values are compared whole; to look for words, search by --text"
    if word == "not":
        return "write `!=`, one condition for each value: all of them must hold"
    if word == "is":
        return "write `is null` or `is not null`, else = or !=, which a product without the value never meets"
    return APART if is_joined(text) else _QUOTE


def _text(value: object) -> str:
    if isinstance(value, dt.date):  # also datetime
        return value.isoformat()
    if (
        isinstance(value, bool | str | int | float)
        or type(value).__name__ == "Decimal"
        or isinstance(value, np.generic)
    ):
        return str(value)
    fix = "leave out None: null matches `is null` alone"
    raise InputError("a str, bool, int, float, Decimal, date or datetime", repr(value), fix)


def _written(value: str) -> str:
    found = _VALUE.fullmatch(value)
    return value if found is not None and found["plain"] == value else _quoted(value)


def _quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'
