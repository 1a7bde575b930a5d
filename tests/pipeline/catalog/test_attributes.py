"""Attributes from the catalog's Parquet to a hit and its filters: nothing of them changes on the way."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.support.command import run_titles, told, vitrine, write_titles

EXACT = "index.exact_below=60000"


def store_of(folder: Path, *more: str, **columns: Any) -> Path:
    """The store of a run on as many products as the columns, all of them attributes, have values."""
    rows = len(next(iter(columns.values())))
    catalog = write_titles(folder / "c.parquet", ["red dress"] * rows, 20_000, **columns)
    done = run_titles(catalog, folder / "store", f"catalog.attributes=[{','.join(columns)}]", *more)
    assert done.exit_code == 0, done.stderr
    return folder / "store"


def answer(store: Path, *where: str, k: int = 100) -> str:
    """What `search --json` prints of all products that meet the conditions."""
    given = [word for one in where for word in ("--where", one)]
    done = vitrine("search", store, "--text", "red", "-k", k, "--json", *given)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def values(store: Path, name: str, *where: str, k: int = 100) -> list[Any]:
    """The attribute `name` of the products that meet the conditions, in the order of the catalog."""
    hits = json.loads(answer(store, *where, k=k), parse_float=Decimal)["hits"]
    return [hit["attributes"][name] for hit in sorted(hits, key=lambda hit: int(hit["id"][1:]))]


# --- numbers ---


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two products, their numbers in columns of every kind."""
    return store_of(
        tmp_path_factory.mktemp("numbers"),
        decimal=pa.array([Decimal("19.99"), Decimal("20.00")], pa.decimal128(10, 2)),
        wide=pa.array([Decimal("-0.000000001"), Decimal(10**40)], pa.decimal256(60, 9)),
        large=pa.array([2**53 + 1, 2**63 - 1], pa.int64()),
        unsigned=pa.array([0, 2**64 - 1], pa.uint64()),
        double=pa.array([0.3, 0.1 + 0.2]),
        single=pa.array([19.99, 3.1], pa.float32()),
        half=pa.array([1.1, 2.5], pa.float16()),
        odd=pa.array([float("nan"), float("inf")]),
    )


def test_numbers_are_shown_with_their_own_digits(numbers: Path) -> None:
    """JSON numbers: decimals with all their digits, whole numbers beyond 2^53, floats as they are written."""
    text = answer(numbers)
    for name, first, second in (
        ("decimal", "19.99", "20.00"),
        ("wide", "-0.000000001", "1" + 40 * "0" + ".000000000"),
        ("large", "9007199254740993", "9223372036854775807"),
        ("unsigned", "0", "18446744073709551615"),
        ("double", "0.3", "0.30000000000000004"),
        ("single", "19.99", "3.1"),
        ("half", "1.1", "2.5"),
        ("odd", "null", "null"),
    ):
        assert f'"{name}": {first}' in text, name
        assert f'"{name}": {second}' in text, name
    page = numbers.parent / "page.html"
    assert "19.99  -0.000000001" in vitrine("search", numbers, "--text", "red", "--html", page).stdout
    assert ">19.99<" in page.read_text()
    assert ">20.00<" in page.read_text()


@pytest.mark.parametrize(
    ("where", "first", "second"),
    [
        ("decimal = 19.99", True, False),
        ("decimal <= 19.99", True, False),
        ("decimal > 19.99", False, True),
        ("decimal between 19.99, 19.990", True, False),
        ("decimal < 19.991", True, False),
        ("decimal in 19.9900, 7", True, False),
        ("wide < 0", True, False),
        ("wide > 9999999999999999999999999999999999999999.5", False, True),
        ("large = 9007199254740992", False, False),
        ("large = 9007199254740993", True, False),
        ("large < 9007199254740993.5", True, False),
        ("unsigned >= 18446744073709551615", False, True),
        ("double = 0.3", True, False),
        ("double > 0.3", False, True),
        ("single = 19.99", True, False),
        ("single > 19.99", False, False),
        ("half <= 1.1", True, False),
        ("odd is null", True, False),
    ],
)
def test_numbers_are_compared_as_they_are_written(numbers: Path, where: str, first: bool, second: bool) -> None:
    """Without rounding, whatever the type of the column; a float is the decimal that it is shown as."""
    kept = values(numbers, "decimal", where)
    assert kept == [Decimal("19.99")] * first + [Decimal("20.00")] * second


def test_all_cents_reach_hits_and_filters(tmp_path: Path) -> None:
    """50,000 products, each at its own price from 0.01 to 500.00: every price is shown and compared as it is."""
    cents = [Decimal(cent).scaleb(-2) for cent in range(1, 50_001)]
    small = ("encoders.text.dim=8", "shards.unit_rows=20000", "shards.towers=false", "gates.min_recall=0", EXACT)
    store = store_of(tmp_path, *small, price=pa.array(cents, pa.decimal128(10, 2)))
    assert values(store, "price", k=50_000) == cents
    assert values(store, "price", "price <= 19.99", k=50_000) == cents[:1999]
    assert values(store, "price", "price > 19.99", "price < 20.05", k=50_000) == cents[1999:2004]
    assert values(store, "price", "price in 4.35, 69.95, 435.10") == [
        Decimal("4.35"),
        Decimal("69.95"),
        Decimal("435.1"),
    ]


# --- times ---


def test_times_that_python_does_not_have_are_shown(tmp_path: Path) -> None:
    """Nanoseconds, the year 36812 and zones come as ISO 8601, and are filtered by to the last digit."""
    store = store_of(
        tmp_path,
        fine=pa.array([1, 1000], pa.timestamp("ns")),
        far=pa.array([2**40 * 1000, 0], pa.timestamp("ms")),
        zoned=pa.array([0, 3600], pa.timestamp("s", "Europe/Berlin")),
        day=pa.array([dt.date(2026, 11, 30), None]),
    )
    assert values(store, "fine") == ["1970-01-01T00:00:00.000000001", "1970-01-01T00:00:00.000001"]
    assert values(store, "far") == ["36812-02-20T00:36:16.000", "1970-01-01T00:00:00"]
    assert values(store, "zoned") == ["1970-01-01T01:00:00+01:00", "1970-01-01T02:00:00+01:00"]
    assert values(store, "day", "day > 2026-11-29T12:00") == ["2026-11-30"]
    assert values(store, "day", "zoned >= 1970-01-01T01:00:00Z") == [None]
    assert values(store, "fine", "fine < 1970-01-01T00:00:00.000000002") == ["1970-01-01T00:00:00.000000001"]
    page = tmp_path / "page.html"
    assert vitrine("search", store, "--text", "red", "--html", page).exit_code == 0
    assert "00.000000001" in page.read_text()


# --- texts ---

BRANDS = ["Acme™", "Johnson &amp; Johnson", "ＳＯＮＹ", "10 m²", None, "Acme", "Café", "", "Acme\u200b ™"]


@pytest.fixture(scope="module")
def brands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Brands that are searched, and an attribute."""
    return store_of(
        tmp_path_factory.mktemp("brands"), "catalog.text=[title,brand]", brand=pa.array(BRANDS, pa.string())
    )


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ((), BRANDS),
        (("brand = Acme™",), ["Acme™"]),
        (("brand = Acme ™",), ["Acme\u200b ™"]),
        (("brand = AcmeTM",), []),
        (("brand = Johnson & Johnson",), ["Johnson &amp; Johnson"]),
        (("brand = Johnson &amp; Johnson",), ["Johnson &amp; Johnson"]),
        (("brand = SONY",), []),
        (("brand in ＳＯＮＹ, 10 m²",), ["ＳＯＮＹ", "10 m²"]),
        (("brand = Cafe\u0301",), ["Café"]),
        (('brand = ""',), [""]),
        (("brand is null",), [None]),
        (("brand != Acme", "brand is not null"), [one for one in BRANDS if one not in (None, "Acme")]),
        (("brand != Acme",), [one for one in BRANDS if one not in (None, "Acme")]),
    ],
)
def test_texts_are_carried_as_written(brands: Path, where: Sequence[str], kept: list[Any]) -> None:
    """A hit has the shop's own spelling, also of what is searched; a filter finds it by what is seen; null is null."""
    assert values(brands, "brand", *where) == kept


def test_order_of_texts_is_refused(brands: Path) -> None:
    """Letter by letter 100.00 comes before 20: what to do is said instead."""
    for where in ("brand < 20", "brand between 10, 20", "brand >= B"):
        done = vitrine("search", brands, "--text", "red", "--where", where)
        assert done.exit_code == 2
        expected, _, fix = told(done.stderr)
        assert "brand (text)" in expected
        assert "catalog.prices=[brand]" in fix
