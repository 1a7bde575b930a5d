"""Declared numbers: text columns that are numbers to filters and hits, and what is told of those that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.catalog.number_columns import number_column
from tests.support.command import run_titles, told, vitrine, write_titles
from tests.support.nights import last_run
from tests.support.stores import manifest_of

NUMBERS = ("catalog.attributes=[rating,weight]", "catalog.numbers=[rating,weight]")
RATINGS = ["4,5", "3", " 2,25 ", "1.234,5", "five", "1,299", "", None]


def found(store: Path, *where: str) -> list[Any]:
    given = [word for one in where for word in ("--where", one)]
    done = vitrine("search", store, "--text", "red", "-k", 100, "--json", *given)
    assert done.exit_code == 0, done.stderr
    hits = json.loads(done.stdout)["hits"]
    return [hit["attributes"]["rating"] for hit in sorted(hits, key=lambda hit: int(hit["id"][1:]))]


def catalog(folder: Path) -> Path:
    weights = pa.array(["1", "2", "3", "4", "5", "6", "7", "8"]).dictionary_encode()
    return write_titles(folder / "c.parquet", ["red dress"] * 8, rating=RATINGS, weight=weights)


def test_texts_are_numbers_where_that_is_declared(tmp_path: Path) -> None:
    """Hits have numbers, filters compare them, and the manifest says what they are; what is none is null, counted, and
    told with examples before.
    """
    words = (catalog(tmp_path), tmp_path / "store", *NUMBERS)
    assert run_titles(*words).exit_code == 0
    assert found(tmp_path / "store") == [4.5, 3.0, 2.25, 1234.5, None, None, None, None]
    assert found(tmp_path / "store", "rating >= 3", "weight < 4") == [4.5, 3.0]
    assert manifest_of(tmp_path / "store").attribute_types == {"rating": "double", "weight": "double"}
    said = {one["what"]: one for one in json.loads((last_run(tmp_path) / "run.json").read_text())["notices"]}
    assert said["numbers_unread"]["count"] == 2
    assert said["sampled_numbers_unread"]["examples"] == ["'five'", "'1,299'"]
    assert run_titles(*words, "catalog.decimal_mark=','").exit_code == 0
    assert found(tmp_path / "store", "rating < 2") == [1.299]


def test_undeclared_they_are_text(tmp_path: Path) -> None:
    """Order is refused with what to declare."""
    assert run_titles(catalog(tmp_path), tmp_path / "store", NUMBERS[0]).exit_code == 0
    done = vitrine("search", tmp_path / "store", "--text", "red", "--where", "rating > 3")
    assert done.exit_code == 2
    assert "catalog.numbers=[rating]" in told(done.stderr)[2]


def test_a_file_of_numbers_goes_with_one_of_texts(tmp_path: Path) -> None:
    """Declared, the column is of numbers in all files."""
    for name, values in (("a", ["4,5", "3"]), ("b", pa.array([1, 2], pa.int16()))):
        write_titles(tmp_path / "c" / f"{name}.parquet", ["red dress"] * 2, rating=values, weight=["1", "2"])
    table = tmp_path / "c" / "b.parquet"
    pq.write_table(pq.read_table(table).set_column(0, "id", pa.array(["P2", "P3"])), table)
    assert run_titles(tmp_path / "c", tmp_path / "store", *NUMBERS).exit_code == 0
    assert found(tmp_path / "store", "rating < 4") == [3.0, 1, 2]


@pytest.mark.parametrize(
    ("text", "number"),
    [("4.333333333333333", 4.333333333333333), ("1e-05", 1e-5), ("+5", 5.0), ("-0,5", -0.5), ("1 299,5", 1299.5),
     ("4 EUR", None), ("12 kg", None), ("4%", None), ("nan", None), ("0x10", None)],
)  # fmt: skip
def test_what_is_a_number(text: str, number: float | None) -> None:
    """As programs and people write them; with a unit or a currency it is none."""
    values, odd = number_column(pa.array([text]), None)
    assert values.to_pylist() == [number]
    assert odd.to_pylist() == [number is None]


def test_the_config_says_what_cannot_be_declared(tmp_path: Path) -> None:
    """Numbers that are not carried, or that are prices."""
    words = ("catalog.path=c", f"store.path={tmp_path}", "catalog.attributes=[a]", "catalog.prices=[a]")
    done = vitrine("plan", "-c", "configs/weightless.yaml", *words, "catalog.numbers=[a,b]")
    assert done.exit_code == 2
    assert "because numbers are carried" in done.stderr
    assert "leave out a" in done.stderr
