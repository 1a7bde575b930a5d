"""Conditions on attributes: what they match, held against plain Python, and what they refuse."""

from __future__ import annotations

import datetime as dt
import math
import operator
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.errors import InputError
from lookup.filters.where import Condition, Operator, as_compared, common_type, condition, parse, parsed

# --- what matches ---

ZONE = dt.timezone(dt.timedelta(hours=2))
TIMES = st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2040, 1, 1))
SOME = st.sampled_from  # few values, so that they meet
CENTS = [Decimal("19.99"), Decimal("0.10"), Decimal("4.35"), Decimal("-0.07")]
VALUES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "string": (pa.string(), SOME(["", "a", "B", "b, c", 'q"uote', "茶壶", "in"]) | st.text('aB<é™";', max_size=3)),
    "int8": (pa.int8(), st.integers(-128, 127)),
    "int64": (pa.int64(), SOME([-1, 0, 1, 2**60]) | st.integers(-(2**63), 2**63 - 1)),
    "uint64": (pa.uint64(), SOME([0, 2**63]) | st.integers(0, 2**64 - 1)),
    "float64": (pa.float64(), SOME([0.0, -0.0, math.nan, 19.99, math.inf]) | st.floats()),
    "float32": (pa.float32(), SOME([0.0, -0.0, math.nan]) | st.floats(width=32)),
    "float16": (pa.float16(), st.floats(width=16)),
    "decimal": (pa.decimal128(10, 2), SOME(CENTS) | st.decimals(-99999, 99999, places=2)),
    "wide decimal": (pa.decimal256(60, 9), st.decimals(-(10**40), 10**40, places=9)),
    "bool": (pa.bool_(), st.booleans()),
    "nanoseconds": (pa.timestamp("ns"), TIMES),
    "seconds": (pa.timestamp("s"), TIMES.map(lambda one: one.replace(microsecond=0))),
    "date": (pa.date32(), SOME([dt.date(2026, 11, 21), dt.date(2026, 11, 22)]) | TIMES.map(dt.datetime.date)),
    "time": (pa.timestamp("us"), SOME([dt.datetime(2026, 11, 21, 8, 30)]) | TIMES),
    "zoned": (pa.timestamp("us", "UTC"), TIMES.map(lambda one: one.replace(tzinfo=ZONE))),
}
COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def matches(value: Any, how: str, values: list[Any]) -> bool:
    """Plain Python: null and NaN match nothing."""
    if value is None or value != value:
        return False
    if how == "in":
        return value in values
    if how == "between":
        return bool(values[0] <= value <= values[1])
    return COMPARED[how](value, values[0])


@st.composite
def questions(draw: st.DrawFn, name: str) -> tuple[pa.Array, list[Any], str, list[Any]]:
    """A column, its values, an operator and what they are compared with, often values of the column."""
    kind, one = VALUES[name]
    values = draw(st.lists(one | st.none(), max_size=12))
    known = [value for value in values if value is not None and value == value]
    asked = (SOME(known) | one if known else one).filter(lambda value: value == value)
    how = draw(SOME(["=", "!=", "in"] if name in ("bool", "string") else [*COMPARED, "in", "between"]))
    counts = {"in": (1, 4), "between": (2, 2)}.get(how, (1, 1))
    wanted = draw(st.lists(asked, min_size=counts[0], max_size=counts[1]))
    return pa.array(values, kind), values, how, sorted(wanted) if how == "between" else wanted


@pytest.mark.parametrize("name", VALUES)
@given(drawn=st.data())
def test_a_condition_matches_what_python_says(name: str, drawn: st.DataObject) -> None:
    """Every operator on every type, built by hand and read from its text, on plain and on dictionary columns."""
    column, values, how, wanted = drawn.draw(questions(name))
    expected = [matches(value, how, wanted) for value in values]
    by_hand = condition("x", how, *wanted)
    for one in (by_hand, parse(str(by_hand))):
        assert one.mask(column, column.type).tolist() == expected
    if name in ("string", "int64"):
        assert by_hand.mask(column.dictionary_encode(), column.type).tolist() == expected
        sliced = pa.concat_arrays([column, column])[len(values) :]
        assert by_hand.mask(sliced, column.type).tolist() == expected
    given = [value is not None and value == value for value in values]
    assert condition("x", "is not null").mask(column, column.type).tolist() == given
    assert condition("x", "is null").mask(column, column.type).tolist() == [not one for one in given]


NUMBERS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    name: VALUES[name] for name in ("int8", "int64", "uint64", "float64", "float32", "decimal", "wide decimal")
}
WRITTEN = SOME(["19.99", "19.990000000000002", "0.3", "1e3", "2.5e-1", "-0", "18446744073709551615.5", "1e300", "-inf"])


@pytest.mark.parametrize("name", NUMBERS)
@given(drawn=st.data())
def test_numbers_compare_with_any_decimal_exactly(name: str, drawn: st.DataObject) -> None:
    """Whatever digits are written: a column of whole numbers and decimals as fractions compare, one of floats as the
    decimals that its floats are written as, by themselves or as the next wider float, and as those that they are.
    """
    kind, one = NUMBERS[name]
    values = drawn.draw(st.lists(one | st.none(), max_size=8))
    known = [str(value) for value in values if value is not None and value == value]
    text = drawn.draw(WRITTEN | st.decimals(allow_nan=False).map(str) | (SOME(known) if known else WRITTEN))
    wanted, column = Decimal(text), pa.array(values, kind)
    held = column.to_pylist()
    if name.startswith("float"):
        held = [_as_asked(value, np.dtype(name).type, wanted) for value in held]
    for how in COMPARED:
        expected = [matches(value, how, [wanted]) for value in held]
        assert Condition("x", Operator(how), (text,)).mask(column, kind).tolist() == expected, how


def _as_asked(value: float | None, kind: Any, wanted: Decimal) -> Decimal | float | None:
    if value is None or math.isnan(value):
        return value
    return wanted if wanted in (Decimal(value), Decimal(repr(value))) else Decimal(str(kind(value)))


@pytest.mark.parametrize(("kind", "whole"), [(pa.float64(), 2**53), (pa.float32(), 2**24), (pa.float16(), 2**11)])
def test_a_number_that_no_float_is_finds_none(kind: pa.DataType, whole: int) -> None:
    """`=` misses both of its neighbours, `<` and `>` have one each; a price is found as it is written."""
    column = pa.array([np.dtype(f"float{kind.bit_width}").type(one) for one in (whole, whole + 2, 12.99)], kind)
    for how, expected in (("=", []), ("!=", [0, 1, 2]), ("<", [0, 2]), ("<=", [0, 2]), (">", [1]), (">=", [1])):
        assert np.flatnonzero(Condition("x", Operator(how), (str(whole + 1),)).mask(column, kind)).tolist() == expected
    for how, expected in (("=", [2]), ("<", []), ("<=", [2]), (">", [0, 1])):
        assert np.flatnonzero(Condition("x", Operator(how), ("12.99",)).mask(column, kind)).tolist() == expected


def test_every_cent_is_compared_exactly() -> None:
    """All prices from 0.01 to 500.00 as decimals, each asked for by what is written on its label."""
    cents = pa.array(range(1, 50_001))
    labels = [f"{cent // 100}.{cent % 100:02}" for cent in range(1, 50_001)]
    column = pa.array(map(Decimal, labels), pa.decimal128(10, 2))
    assert Condition("x", Operator.IN, tuple(labels)).mask(column, column.type).all()
    for cent in range(1, 50_001, 7):  # 7 and 50,000 have no common divisor: every ending of a price comes
        label = labels[cent - 1]
        assert np.flatnonzero(Condition("x", Operator.EQUAL, (label,)).mask(column, column.type)).tolist() == [cent - 1]
        assert Condition("x", Operator.AT_MOST, (label,)).mask(column, column.type).sum() == cent
        assert Condition("x", Operator.MORE, (label,)).mask(column, column.type).sum() == len(cents) - cent


@pytest.mark.parametrize(
    ("written", "asked", "same"),
    [
        ("Acme™", "Acme™", True),
        ("Acme™", "AcmeTM", False),
        ("ＳＯＮＹ", "SONY", False),
        ("10 m²", "10 m2", False),
        ("Acme", "ACME", False),
        ("Café", "Cafe\u0301", True),
        ("Johnson &amp; Johnson", "Johnson & Johnson", True),
        ("Johnson & Johnson", "Johnson &amp;amp; Johnson", True),
        ("A&#38;B", "A&B", True),
        ("\ufeffZeta\u200b", "Zeta", True),
        ("Home\u00a0 & \tGarden ", "Home & Garden", True),
        ("<b>Zeta</b>", "Zeta", False),
        ("", " ", True),
    ],
)
def test_texts_compare_by_what_is_seen(written: str, asked: str, same: bool) -> None:
    """Entities, composed letters, invisible characters and spaces do not count, on either side; what looks otherwise
    is another value. So are the elements of lists.
    """
    for column in (pa.array([written, None]), pa.array([["other", written, None], None], pa.list_(pa.string()))):
        for how, expected in (("=", same), ("in", same), ("!=", not same)):
            found = condition("x", how, asked).mask(as_compared(column), column.type)
            assert found.tolist() == [expected, False]


@given(
    lists=st.lists(st.none() | st.lists(st.none() | SOME(["a", "b", "c"]), max_size=3), max_size=6),
    wanted=st.lists(SOME(["a", "b", "d"]), min_size=1, max_size=2),
)
def test_a_list_is_equal_to_what_it_holds(lists: list[list[str | None] | None], wanted: list[str]) -> None:
    """`=` and `in`: it holds one; `!=`: it holds it not. An empty list is a value, null is none."""
    column = as_compared(pa.array(lists, pa.list_(pa.string())))
    kind = pa.list_(pa.string())
    one = condition("x", "in", *wanted).mask(column, kind)
    assert one.tolist() == [listed is not None and bool(set(wanted) & set(listed)) for listed in lists]
    one = condition("x", "!=", wanted[0]).mask(column, kind)
    assert one.tolist() == [listed is not None and wanted[0] not in listed for listed in lists]
    assert condition("x", "is null").mask(column, kind).tolist() == [listed is None for listed in lists]
    half = len(lists) // 2
    assert condition("x", "=", wanted[0]).mask(column[half:], kind).tolist() == [
        listed is not None and wanted[0] in listed for listed in lists[half:]
    ]


def test_times_compare_in_any_unit() -> None:
    """A date, seconds and nanoseconds beside one another, each with the time that is written, to the nanosecond."""
    kind = common_type([pa.date32(), pa.timestamp("s"), pa.timestamp("ns")])
    assert kind == pa.timestamp("ns")
    late = pa.array([0, 1, 10**9], pa.timestamp("ns"))
    assert condition("x", ">", "1970-01-01T00:00:00.000000001").mask(late, kind).tolist() == [False, False, True]
    seconds = pa.array([0, 1, 2**40], pa.timestamp("s"))  # the last is of the year 36812
    assert condition("x", ">", "1970-01-01T00:00:00.5").mask(seconds, kind).tolist() == [False, True, True]
    assert condition("x", "=", "1970-01-01T00:00:00.5").mask(seconds, kind).tolist() == [False] * 3
    days = pa.array([0, 1], pa.date32())
    assert condition("x", "<", "1970-01-01T12:00").mask(days, kind).tolist() == [True, False]
    berlin = pa.array([0, 3600], pa.timestamp("s", "Europe/Berlin"))
    assert condition("x", ">=", "1970-01-01T02:00:00+01:00").mask(berlin, berlin.type).tolist() == [False, True]


@given(values=st.lists(st.none() | st.integers(-5, 5)), bound=st.floats(-6, 6))
def test_whole_numbers_and_fractions_compare(values: list[int | None], bound: float) -> None:
    """Where some files have whole numbers and some fractions, both are compared as fractions."""
    kind = common_type([pa.int32(), pa.null(), pa.float64()])
    assert kind == pa.float64()
    found = condition("x", "<", bound).mask(pa.array(values, pa.int32()), kind)
    assert found.tolist() == [value is not None and value < bound for value in values]


BIG = [-(2**63), -1, 0, 2**63 - 1, 2**63, 2**64 - 1]  # some fit into int64 alone, some into uint64 alone


@pytest.mark.parametrize("signed", [pa.int64(), pa.int32()])
@pytest.mark.parametrize("how", [*COMPARED, "in"])
def test_signed_and_unsigned_whole_numbers_compare(signed: pa.DataType, how: str) -> None:
    """A shard of int64 beside one of uint64, whose values over 2^63 - 1 are no int64: as Python compares them."""
    kind = common_type([signed, pa.null(), pa.uint64()])
    assert kind is not None
    least = -(2 ** (signed.bit_width - 1))
    for column in (pa.array([x for x in BIG if least <= x < -least], signed), pa.array(BIG[2:], pa.uint64())):
        for value in BIG:
            found = condition("x", how, value).mask(column, kind).tolist()
            assert found == [matches(one, how, [value]) for one in column.to_pylist()]
    assert condition("x", "<", 1.5).mask(pa.array([1, 2], pa.uint64()), kind).tolist() == [True, False]


def test_types_that_do_not_compare_have_no_common_one() -> None:
    """Text and numbers, times and numbers; a column without any value goes with all."""
    assert common_type([pa.string(), pa.float64()]) is None
    assert common_type([pa.bool_(), pa.int64()]) is None
    assert common_type([pa.int8(), pa.decimal128(10, 2)]) == pa.decimal128(10, 2)
    assert common_type([pa.int64(), pa.decimal128(10, 2)]) == pa.decimal128(21, 2)
    assert common_type([pa.uint8(), pa.int16(), pa.uint16()]) == pa.int32()
    assert common_type([pa.decimal128(38, 0), pa.decimal128(10, 9)]) == pa.decimal256(47, 9)
    assert common_type([pa.list_(pa.string()), pa.string()]) is None
    assert common_type([pa.timestamp("us"), pa.timestamp("us", "UTC")]) is None
    assert common_type([pa.null(), pa.string()]) == pa.string()
    assert common_type([pa.null()]) == common_type([]) == pa.null()


def test_a_column_without_values_matches_nothing() -> None:
    """Type null: of a file where the column is empty."""
    for how, values in (("=", [1]), ("!=", [1]), ("in", [1, 2]), ("between", [1, 2])):
        for kind in (pa.float64(), pa.null()):
            assert condition("x", how, *values).mask(pa.nulls(3), kind).tolist() == [False] * 3


def test_values_of_python_are_taken_as_they_are() -> None:
    """bool, numpy numbers, Decimal, dates: the text of each is read as the attribute's type."""
    assert condition("x", "=", True) == parse("x = True")
    assert condition("x", "<", np.float32(3.1)).mask(pa.array([3.0, 3.1, 3.2], pa.float32()), pa.float32()).sum() == 1
    assert condition("x", "in", Decimal("1.50"), 2).mask(pa.array([1.5, 2.0, 3.0]), pa.float64()).sum() == 2
    day = condition("x", ">=", dt.date(2026, 11, 21))
    assert day.mask(pa.array([dt.datetime(2026, 11, 21), dt.datetime(2026, 11, 20, 23)]), pa.timestamp("us")).sum() == 1


# --- how it is written ---


@pytest.mark.parametrize(
    ("text", "attribute", "how", "values"),
    [
        ("price < 20", "price", "<", ("20",)),
        ("price<=20", "price", "<=", ("20",)),
        ("  price   >=\t-1e3 ", "price", ">=", ("-1e3",)),
        ("brand = Acme Tools", "brand", "=", ("Acme Tools",)),
        ('brand = "Smith, Jones"', "brand", "=", ("Smith, Jones",)),
        ('brand = " ""A"" "', "brand", "=", (' "A" ',)),
        ('brand != ""', "brand", "!=", ("",)),
        ('brand in Acme, "Smith, Jones" ,Zeta', "brand", "in", ("Acme", "Smith, Jones", "Zeta")),
        ("price between 10, 20", "price", "between", ("10", "20")),
        ('"unit price" = 5', "unit price", "=", ("5",)),
        ('"unit price"in 5', "unit price", "in", ("5",)),
        ("begin = in", "begin", "=", ("in",)),
        ("in in in", "in", "in", ("in",)),
        ('note = "two\nlines"', "note", "=", ("two\nlines",)),
        ("brand is null", "brand", "is null", ()),
        ('"unit price" is  not\tnull ', "unit price", "is not null", ()),
        ("is is null", "is", "is null", ()),
        ("标题 = 茶壶", "标题", "=", ("茶壶",)),
    ],
)
def test_conditions_are_read(text: str, attribute: str, how: str, values: tuple[str, ...]) -> None:
    """Spaces around do not count; quotes hold commas, spaces and doubled quotes."""
    assert parse(text) == Condition(attribute, Operator(how), values)


@given(
    attribute=st.text(min_size=1),
    how=SOME(list(Operator)),
    values=st.lists(st.text(), min_size=2, max_size=2),
)
def test_a_condition_is_read_back_from_its_text(attribute: str, how: Operator, values: list[str]) -> None:
    """Whatever stands in names and values."""
    count = {Operator.IN: 2, Operator.BETWEEN: 2, Operator.NULL: 0, Operator.NOT_NULL: 0}.get(how, 1)
    one = Condition(attribute, how, tuple(values[:count]))
    assert parse(str(one)) == one


def test_one_condition_or_several() -> None:
    """Callers may write one text, one condition, or a list of both."""
    one = parse("price < 20")
    assert parsed("price < 20") == parsed(one) == parsed([one]) == parsed(["price < 20"]) == (one,)
    assert parsed(()) == ()


# --- what is refused ---


@pytest.mark.parametrize(
    "text",
    [
        *("", "price", "price <", "< 20", "price 20", "price ! 20", "price == 20", "price =< 20", "price inside"),
        *("price in", "price in ,", "price in 1,,2", "price in 1,", "price between 1 20", "price between 1, 2, 3"),
        *("brand = Acme, Zeta", 'brand = "Acme', 'brand = 5"', 'brand = "a" b', "unit price = 5", "brandin Acme"),
        *("brand is", "brand is nothing", "brand is null, a", "brand is null a", "brand is not 5"),
    ],
)
def test_what_is_no_condition_is_refused(text: str) -> None:
    """Each with what was expected, what came and what to do."""
    with pytest.raises(InputError) as caught:
        parse(text)
    assert all((caught.value.expected, caught.value.came, caught.value.fix))


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (pa.float64(), "x < cheap", "a number such as 19.99 for x, which is double"),
        (pa.float64(), "x = nan", "a number"),
        (pa.int64(), "x = 1.5e", "a number"),
        (pa.decimal128(10, 2), "x = 12,5", "one value"),
        (pa.decimal128(10, 2), "x = 1_000", "a number"),
        (pa.bool_(), "x = yes", "true or false"),
        (pa.bool_(), "x < true", "=, !=, in or"),
        (pa.string(), "x < 20", "=, !=, in or"),
        (pa.string(), "x between 10, 20", "x (text)"),
        (pa.list_(pa.string()), "x > red", "x (list of texts)"),
        (pa.date32(), "x > yesterday", "a date such as"),
        (pa.timestamp("us"), "x > 8:30", "a time such as"),
        (pa.timestamp("us", "UTC"), "x > 2026-11-21T08:30:00", "08:30:00Z"),
        (pa.string(), "x = \udcff", "a string"),
        (pa.float64(), "x between 20, 10", "the least value first"),
    ],
)
def test_values_that_do_not_fit_are_refused(kind: pa.DataType, text: str, said: str) -> None:
    """Also where no row has a value to compare with."""
    for column in (pa.nulls(2, kind), pa.nulls(2), pa.nulls(0, kind)):
        with pytest.raises(InputError) as caught:
            parse(text).mask(column, kind)
        assert said in caught.value.expected
        assert caught.value.fix


def test_values_of_python_that_are_none_are_refused() -> None:
    """None, bytes and lists; and operators that there are not."""
    for wrong in (None, b"a", [1]):
        with pytest.raises(InputError, match="null matches `is null` alone"):
            condition("x", "=", wrong)
    with pytest.raises(InputError, match="between"):
        condition("x", "==", 1)
