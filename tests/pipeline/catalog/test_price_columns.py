"""Declared prices: the forms that feeds write, what they are compared by, and what is told of those that are none."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookup.filters.prices import PRICE, Price, parse_price
from lookup.filters.values import matching, read_value
from lookup.filters.where import Condition, Operator, as_compared
from pipeline.catalog.price_columns import price_column
from tests.support.command import run_titles, told, vitrine, words_of_titles, write_titles
from tests.support.nights import last_run

FORMS = [
    ("12.99 USD", "12.99", "USD"),
    ("1,299.00 USD", "1299", "USD"),
    ("1.299,00", "1299", None),
    ("12,99 €", "12.99", "EUR"),
    ("€ 15", "15", "EUR"),
    ("20", "20", None),
    ("1\u00a0299,00 zł", "1299", "PLN"),
    ("1\u202f299,00 €", "1299", "EUR"),
    ("1\u2009299.5", "1299.5", None),
    ("1'299.00 CHF", "1299", "CHF"),
    ("CHF 1’299.–", "1299", "CHF"),
    ("-5", "-5", None),
    ("−5,50 €", "-5.5", "EUR"),
    ("€ -5", "-5", "EUR"),
    ("USD12.99", "12.99", "USD"),
    ("usd 12.99", "12.99", "USD"),
    ("US$12.99", "12.99", "USD"),
    ("$12.99", "12.99", "$"),
    ("$12.99 CAD", "12.99", "CAD"),
    ("¥1200", "1200", "¥"),
    ("￥1,200.00", "1200", "¥"),
    ("₹1,23,456.00", "123456", "INR"),
    ("Rs. 1,299.00", "1299", "Rs"),
    ("Rs.5", "5", "Rs"),
    ("129 kr.", "129", "kr"),
    ("１２．９９", "12.99", None),
    ("١٢٫٩٩", "12.99", None),
    ("12,- €", "12", "EUR"),
    (".99", "0.99", None),
    ("0,125", "0.125", None),
    ("1234,567", "1234.567", None),
    ("1.234.567,89", "1234567.89", None),
    ("1,299 JPY", "1299", "JPY"),
    ("25000.000 IQD", "25000", "IQD"),
    ("12.99&nbsp;&euro;", "12.99", "EUR"),
    (" 12.99 \u200b", "12.99", None),
    ("0.000000001", "0.000000001", None),
    ("12⁹⁹ €", "12.99", "EUR"),
    ("Rs. 1,299⁵⁰", "1299.5", "Rs"),
    ("1.299⁵⁰", "1299.5", None),
    ("12,⁹⁹ €", "12.99", "EUR"),
    ("𝟏𝟐.𝟗𝟗", "12.99", None),
    ("\n12.99 EUR\r\n", "12.99", "EUR"),
    ("10,20,300", "1020300", None),
    ("100 200", "100200", None),
    ("$12.99 USD", "12.99", "USD"),
    ("CA$12.99 CAD", "12.99", "CAD"),
    ("12.99 € EUR", "12.99", "EUR"),
    ("¥1200 CNY", "1200", "CNY"),
    ("129 kr SEK", "129", "SEK"),
]
NONE = [
    *(
        "",
        " ",
        "Free",
        "N/A",
        "10-20",
        "from 12.99",
        "12.99 USD/kg",
        "1e3",
        "20 pcs",
        "5%",
        "--5",
        "12.",
        "1 29",
        "1,29,9",
    ),
    *("12.99.1", "5 USD EUR", "USD", "0.0000000001", "9" * 30, "1" * 1000, "12 99", "1,2345,678", "nan", "-", "€"),
    *("12.99¹", "12.99 ²", "12⁹ €", "12⁹⁹⁹ €", "12.99⁹⁹", "12.99²⁰", "12₉₉", "①②", "12½", "12.99⑴", "⁹⁹"),
    *("129\n100", "129\t100", "129\u2028100", "129\u2029100", "129\x85100", "129&#10;100", "129\n100 €", "12\n.50"),
    *("1.23.456", "12'34'567", "5 10 100", "10,20,30", "100,20,300", "1 23 456,00"),
    *("$12.99 EUR", "¥5 USD", "$5 €", "12.99 kr EUR", "Rs 5 USD", "Fr. 5 SEK", "$5 ¥", "5 € USD"),
]


@pytest.mark.parametrize(("text", "amount", "currency"), FORMS)
def test_prices_are_read_as_feeds_write_them(text: str, amount: str, currency: str | None) -> None:
    """Whatever stands for the point, thousands, the currency and spaces; also where a decimal mark is given."""
    for mark in (None, ".", ","):
        assert parse_price(text, mark) == Price(Decimal(amount), currency)


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_price_is_not_guessed(text: str) -> None:
    """Words, ranges, two currencies, groups that are none, more digits than are kept."""
    assert [parse_price(text, mark) for mark in (None, ".", ",")] == [None] * 3


@pytest.mark.parametrize("text", ["1,299", "1.299", "20.000", "$1,299", "1,299 USD", "25,000 IQD", "25.000 IQD"])
def test_two_ways_need_the_decimal_mark(text: str) -> None:
    """Three digits behind the only mark are thousands or a fraction: not read, unless the feed's mark is given."""
    mark = "," if "," in text else "."
    digits = "".join(filter(str.isdigit, text))
    assert parse_price(text, None) is None
    found = parse_price(text, "." if mark == "," else ",")
    assert found is not None
    assert found.amount == int(digits)
    fraction = parse_price(text, mark)
    assert fraction is not None
    assert fraction.amount == Decimal(digits).scaleb(-3)


@pytest.mark.parametrize("currency", ["BHD", "JOD", "KWD", "LYD", "OMR", "TND"])
def test_three_digits_of_a_currency_give_way_to_the_decimal_mark(currency: str) -> None:
    """Where there is none they are its thousandths; else the feed's mark is obeyed, as for any other currency."""
    for text, mark, amount in (
        *(("25,000", None, 25), ("25,000", ",", 25), ("25,000", ".", 25_000)),
        *(("1.299", None, Decimal("1.299")), ("1.299", ".", Decimal("1.299")), ("1.299", ",", 1299)),
    ):
        assert parse_price(f"{text} {currency}", mark) == Price(Decimal(amount), currency)


@given(
    amount=st.decimals(0, 10**12, places=2),
    marks=st.sampled_from([(",", "."), (".", ","), (" ", ","), ("\u00a0", "."), ("'", "."), ("", "."), ("", ",")]),
    written=st.sampled_from(["{}", "{} USD", "EUR {}", "€{}", "{}\u00a0zł", "CA${}"]),
    minus=st.booleans(),
)
def test_every_amount_is_read_back(amount: Decimal, marks: tuple[str, str], written: str, minus: bool) -> None:
    """Any amount of cents, in any writing that has both digits of them."""
    whole, _, cents = f"{amount:,.2f}".partition(".")
    text = written.format("-" * minus + whole.replace(",", marks[0]) + marks[1] + cents)
    price = parse_price(text, None)
    assert price is not None
    assert price.amount == (-amount if minus else amount)


@given(st.text(max_size=80) | st.text("0123456789., '€$-USD", max_size=20))
def test_any_text_is_a_price_or_none(text: str) -> None:
    """Nothing raises, and what is a price can be kept as an amount."""
    price = parse_price(text, None)
    assert price is None or pa.scalar(price.amount, PRICE.field("amount").type).as_py() == price.amount


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, None, 2**63 - 1], pa.int64()),
        pa.array([2**64 - 1], pa.uint64()),
        pa.array([Decimal("19.99"), Decimal("-0.01"), None], pa.decimal128(10, 2)),
        pa.array([Decimal("19.990000000")], pa.decimal256(70, 9)),
        pa.array([0.1, 19.99, 1e-9, None]),
    ],
    ids=lambda values: str(values.type),
)
def test_numbers_are_their_own_amounts(values: pa.Array) -> None:
    """A column of numbers that is declared: exactly the decimals that are written."""
    found = price_column(values, None)
    expected = [None if one is None else Decimal(str(one)) for one in values.to_pylist()]
    assert [one and one["amount"] for one in found.to_pylist()] == expected
    assert found.field("written").null_count == len(values)


@pytest.mark.parametrize("scale", range(39))
def test_amounts_of_every_scale_are_kept(scale: int) -> None:
    """Zero too, which has no digit to lose: Spark's own decimal(38,18) writes it as 0E-18."""
    kind = pa.decimal128(38, scale)
    fit = [one for one in map(Decimal, ("0", "1", "0.01", "12.50")) if _holds(kind, one)]
    found = price_column(pa.array(fit, kind), None).to_pylist()
    assert [(one["written"], one["amount"]) for one in found] == [(None, one) for one in fit]


def _holds(kind: pa.DataType, amount: Decimal) -> bool:
    try:
        pa.array([amount], kind)
    except pa.ArrowInvalid:
        return False
    return True


def test_numbers_that_do_not_fit_are_kept_as_text() -> None:
    """NaN is null; an infinity and 1e300 are no prices, and are shown. What arithmetic left behind a float goes."""
    found = price_column(pa.array([float("nan"), float("inf"), 1e300, 19.990000000000002]), None).to_pylist()
    assert found[0] is None
    assert found.pop()["amount"] == Decimal("19.99")
    assert [(one["written"], one["amount"]) for one in found[1:]] == [
        ("Infinity", None),
        ("1E+300", None),
    ]


@given(
    prices=st.lists(st.none() | st.tuples(st.integers(-3, 3), st.sampled_from([None, "USD", "EUR"])), max_size=8),
    asked=st.lists(st.tuples(st.integers(-3, 3), st.sampled_from([None, "USD"])), min_size=1, max_size=2),
)
def test_conditions_on_prices_match_what_python_says(prices: list[Any], asked: list[Any]) -> None:
    """A value with a currency asks for that currency alone, one without for amounts of all."""
    texts = [None if one is None else f"{one[0]} {one[1] or ''}" for one in prices]
    column = as_compared(price_column(pa.array(texts, pa.string()), None))
    wanted = tuple(f"{amount} {currency or ''}" for amount, currency in asked)
    amount, currency = asked[0]
    inside = [one is not None and currency in (None, one[1]) for one in prices]
    for how, holds in (
        ("=", lambda one: one[0] == amount),
        ("!=", lambda one: one[0] != amount),
        ("<", lambda one: one[0] < amount),
        (">=", lambda one: one[0] >= amount),
    ):
        found = Condition("x", Operator(how), wanted[:1]).mask(column, PRICE).tolist()
        assert found == [there and holds(one) for there, one in zip(inside, prices, strict=True)], how
    found = Condition("x", Operator.IN, wanted).mask(column, PRICE).tolist()
    assert found == [one is not None and any(one[0] == a and c in (None, one[1]) for a, c in asked) for one in prices]
    assert matching(Operator.NULL, column, []).tolist() == [one is None for one in prices]
    assert read_value("1,299.00 USD", PRICE) == Price(Decimal(1299), "USD")


# --- by the command ---

PRICES = [
    "12.99 USD",
    "100.00 USD",
    "9.50 USD",
    "1,299.00 USD",
    "1.299,00",
    "12,99 €",
    "€ 15",
    "20",
    None,
    "",
    "Free",
    "1,299",
]
DECLARED = ("catalog.attributes=[price]", "catalog.prices=[price]")


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve products with prices as feeds write them; two are none, and one can be read in two ways."""
    folder = tmp_path_factory.mktemp("prices")
    write_titles(folder / "c.parquet", ["red dress"] * len(PRICES), price=pa.array(PRICES, pa.string()))
    done = run_titles(folder / "c.parquet", folder / "store", *DECLARED)
    assert done.exit_code == 0, done.stderr
    (folder / "stdout.txt").write_text(done.stdout)
    return folder


def prices(store: Path, *where: str) -> list[Any]:
    """The prices of the products that meet the conditions, in the order of the catalog."""
    given = [word for one in where for word in ("--where", one)]
    done = vitrine("search", store, "--text", "red", "-k", 100, "--json", *given)
    assert done.exit_code == 0, done.stderr
    hits = json.loads(done.stdout)["hits"]
    return [hit["attributes"]["price"] for hit in sorted(hits, key=lambda hit: int(hit["id"][1:]))]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ((), PRICES),
        (("price < 20 EUR",), ["12,99 €", "€ 15"]),
        (("price <= 15 EUR",), ["12,99 €", "€ 15"]),
        (("price > 100 USD",), ["1,299.00 USD"]),
        (("price = 12.99 EUR",), ["12,99 €"]),
        (("price < 20 USD",), ["12.99 USD", "9.50 USD"]),
        (("price between 10 USD, 100 USD",), ["12.99 USD", "100.00 USD"]),
        (("price in 12.99 USD, 15 €",), ["12.99 USD", "€ 15"]),
        (('price = "1,299.00 USD"',), ["1,299.00 USD"]),
        (("price is null",), [None, "", "Free", "1,299"]),
        (("price != 15 EUR",), ["12,99 €"]),
    ],
)
def test_filters_compare_amounts(feed: Path, where: tuple[str, ...], expected: list[Any]) -> None:
    """Hits show what the feed wrote, filters compare what it means, and what is no price is null to them."""
    assert prices(feed / "store", *where) == expected


def test_a_price_of_zero_is_found(tmp_path: Path) -> None:
    """Of a column as Spark writes decimals, by the command."""
    column = pa.array([Decimal("0"), Decimal("0.99"), Decimal("12.50")], pa.decimal128(38, 18))
    catalog = write_titles(tmp_path / "c.parquet", ["red dress"] * 3, price=column)
    assert run_titles(catalog, tmp_path / "store", *DECLARED).exit_code == 0
    assert prices(tmp_path / "store", "price < 1") == [0, 0.99]
    assert prices(tmp_path / "store", "price is null") == []


def test_what_is_no_price_is_counted_and_told(feed: Path) -> None:
    """In the plan with examples, in run.json, in the manifest, in the report and on the terminal."""
    plan = vitrine("plan", "-c", "configs/weightless.yaml", *_overrides(feed), "--json")
    notices = {one["what"]: one for one in json.loads(plan.stdout)["notices"]}
    assert notices["sampled_prices_unread"]["examples"] == ["'Free'"]
    assert notices["sampled_prices_of_two_ways"]["examples"] == ["'1,299'"]
    assert "catalog.decimal_mark" in notices["sampled_prices_of_two_ways"]["told"]
    assert "USD 4, EUR 2" in notices["sampled_prices_of_currencies"]["told"]
    run = last_run(feed)
    done = {one["what"]: one for one in json.loads((run / "run.json").read_text())["notices"]}
    assert done["prices_unread"]["count"] == 2
    said = "2 of 12 products have a price that is no price"
    assert said in (feed / "stdout.txt").read_text()
    assert said in (run / "report.html").read_text()


def test_prices_that_are_not_declared_are_told_where_currencies_stand_beside_them(tmp_path: Path) -> None:
    """Numbers beside currencies would be compared without these: the plan says what to declare; declared, nothing."""
    more = {"cost": [1.5, 2.5], "cost_currency": ["EUR", "USD"], "stock": [1, 2], "weight": ["1 kg", "2 kg"]}
    catalog = write_titles(tmp_path / "c.parquet", ["red dress"] * 2, **more)
    carried = "catalog.attributes=[title,price,cost_currency,stock,weight]"
    words = words_of_titles(catalog, tmp_path / "s", carried, "catalog.columns.price=cost")
    renamed = "catalog.columns.price_currency=cost_currency"
    for declared, count in ((("catalog.attributes=[title]",), 0), ((), 1), (("catalog.prices=[price]",), 0)):
        done = vitrine("plan", *words[1:], renamed, *declared, "--json")
        found = [one for one in json.loads(done.stdout)["notices"] if one["what"] == "prices_undeclared"]
        assert len(found) == count, declared
    told = json.loads(vitrine("plan", *words[1:], renamed, "--json").stdout)["notices"]
    assert any("set catalog.prices=[price]" in one["told"] and one["examples"] == ["price"] for one in told)


@pytest.mark.parametrize(
    "where", ["price < 20", "price = 12.99", "price != 20", "price in 20, 5 EUR", "price between 1, 20"]
)
def test_numbers_of_several_currencies_are_not_compared(feed: Path, where: str) -> None:
    """A condition without a currency is refused where there are several; what is said names them and a way out."""
    done = vitrine("search", feed / "store", "--text", "red", "--where", where)
    assert done.exit_code == 2
    expected, came, fix = told(done.stderr)
    assert "it is in EUR, USD" in expected
    assert where in came
    instead = fix.split("`")[1]
    assert instead.endswith(" EUR")
    prices(feed / "store", instead)


def test_a_category_of_one_currency_needs_no_name_of_it(tmp_path: Path) -> None:
    """What counts is what is searched: prices of other categories may be in others."""
    kinds, prices_of = ["Shoes", "Shoes", "Bags"], ["15 EUR", "25 EUR", "15 USD"]
    catalog = write_titles(tmp_path / "c.parquet", ["red dress"] * 3, price=prices_of, kind=kinds)
    assert run_titles(catalog, tmp_path / "store", *DECLARED, "catalog.partition=kind").exit_code == 0
    assert prices(tmp_path / "store", "price < 20", "kind = Shoes") == ["15 EUR"]
    found = vitrine("search", tmp_path / "store", "--text", "red", "--category", "Shoes", "--where", "price < 20")
    assert found.exit_code == 0
    assert vitrine("search", tmp_path / "store", "--text", "red", "--where", "price < 20").exit_code == 2


def test_currencies_in_a_column_beside_the_prices(tmp_path: Path) -> None:
    """As `vitrine import` writes them: a price is read with its own currency, and shown with it. Where one of both is
    null, or the currency is none, that is a price of none, or no price.
    """
    amounts = [Decimal("12.99"), Decimal("5"), None, Decimal("7.50"), Decimal("100"), Decimal("1.299")]
    columns = {
        "price": pa.array(amounts, pa.decimal128(18, 4)),
        "price_currency": ["EUR", "usd", "EUR", None, "coupons", "JPY"],
        "sale_price": ["12,99", "5 EUR", "$5", "", "Free", "7 USD"],
        "sale_price_currency": pa.array(["EUR", "EUR", "CAD", "EUR", "EUR", "EUR"]).dictionary_encode(),
    }
    catalog = write_titles(tmp_path / "c.parquet", ["red dress"] * 6, **columns)
    words = ("catalog.attributes=[price,sale_price]", "catalog.prices=[price,sale_price]")
    assert run_titles(catalog, tmp_path / "store", *words).exit_code == 0
    store = tmp_path / "store"
    assert prices(store) == ["12.99 EUR", "5 usd", None, 7.5, "100 coupons", "1.299 JPY"]
    assert prices(store, "price < 20 EUR") == ["12.99 EUR"]
    assert prices(store, "price < 20 JPY") == ["1.299 JPY"]
    assert prices(store, "price is null") == [None, "100 coupons"]
    assert prices(store, "sale_price < 20 EUR") == ["12.99 EUR", "5 usd"]
    assert prices(store, "sale_price is null") == [7.5, "100 coupons", "1.299 JPY"]
    assert prices(store, "sale_price = 5 CAD") == [None]
    said = json.loads((last_run(tmp_path) / "run.json").read_text())["notices"]
    assert [one["count"] for one in said if one["what"] == "prices_unread"] == [1, 2]


def test_the_shops_currency_is_that_of_prices_without_one(tmp_path: Path) -> None:
    """`catalog.currency` decides too what a shared sign and a mark mean; prices in others stay in them."""
    given = ["12.99", "$15", "9 EUR", "20 kr", None, "Free"]
    catalog = write_titles(tmp_path / "c.parquet", ["red dress"] * 6, price=given)
    assert run_titles(catalog, tmp_path / "store", *DECLARED, "catalog.currency=USD").exit_code == 0
    assert prices(tmp_path / "store", "price < 20 USD") == ["12.99", "$15"]
    assert prices(tmp_path / "store", "price < 20 EUR") == ["9 EUR"]
    done = vitrine("search", tmp_path / "store", "--text", "red", "--where", "price < 20")
    assert "`price < 20 USD`" in done.stderr
    yen = write_titles(tmp_path / "yen.parquet", ["red dress"] * 2, price=["1,299", "99"])
    assert run_titles(yen, tmp_path / "yen", *DECLARED, "catalog.currency=JPY").exit_code == 0
    assert prices(tmp_path / "yen", "price > 1000") == ["1,299"]
    wrong = run_titles(yen, tmp_path / "wrong", *DECLARED, "catalog.currency=EUX")
    assert wrong.exit_code == 2
    assert "ISO 4217" in wrong.stderr


def test_the_decimal_mark_of_the_feed_decides(feed: Path, tmp_path: Path) -> None:
    """1,299 is 1.299 or 1299 as the config says; units are read anew, for their prices are others."""
    for mark, more in ((".", ["1,299"]), (",", [])):
        words = (*DECLARED, "catalog.currency=EUR", f"catalog.decimal_mark='{mark}'")
        done = run_titles(feed / "c.parquet", tmp_path / "store", *words)
        assert done.exit_code == 0, done.stderr
        assert prices(tmp_path / "store", "price > 100 EUR") == ["1.299,00", *more]


@pytest.mark.parametrize(
    ("where", "expected", "fix"),
    [
        ("price < cheap", "a price such as 19.99 or 19.99 USD", "correct the value"),
        ("price between 10 USD, 20 EUR", "one currency", "behind both"),
        ("price between 20, 10", "the least value first", "swap"),
    ],
)
def test_values_that_are_no_prices_are_refused(feed: Path, where: str, expected: str, fix: str) -> None:
    """Exit code 2, and what to do."""
    done = vitrine("search", feed / "store", "--text", "red", "--where", where)
    assert done.exit_code == 2
    said = told(done.stderr)
    assert expected in said[0]
    assert fix in said[2]


def test_a_price_is_an_attribute_of_text_or_numbers(feed: Path) -> None:
    """A declared price that is not carried, and one that is true or false, are told before any work."""
    done = run_titles(feed / "c.parquet", feed / "other", "catalog.prices=[price]")
    assert done.exit_code == 2
    assert "add to catalog.attributes: price" in done.stderr
    catalog = write_titles(feed / "bool.parquet", ["red"], price=[True])
    done = run_titles(catalog, feed / "other", *DECLARED)
    assert done.exit_code == 2
    assert "has the type bool, which cannot be a price" in done.stderr


def _overrides(feed: Path) -> list[str]:
    from tests.support.command import TITLES_ONLY

    return [*TITLES_ONLY, f"catalog.path={feed / 'c.parquet'}", f"store.path={feed / 'store'}", *DECLARED]
