"""What is said of filters that cannot be read, name no attribute or keep nothing; and filters by category."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lookup
from foundation.errors import InputError
from lookup.filters.where import parse
from lookup.search import Reader
from tests.support.command import run_titles, told, vitrine, write_titles

ROWS: list[tuple[str, str, str]] = [  # title, brand, category
    ("red mug", "Smith, Jones", "Kitchen > Mugs"),
    ("blue mug", "Acme", "Kitchen > Mugs"),
    ("red vase", "Acme", "Home"),
    ("red dress", "ACME", "Clothing > Dresses"),
    ("blue dress", "Zeta's", "Clothing > Dresses"),
    ("red thing", "Zeta's", ""),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six products in four categories, one of them of products without one; the brand has another name in the file."""
    folder = tmp_path_factory.mktemp("shop")
    titles, brands, kinds = (list(column) for column in zip(*ROWS, strict=True))
    more = {"maker": brands, "kind": kinds, "price": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "note": ["n"] * 6}
    catalog = write_titles(folder / "c.parquet", titles, **more)
    named = ("catalog.columns={brand: maker, remark: note}", "catalog.partition=kind")
    done = run_titles(catalog, folder / "store", *named, "catalog.attributes=[brand, price]")
    assert done.exit_code == 0, done.stderr
    return folder / "store"


@pytest.fixture(scope="module")
def reader(store: Path) -> Reader:
    return lookup.open(str(store))


def found(reader: Reader, *where: str, **how: Any) -> set[str]:
    return {hit.id for hit in reader.search("red", k=10, where=where, **how)}


# --- by category ---


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (["kind = Kitchen"], {"P0", "P1"}),
        (["kind in Kitchen, Home"], {"P0", "P1", "P2"}),
        (["kind != Kitchen"], {"P2", "P3", "P4"}),
        (["kind != _none"], {"P0", "P1", "P2", "P3", "P4"}),
        (["kind is null"], {"P5"}),
        (["kind is not null", "kind != Kitchen"], {"P2", "P3", "P4"}),
        (["kind = _none"], {"P5"}),
        (["kind in Kitchen, Clothing", "price > 1"], {"P1", "P3", "P4"}),
        (["kind in Kitchen, Clothing", "kind != Kitchen"], {"P3", "P4"}),
        (["kind = Kitchen > Mugs"], set[str]()),
    ],
)
def test_categories_are_filtered_by_as_hits_show_them(reader: Reader, where: list[str], expected: set[str]) -> None:
    """By the column that makes the partitions, though it is no attribute; of several categories too."""
    assert found(reader, *where) == expected
    shown = {hit.partition for hit in reader.search("red", k=10, where=where)}
    assert len(shown & {"Kitchen", "Home", "Clothing", "_none"}) == len(shown)
    assert found(reader, *where, category="Kitchen") == expected & {"P0", "P1"}


def test_other_categories_are_not_read(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attributes of categories that the filter leaves out stay on the disk; with none but names nothing is read."""
    reader = lookup.open(str(store))
    read = Mock(side_effect=reader.opened.segments.attribute)
    monkeypatch.setattr(reader.opened.segments, "attribute", read)
    assert found(reader, "kind = Kitchen") == {"P0", "P1"}
    assert read.call_count == 0
    assert found(reader, "kind = Kitchen", "price < 2") == {"P0"}
    assert read.call_count == 1


def test_a_category_that_is_an_attribute_is_compared_as_it_is_carried(store: Path, tmp_path: Path) -> None:
    """With all its levels, as hits show it among the attributes."""
    catalog = store.parent / "c.parquet"
    more = ("catalog.partition=kind", "catalog.attributes=[kind]")
    assert run_titles(catalog, tmp_path / "store", *more).exit_code == 0
    reader = lookup.open(str(tmp_path / "store"))
    assert found(reader, "kind = Kitchen > Mugs") == {"P0", "P1"}
    assert found(reader, "kind = Kitchen") == set()


# --- nothing is kept ---


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (["price < 0"], "price < 0: 0"),
        (["brand = zeta's"], "brand = zeta's: 0, did you mean brand = Zeta's?"),
        (["brand = 'Smith Jones'"], 'did you mean brand = "Smith, Jones"?'),
        (["brand in Smith, Jones"], 'did you mean brand = "Smith, Jones"?'),
        (["brand = acme"], "did you mean brand in ACME, Acme?"),
        (["kind = kitchn"], "kind = kitchn: 0, did you mean kind = Kitchen?"),
        (["price > 5", "brand = smith jones"], "price > 5: 1; brand = smith jones: 0, did you mean"),
        (["price > 5", "brand = Acme"], "(price > 5: 1; brand = Acme: 2)"),
        (["brand = Acme or brand = Zeta's"], "there is no `or`"),
        (["brand = Nobody"], "(brand = Nobody: 0)"),
        (["kind = Home", "brand = zeta's"], "(kind = Home: 1; brand = zeta's: 0)"),
        (["kind = home", "brand = zeta's"], "(kind = home: 1; brand = zeta's: 0)"),
        (["brand = ?"], "(brand = ?: 0)"),
    ],
)
def test_what_a_filter_that_keeps_nothing_may_have_meant(store: Path, where: list[str], said: str) -> None:
    """How many products meet each condition, and the value that is there; searches by both ways say so."""
    given = [word for one in where for word in ("--where", one)]
    for late in ((), ("--late",)):
        done = vitrine("search", store, "--text", "red", *given, *late)
        assert done.exit_code == 0, done.stderr
        line = done.stdout.splitlines()[-1]
        assert line.startswith("nothing was found: 0 of 6 products meet the filter (")
        assert said in line
    assert json.loads(vitrine("search", store, "--text", "red", *given, "--json").stdout)["hits"] == []


def test_signed_and_unsigned_shards_compare(tmp_path: Path) -> None:
    """int64 in one file of the catalog and uint64 in the next: values that are no int64 are as large as they are."""
    for name, stock in (("a", pa.array([-5, 7], pa.int64())), ("b", pa.array([7, 2**64 - 1], pa.uint64()))):
        path = write_titles(tmp_path / "c" / f"{name}.parquet", ["red", "blue"], stock=stock)
        pq.write_table(pq.read_table(path).set_column(0, "id", pa.array([f"{name}0", f"{name}1"])), path)
    assert run_titles(tmp_path / "c", tmp_path / "store", "catalog.attributes=[stock]").exit_code == 0
    reader = lookup.open(str(tmp_path / "store"))
    assert found(reader, "stock > 7") == found(reader, f"stock = {2**64 - 1}") == {"b1"}
    assert found(reader, "stock in 7") == {"a1", "b0"}
    assert found(reader, "stock < 0") == {"a0"}


def test_the_hint_is_a_condition_that_finds(reader: Reader) -> None:
    """What is suggested can be asked as it is written, and of one category its own products are counted."""
    said = reader.explain_filter("brand in smith, JONES")
    assert found(reader, said.partition("did you mean ")[2].removesuffix("?)")) == {"P0"}
    assert reader.explain_filter("price < 3") == "2 of 6 products meet the filter (price < 3: 2)"
    assert reader.explain_filter("price < 3", "Kitchen") == "2 of 2 products meet the filter (price < 3: 2)"


# --- no attribute, no condition ---


@pytest.mark.parametrize(
    ("name", "came", "fix"),
    [
        ("title", "'title', a column of the catalog that the snapshot does not carry", "list it in catalog.attributes"),
        ("id", "'id', a column of the catalog", "list it in catalog.attributes"),
        ("remark", "'remark', a column of the catalog", "list it in catalog.attributes"),
        ("note", "'note', a column of the catalog", "list it in catalog.attributes"),
        ("maker", "'maker'", "call it brand"),
        ("category", "'category'", "search one by --category, or several by kind in ..."),
        ("kinds", "'kinds'", "correct the condition"),
        ("prise", "'prise'", "correct the condition, or list it in catalog.attributes and run again"),
    ],
)
def test_a_name_that_is_no_attribute_is_told_apart(store: Path, name: str, came: str, fix: str) -> None:
    """A column that is not carried, one by its name in the file, the word for partitions, a slip of the pen."""
    done = vitrine("search", store, "--text", "red", "--where", f"{name} = a")
    assert done.exit_code == 2
    _, was, to_do = told(done.stderr)
    assert came in was
    assert fix in to_do


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("price == 20", "write `=`"),
        ("price => 20", "write `>=`"),
        ("price =< 20", "write `<=`"),
        ('"unit price" <> 20', "write `!=`"),
        ("brand IN Acme, Zeta", "write `in`"),
        ("title like 'x%'", "there is no `like`: values are compared whole; to look for words, search by --text"),
        ("brand not in Acme, Zeta", "write `!=`, one condition for each value"),
        ("brand is missing", "write `is null` or `is not null`"),
        ('brand = "Acme" or brand = "Zeta"', "there is no `or`, but `in` takes a set of values"),
        ("unit price = 5", "put a name or value"),
        ('brand in Acme, say "hi"', "put a name or value"),
        ("brand in ", "put a name or value"),
        ("price", "put a name or value"),
    ],
)
def test_what_other_languages_write_is_told_how_to_write_here(text: str, fix: str) -> None:
    """The message shows the form of a condition and all operators, and says what to change."""
    with pytest.raises(InputError, match="= != < <= > >= in between `is null`") as caught:
        parse(text)
    assert fix in caught.value.fix


def test_a_slip_in_a_category_is_seen(reader: Reader) -> None:
    """As with --category, the nearest one is named."""
    assert reader.search("red", k=3, where=("kind = Kitchn",)) == []
    assert "did you mean kind = Kitchen?" in reader.explain_filter(("kind = Kitchn",), None)


def test_a_value_is_read_also_where_no_category_is_left(reader: Reader) -> None:
    """A condition on categories that none meets does not hide a value that is no number."""
    assert found(reader, "kind = Typo", "price < 3") == set()
    with pytest.raises(InputError, match="abc"):
        found(reader, "kind = Typo", "price < abc")


def test_conditions_in_one_text_are_told_apart(reader: Reader) -> None:
    """A number with a second condition behind it is no number."""
    with pytest.raises(InputError) as caught:
        found(reader, "price < 20 and brand = Acme")
    assert "one by one" in caught.value.fix
