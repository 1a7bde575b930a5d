"""Prices of feeds: amounts beside their currencies, and the decimal mark that they are read by."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from tests.support.feeds import column, import_rows


def test_ratings_do_not_say_how_prices_are_written(tmp_path: Path) -> None:
    """Where 4.5 is a rating, 1.299 EUR is still a price of two readings: not read, and shown."""
    rows, report = import_rows(tmp_path, "id;price;rating\n1;1.299 €;4.5\n2;49 €;4.2\n3;2.499,00 €;3.9\n")
    assert column(rows, "price") == [Decimal(1299), Decimal(49), Decimal(2499)]
    assert column(rows, "rating") == [4.5, 4.2, 3.9]
    assert report["found"]["decimal_mark"] == ","
    rows, report = import_rows(tmp_path, "id;price;rating\n1;1.299 €;4.5\n2;49 €;4.2\n")
    assert column(rows, "price") == [None, Decimal(49)]
    assert [(one["what"], one["came"]) for one in report["examples"]] == [("price", "1.299 €")]
    assert "--decimal-mark" in report["examples"][0]["expected"]


def test_a_currency_beside_its_price_has_its_code(tmp_path: Path) -> None:
    """As a sign, a name or in small letters; a price that names its own keeps that, and what is none stays as it is."""
    text = "id,price,currency\n1,5,eur\n2,6,Euro\n3,7,€\n4,8 USD,EUR\n5,9,$\n6,10,points\n7,,EUR\n"
    rows, _ = import_rows(tmp_path, text)
    assert column(rows, "price_currency") == ["EUR", "EUR", "EUR", "USD", "$", "points", None]


def test_the_currency_beside_a_price_says_how_it_is_read(tmp_path: Path) -> None:
    """1,299 of yen, which have no cents, is more than a thousand, also where other prices have a decimal point."""
    text = 'id,price,currency\n1,12.99,USD\n2,"1,299",JPY\n3,1.299,JPY\n4,1.299 USD,JPY\n5,1.250,KWD\n'
    rows, _ = import_rows(tmp_path, text)
    assert [str(one.normalize()) for one in column(rows, "price")] == ["12.99", "1299", "1299", "1.299", "1.25"]
    assert column(rows, "price_currency") == ["USD", "JPY", "JPY", "USD", "KWD"]
