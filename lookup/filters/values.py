"""Values of conditions: read as what an attribute is, and compared with its columns exactly.

Nothing is rounded: a number is the decimal that is written, and a column of whole numbers, decimals, dates or times is
compared in its own type with the nearest of its values below and above. A column of floats holds the decimals that its
floats are written as: `= 0.1` finds 0.1, and 0.1 + 0.2, which is written 0.30000000000000004, is not 0.3.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from decimal import Context, Decimal
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encoders.text import PLAIN_NAME, plain_name
from foundation.arrays import Mask
from lookup.filters.prices import PRICE, Price, parse_price


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
    NULL = "is null"
    NOT_NULL = "is not null"


ORDER = (Operator.LESS, Operator.AT_MOST, Operator.MORE, Operator.AT_LEAST, Operator.BETWEEN)


class Sort(StrEnum):
    """What an attribute is: columns of one sort compare, whatever their Arrow types."""

    NOTHING = "nothing"  # no value at all
    TEXT = "text"
    LIST = "list of texts"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIME = "date or time"
    INSTANT = "time with a zone"
    PRICE = "price"


_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?|[-+]?inf(?:inity)?", re.IGNORECASE)
_DECIMAL = re.compile(r"decimal(128|256)\(([0-9]+), ([0-9]+)\)")
_ZONED = re.compile(r"timestamp\[(s|ms|us|ns), tz=(.*)\]")
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_DAY = 86_400 * 10**9
FLOATS: dict[int, Any] = {16: np.float16, 32: np.float32, 64: np.float64}  # by bits
_EXACT = Context(prec=100)
_FINEST = ("ns", "us", "ms", "s")  # the coarser reach further


def sort_of(kind: pa.DataType) -> Sort:
    """What a column of type `kind` is; TypeError for a type that no attribute has."""
    types = pa.types
    if types.is_null(kind):
        return Sort.NOTHING
    if types.is_string(kind):
        return Sort.TEXT
    if types.is_list(kind) and types.is_string(kind.value_type):
        return Sort.LIST
    if types.is_boolean(kind):
        return Sort.BOOLEAN
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return Sort.NUMBER
    if types.is_date(kind) or types.is_timestamp(kind):
        return Sort.INSTANT if types.is_timestamp(kind) and kind.tz else Sort.TIME
    if kind == PRICE:
        return Sort.PRICE
    raise TypeError(f"expected the type of an attribute, came {kind}")


def type_name(kind: pa.DataType) -> str:
    """A type of an attribute as manifests and messages name it."""
    return {Sort.PRICE: "price", Sort.LIST: "list<string>"}.get(sort_of(kind)) or str(kind)


def type_named(name: str) -> pa.DataType:
    """The type that `type_name` names so."""
    if found := _DECIMAL.fullmatch(name):
        wide = pa.decimal128 if found[1] == "128" else pa.decimal256
        return wide(int(found[2]), int(found[3]))
    if found := _ZONED.fullmatch(name):
        return pa.timestamp(found[1], found[2])
    return {"price": PRICE, "list<string>": pa.list_(pa.string())}.get(name) or pa.type_for_alias(name)


def common_type(kinds: Sequence[pa.DataType]) -> pa.DataType | None:
    """The type that says what columns of all `kinds` hold together, null where none has a value; None where they do
    not compare.

    Whole numbers, decimals and floats are numbers, dates and times without a zone are times. Columns stay as they are:
    each is compared in its own type.
    """
    given = list(dict.fromkeys(kind for kind in kinds if not pa.types.is_null(kind)))
    if len(given) <= 1:
        return given[0] if given else pa.null()
    sorts = {sort_of(kind) for kind in given}
    if len(sorts) > 1:
        return None
    return {Sort.NUMBER: _common_number, Sort.TIME: _common_time, Sort.INSTANT: _common_time}[sorts.pop()](given)


def as_compared(column: pa.Array) -> pa.Array:
    """The column with its texts as they are compared, see `encoders.text.plain_name`; texts become a dictionary, in
    which an entry may come twice. Prices are without what was written.
    """
    if column.type == PRICE:
        parts = [pc.struct_field(column, name) for name in ("amount", "currency")]
        return pa.StructArray.from_arrays(parts, ["amount", "currency"])
    if pa.types.is_list(column.type):
        flat = column.flatten().dictionary_encode()
        return _listed(column, pa.DictionaryArray.from_arrays(flat.indices, _plain_names(flat.dictionary)))
    if not pa.types.is_string(column.type):
        return column
    encoded = column.dictionary_encode()
    return pa.DictionaryArray.from_arrays(encoded.indices, _plain_names(encoded.dictionary))


def read_value(text: str, kind: pa.DataType) -> Any:
    """What `text` says as a value of an attribute of type `kind`: a str, Decimal, bool, Price, or int of ns since 1970;
    ValueError where it is none.
    """
    sort = sort_of(kind)
    if sort in (Sort.TEXT, Sort.LIST):
        text.encode()  # UnicodeEncodeError is a ValueError
        return plain_name(text)
    if sort is Sort.NUMBER:
        if not _NUMBER.fullmatch(text.strip()):
            raise ValueError(f"no number: {text!r}")
        return Decimal(text.strip())
    if sort is Sort.PRICE:
        price = parse_price(text, ".")
        if price is None:
            raise ValueError(f"no price: {text!r}")
        return price
    if sort is Sort.BOOLEAN:
        return pa.scalar(text, pa.string()).cast(pa.bool_()).as_py()
    return _nanoseconds(text, kind.tz if sort is Sort.INSTANT else None)


def example_of(kind: pa.DataType) -> str:
    """What a value of this type looks like."""
    if pa.types.is_date(kind):
        return "a date such as 2026-11-21"
    return {
        Sort.BOOLEAN: "true or false",
        Sort.TIME: "a time such as 2026-11-21T08:30:00",
        Sort.INSTANT: "a time such as 2026-11-21T08:30:00Z",
        Sort.NUMBER: "a number such as 19.99",
        Sort.PRICE: "a price such as 19.99 or 19.99 USD",
    }.get(sort_of(kind), "a string of Unicode")


def matching(operator: Operator, column: pa.Array, values: Sequence[Any]) -> Mask:
    """(n,) bool: which values of a column, as `as_compared` gives it, match; `values` are as `read_value` gives them.

    What is null or NaN matches `is null` and nothing else, not even `!=`. A list matches a text that it holds.
    """
    if pa.types.is_null(column.type):
        return np.full(len(column), operator is Operator.NULL)
    if pa.types.is_struct(column.type):
        return _priced(operator, column, values)
    if pa.types.is_dictionary(column.type):
        found = np.append(matching(operator, column.dictionary, values), operator is Operator.NULL)
        return np.asarray(found[column.indices.fill_null(len(column.dictionary)).to_numpy(zero_copy_only=False)])
    valid = _bool(pc.is_valid(column))
    if pa.types.is_floating(column.type):
        valid &= ~np.isnan(column.to_numpy(zero_copy_only=False))
    if operator in (Operator.NULL, Operator.NOT_NULL):
        return valid if operator is Operator.NOT_NULL else ~valid
    if operator in ORDER:
        return valid & _ordered(operator, column, values)
    return valid & (_among(column, values) ^ (operator is Operator.NOT_EQUAL))


# --- inside ---


def _common_number(kinds: Sequence[pa.DataType]) -> pa.DataType:
    if any(map(pa.types.is_floating, kinds)):
        return pa.float64()
    decimals = [kind for kind in kinds if pa.types.is_decimal(kind)]
    whole = [kind for kind in kinds if pa.types.is_integer(kind)]
    signed = any(map(pa.types.is_signed_integer, whole))
    bits = max(
        (2 * k.bit_width if signed and pa.types.is_unsigned_integer(k) else k.bit_width for k in whole), default=8
    )
    if not decimals and bits <= 64:
        return {(b, s): k for b, s, k in _WHOLE}[bits, signed]
    scale = max((kind.scale for kind in decimals), default=0)
    digits = max(
        [kind.precision - kind.scale for kind in decimals] + [len(str(_ends(kind, kind)[1])) for kind in whole]
    )
    digits = min(digits + scale, 76)
    return pa.decimal128(digits, scale) if digits <= 38 else pa.decimal256(digits, scale)


_WHOLE = (
    *((8, True, pa.int8()), (16, True, pa.int16()), (32, True, pa.int32()), (64, True, pa.int64())),
    *((8, False, pa.uint8()), (16, False, pa.uint16()), (32, False, pa.uint32()), (64, False, pa.uint64())),
)


def _common_time(kinds: Sequence[pa.DataType]) -> pa.DataType:
    times = [kind for kind in kinds if pa.types.is_timestamp(kind)]
    if not times:
        return pa.date32()
    zones = {kind.tz for kind in times}
    unit = min((kind.unit for kind in times), key=_FINEST.index)
    return pa.timestamp(unit, zones.pop() if len(zones) == 1 else "UTC")


def _plain_names(texts: pa.Array) -> pa.Array:
    plain = pc.fill_null(pc.match_substring_regex(texts, PLAIN_NAME), True)
    if pc.all(plain).as_py():
        return texts
    rest = [plain_name(text) for text in texts.filter(pc.invert(plain)).to_pylist()]
    return pc.replace_with_mask(texts, pc.invert(plain), pa.array(rest, pa.string()))


def _listed(column: pa.Array, values: pa.Array) -> pa.Array:
    """A list array of `values` as `column` has its own."""
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, values, mask=pc.is_null(column))


def _nanoseconds(text: str, zone: str | None) -> int:
    for unit in _FINEST:
        try:
            found = pa.scalar(text, pa.string()).cast(pa.timestamp(unit, zone))
        except pa.ArrowInvalid as err:  # also what this unit does not reach
            problem = err
        else:
            return int(found.value) * _NANOSECONDS[unit]
    raise problem


def _priced(operator: Operator, column: pa.StructArray, prices: Sequence[Price]) -> Mask:
    """Of prices: a value with a currency meets those of it alone, one without is compared with all amounts."""
    amount, currency = column.field("amount"), column.field("currency")

    def inside(price: Price) -> Mask:
        return _bool(pc.equal(currency, price.currency)) if price.currency else np.ones(len(column), np.bool_)

    if operator in (Operator.EQUAL, Operator.IN):
        each = (matching(Operator.EQUAL, amount, [price.amount]) & inside(price) for price in prices)
        return functools.reduce(np.logical_or, each)
    found = matching(operator, amount, [price.amount for price in prices])
    return found & inside(prices[0]) if prices else found


def _among(column: pa.Array, values: Sequence[Any]) -> Mask:
    """Which values are one of `values`; of lists, which hold one."""
    kind = column.type
    if pa.types.is_list(kind):
        inside = matching(Operator.IN, column.flatten(), values)
        rows = pc.list_parent_indices(column).to_numpy(zero_copy_only=False)[inside]
        found = np.zeros(len(column), np.bool_)
        found[rows] = True
        return found
    if pa.types.is_string(kind) or pa.types.is_boolean(kind):
        return _bool(pc.is_in(column, pa.array(values, kind)))
    raw = _raw(column)
    exact = [low for low, high in (_neighbours(value, kind, raw.type) for value in values) if low == high]
    if pa.types.is_floating(kind):  # is_in tells 0 from -0
        none = np.zeros(len(column), np.bool_)
        return functools.reduce(np.logical_or, (_bool(pc.equal(raw, pa.scalar(v, raw.type))) for v in exact), none)
    return _bool(pc.is_in(raw, pa.array(exact, raw.type)))


_WITHIN: dict[Operator, tuple[Callable[[Any, Any], Any], int]] = {  # how, and with which neighbour: below, above
    Operator.AT_MOST: (pc.less_equal, 0),
    Operator.LESS: (pc.less, 1),  # less than the value above is at most the one below
    Operator.AT_LEAST: (pc.greater_equal, 1),
    Operator.MORE: (pc.greater, 0),
}


def _ordered(operator: Operator, column: pa.Array, values: Sequence[Any]) -> Mask:
    if operator is Operator.BETWEEN:
        least, most = values
        return _ordered(Operator.AT_LEAST, column, [least]) & _ordered(Operator.AT_MOST, column, [most])
    raw = _raw(column)
    compare, side = _WITHIN[operator]
    bound = _neighbours(values[0], column.type, raw.type)[side]
    if bound is None:  # no value of this type is there: all are on the other side
        return np.full(len(column), operator in (Operator.LESS, Operator.MORE))
    return _bool(compare(raw, pa.scalar(bound, raw.type)))


def _raw(column: pa.Array) -> pa.Array:
    """What Arrow compares for a column: whole numbers for dates and times, a wider float for float16."""
    kind = column.type
    if pa.types.is_date32(kind):
        return column.cast(pa.int32())
    if pa.types.is_date64(kind) or pa.types.is_timestamp(kind):
        return column.cast(pa.int64())
    return column.cast(pa.float32()) if pa.types.is_float16(kind) else column


def _neighbours(value: Decimal | int, kind: pa.DataType, raw: pa.DataType) -> tuple[Any, Any]:
    """The greatest value of type `kind`, as `raw` has it, that is at most `value`, and the least that is at least it:
    equal where it is one. None where there is none.
    """
    if pa.types.is_floating(kind):
        return _nearest_float(Decimal(value), kind)
    least, most = _ends(kind, raw)
    below: int | None
    above: int | None
    if isinstance(value, Decimal) and value.is_infinite():
        below, above = (most, None) if value > 0 else (None, least)
    else:
        over, under = value.as_integer_ratio()
        if isinstance(value, Decimal):
            over *= 10**kind.scale if pa.types.is_decimal(kind) else 1  # Parquet has no negative scales
        else:
            under = _DAY if pa.types.is_date32(kind) else _NANOSECONDS[getattr(kind, "unit", "ms")]
        low, high = over // under, -(-over // under)
        below, above = min(low, most) if low >= least else None, max(high, least) if high <= most else None
    if not pa.types.is_decimal(kind):
        return below, above
    near = [None if one is None else Decimal(one).scaleb(-kind.scale, _EXACT) for one in (below, above)]
    return near[0], near[1]


def _nearest_float(value: Decimal, kind: pa.DataType) -> tuple[float, float]:
    if value.is_infinite():
        return float(value), float(value)
    nearest = pa.scalar(str(value), pa.string()).cast(kind).as_py()  # rounded once; by way of a float64 it were twice
    if not np.isinf(nearest):
        return _around(value, nearest, FLOATS[kind.bit_width])
    most = float(np.finfo(np.dtype(FLOATS[kind.bit_width])).max)
    return (most, nearest) if value > 0 else (nearest, -most)


def _around(value: Decimal, nearest: float, kind: Any) -> tuple[float, float]:
    """Twice the `nearest` float of NumPy's type `kind` where `value` is what it is, or how it is written, also as a
    float64; else it and its neighbour on the other side of `value`.
    """
    written = Decimal(str(kind(nearest)))
    if value in (written, Decimal(nearest), Decimal(repr(nearest))):
        return nearest, nearest
    with np.errstate(over="ignore"):
        other = float(np.nextafter(kind(nearest), kind(np.inf if value > written else -np.inf)))
    return min(nearest, other), max(nearest, other)


def _ends(kind: pa.DataType, raw: pa.DataType) -> tuple[int, int]:
    """The least and the greatest whole number that a column of this type holds."""
    if pa.types.is_decimal(kind):
        return -(10**kind.precision) + 1, 10**kind.precision - 1
    bits = raw.bit_width
    return (0, 2**bits - 1) if pa.types.is_unsigned_integer(raw) else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _bool(mask: pa.Array) -> Mask:
    """A mask of Arrow's; null is false."""
    return np.asarray(pc.fill_null(mask, False).to_numpy(zero_copy_only=False), dtype=np.bool_)
