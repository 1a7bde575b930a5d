"""Conditions on attributes: `price < 20`, `brand in Acme, "Smith, Jones"`, `price between 10, 20`.

    condition = parse('brand in Acme, "Smith, Jones"')
    mask = condition.mask(column, column.type)

Values are text and are read as the attribute's type: a number, true or false, a date or time as ISO 8601 writes it
(2026-11-21, 2026-11-21T08:30), or a string, compared letter by letter as hits show it. Null and NaN match nothing, not
even `!=`.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lookup.errors import InputError

Mask = npt.NDArray[np.bool_]


class Operator(StrEnum):
    """How an attribute is compared with the values of a condition."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="
    IN = "in"
    BETWEEN = "between"  # both ends count


_COMPARED: dict[Operator, Callable[[Any, Any], Any]] = {
    Operator.EQUAL: pc.equal,
    Operator.NOT_EQUAL: pc.not_equal,
    Operator.LESS: pc.less,
    Operator.AT_MOST: pc.less_equal,
    Operator.MORE: pc.greater,
    Operator.AT_LEAST: pc.greater_equal,
}
_WHOLE = pa.decimal128(20, 0)  # holds every int64 and every uint64
_UNORDERED = (Operator.EQUAL, Operator.NOT_EQUAL, Operator.IN)
# The name ends where the operator begins; in quotes it may hold anything, a quote is doubled. So are values read.
_CONDITION = re.compile(
    r'\s*(?:"(?P<quoted>(?:[^"]|"")+)"|(?P<name>[^\s"=!<>]+))\s*'
    r"(?P<operator><=|>=|!=|=|<|>|(?<=[\s\"])(?:in|between)\b)\s*(?P<values>.*)",
    re.DOTALL,
)
_VALUE = re.compile(r'\s*(?:"(?P<quoted>(?:[^"]|"")*)"|(?P<plain>[^\s",=!<>](?:[^",]*[^\s",])?))\s*(?P<more>,|\Z)')
_PLAIN_NAME = re.compile(r'[^\s"=!<>]+')
_FORM = (
    "a condition such as 'price < 20', 'price between 10, 20', 'brand in Acme, Zeta' or 'brand = \"Smith, Jones\"' "
    "(= != < <= > >= in between)"
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
        if self.operator is Operator.BETWEEN:
            wanted, fits, fix = "two values", count == 2, "write the least and the most, with a comma between them"
        elif self.operator is Operator.IN:
            wanted, fits, fix = "one value or more", count > 0, "write the values with commas between them"
        else:
            wanted, fits, fix = "one value", count == 1, f"use `in` for a set; {_QUOTE}"
        if not fits:
            raise InputError(f"{wanted} for `{self.operator}`", f"{count} in: {self}", fix)

    def __str__(self) -> str:
        """The condition as `parse` reads it."""
        name = self.attribute if _PLAIN_NAME.fullmatch(self.attribute) else _quoted(self.attribute)
        return f"{name} {self.operator} {', '.join(map(_written, self.values))}"

    def mask(self, column: pa.Array, kind: pa.DataType) -> Mask:
        """(n,) bool: which values match. `column` is of type `kind`, of one that fits into it, a dictionary of such,
        or null; InputError where a value cannot be read as `kind`.
        """
        if pa.types.is_null(kind):
            return np.zeros(len(column), np.bool_)
        values = [self._read(text, kind) for text in self.values]
        if pa.types.is_float16(kind):  # Arrow does not compare these
            kind, values = pa.float32(), [value.cast(pa.float32()) for value in values]
        if self.operator is Operator.BETWEEN and not pc.less_equal(*values).as_py():
            raise InputError(f"the least value first for {self.attribute}", str(self), "swap the values")
        if pa.types.is_null(column.type):
            return np.zeros(len(column), np.bool_)
        if pa.types.is_dictionary(column.type):
            found = np.append(self.mask(column.dictionary, kind), False)
            return np.asarray(found[column.indices.fill_null(len(column.dictionary)).to_numpy(zero_copy_only=False)])
        matching = self._compared(column.cast(kind, safe=False), values)
        return np.asarray(matching.fill_null(False).to_numpy(zero_copy_only=False), dtype=np.bool_)

    def _compared(self, column: pa.Array, values: Sequence[pa.Scalar]) -> pa.Array:
        if self.operator is Operator.BETWEEN:
            return pc.and_(pc.greater_equal(column, values[0]), pc.less_equal(column, values[1]))
        if self.operator is Operator.IN:
            if not pa.types.is_floating(column.type):
                return pc.is_in(column, pa.array(values, column.type))
            return functools.reduce(pc.or_, (pc.equal(column, value) for value in values))  # is_in tells 0 from -0
        found = _COMPARED[self.operator](column, values[0])
        if self.operator is Operator.NOT_EQUAL and pa.types.is_floating(column.type):
            found = pc.and_(found, pc.equal(column, column))  # NaN is unequal to everything
        return found

    def _read(self, text: str, kind: pa.DataType) -> pa.Scalar:
        if pa.types.is_nested(kind):
            fix = "filter by an attribute that has one value a product"
            raise InputError(
                "an attribute of strings, numbers, booleans, dates or times", f"{self.attribute}: {kind}", fix
            )
        if pa.types.is_boolean(kind) and self.operator not in _UNORDERED:
            fix = "write `= true` or `= false`"
            raise InputError(f"=, != or in for {self.attribute}, which is {kind}", f"`{self.operator}`", fix)
        try:
            value = pa.scalar(text, pa.string()).cast(kind)
            if pa.types.is_floating(kind) and np.isnan(value.as_py()):
                raise pa.ArrowInvalid("NaN is equal to nothing")
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeEncodeError) as err:
            fix = APART if is_joined(text) else _FIX
            raise InputError(
                f"{_example(kind)} for {self.attribute}, which is {kind}", f"{text!r} ({err})", fix
            ) from err
        return value


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
    at, more = 0, ","
    while more:
        value = _VALUE.match(rest, at)
        if value is None:
            raise InputError(_FORM, f"{text!r}, of which {rest[at:]!r} is not a value", _meant(text))
        values.append(value["plain"] if value["quoted"] is None else value["quoted"].replace('""', '"'))
        at, more = value.end(), value["more"]
    name = found["name"] or found["quoted"].replace('""', '"')
    return Condition(name, Operator(found["operator"]), tuple(values))


def parsed(where: Where) -> tuple[Condition, ...]:
    """Conditions, all of which must hold, from what callers write."""
    listed = [where] if isinstance(where, str | Condition) else where
    return tuple(parse(one) if isinstance(one, str) else one for one in listed)


def common_type(kinds: Sequence[pa.DataType]) -> pa.DataType | None:
    """The type that values of all `kinds` can be compared in, null where all are null; None where there is none.

    A catalog's files may differ: whole numbers here and fractions there, or, as type null, no value at all.
    """
    given = {kind for kind in kinds if not pa.types.is_null(kind)}
    if pa.uint64() in given and any(map(pa.types.is_signed_integer, given)) and all(map(pa.types.is_integer, given)):
        return _WHOLE  # Arrow would take int64, in which the largest of uint64 are negative
    try:
        fields = [pa.schema([("", kind)]) for kind in kinds]
        return pa.unify_schemas(fields, promote_options="permissive").field(0).type if fields else pa.null()
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return None


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
        return "there is no `is`: write = or !=, which a product without the value never meets"
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
    fix = "leave out None: null matches nothing"
    raise InputError("a str, bool, int, float, Decimal, date or datetime", repr(value), fix)


def _written(value: str) -> str:
    found = _VALUE.fullmatch(value)
    return value if found is not None and found["plain"] == value else _quoted(value)


def _quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def _example(kind: pa.DataType) -> str:
    """What a value of this type looks like."""
    if pa.types.is_integer(kind) or kind == _WHOLE:
        return "a whole number"
    if pa.types.is_boolean(kind):
        return "true or false"
    if pa.types.is_date(kind):
        return "a date such as 2026-11-21"
    if pa.types.is_timestamp(kind):
        return "a time such as 2026-11-21T08:30:00" + ("Z" if kind.tz else "")
    return "a string of Unicode" if pa.types.is_string(kind) else "a number such as 19.99"
