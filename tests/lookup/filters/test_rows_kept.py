"""Filters of a published snapshot: held against the attributes and embeddings of its shards, read by pyarrow alone."""

from __future__ import annotations

import copy
import datetime as dt
import json
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lookup
from foundation.errors import InputError, IntegrityError
from lookup.filters.where import condition, parse
from lookup.late import search_late
from lookup.query import Query
from lookup.search import Reader
from lookup.store.fields import FileRef
from lookup.store.store import Store
from tests.support.brute_force import assert_same, embed, read_flat
from tests.support.command import run_titles, told, vitrine, write_titles
from tests.support.stores import manifest_of

Row = dict[str, Any]
Holds = Callable[[Row], bool]
ATTRIBUTES = "catalog.attributes=[title,brand,price,stock,new,since,tags]"


# --- the demo store ---


@pytest.fixture(scope="module")
def reader(published: Path) -> Reader:
    return lookup.open(str(published))


FILTERS: dict[str, tuple[list[str], Holds]] = {
    "cheap": (["price < 30"], lambda row: row["price"] < 30),
    "range": (["price between 20, 49.99"], lambda row: 20 <= row["price"] <= 49.99),
    "brands": (["brand in Isolde, Dunmore"], lambda row: row["brand"] in ("Isolde", "Dunmore")),
    "not a brand": (["brand != Isolde"], lambda row: row["brand"] not in (None, "Isolde")),
    "both": (["price >= 20", 'brand = "Isolde"'], lambda row: row["price"] >= 20 and row["brand"] == "Isolde"),
    "one": (["title = Classic solid-colour midi dress in red"], lambda row: "Classic solid-col" in row["title"][:17]),
    "none": (["price < 0"], lambda row: False),
}


@pytest.mark.parametrize("name", FILTERS)
def test_filtered_hits_are_those_of_brute_force(published: Path, reader: Reader, name: str) -> None:
    """Ids, order and scores over all partitions and in each, for k below and above what is kept."""
    where, holds = FILTERS[name]
    flat = read_flat(published)
    kept = {row["id"] for row in flat.rows if holds(row["attributes"])}
    assert len(kept) < 120
    for text in ("red dress", "茶壶"):
        xq = embed(published, text)
        for category in (None, *reader.categories):
            ranked = [(one, score) for one, score in flat.best(xq, 1000, category) if one in kept]
            for k in (3, 200):
                assert_same(reader.search(text, None, category, k, where=where), ranked[:k])


def test_late_search_filters_both_lists(demo: Path, published: Path, reader: Reader) -> None:
    """Asked for more than there are, late search finds exactly the products that meet the filter."""
    photo = (demo / "query-photos" / "red-dress.jpg").read_bytes()
    cheap = {row["id"] for row in read_flat(published).rows if row["attributes"]["price"] < 30}
    assert 0 < len(cheap) < 120
    assert {hit.id for hit in search_late(reader, Query("blue", photo, k=200, where="price < 30"))} == cheap
    assert {hit.id for hit in search_late(reader, Query(None, photo, k=200, where="price < 30"))} == cheap


def test_conditions_come_as_text_or_built(reader: Reader) -> None:
    """One text, one condition, or a list of both."""
    expected = reader.search("red", where=["price < 30", "brand in Isolde, Dunmore"])
    assert expected
    built = [condition("price", "<", 30), condition("brand", "in", "Isolde", "Dunmore")]
    assert reader.search("red", where=built) == expected
    assert reader.search("red", where=parse("price < 30")) == reader.search("red", where="price < 30")


# --- the command ---


def test_the_command_takes_conditions(published: Path, reader: Reader, tmp_path: Path) -> None:
    """--where, several of them, with --json, --html and --queries; the filter is said in each."""
    where = ["price < 30", "brand != Isolde"]
    given = [word for one in where for word in ("--where", one)]
    expected = [hit.id for hit in reader.search("red dress", k=4, where=where)]
    page = tmp_path / "hits.html"
    done = vitrine("search", published, "--text", "red dress", "-k", 4, *given, "--json", "--html", page)
    assert done.exit_code == 0, done.stderr
    answer = json.loads(done.stdout)
    assert [hit["id"] for hit in answer["hits"]] == expected
    assert answer["where"] == where
    assert "where price &lt; 30 and brand != Isolde" in page.read_text()
    shown = vitrine("search", published, "--text", "red dress", "-k", 4, *given)
    loaded, _, answered = shown.stdout.partition("\n")
    assert loaded.startswith("loaded in ")
    assert answered.startswith("red dress, where price < 30 and brand != Isolde  (")
    pq.write_table(pa.table({"text": ["red dress", "teapot"]}), tmp_path / "q.parquet")
    many = vitrine("search", published, "--queries", tmp_path / "q.parquet", "-k", 4, *given, "--json")
    answers = json.loads(many.stdout)
    assert [hit["id"] for hit in answers[0]["hits"]] == expected
    assert all(hit["attributes"]["price"] < 30 for one in answers for hit in one["hits"])
    plain = json.loads(vitrine("search", published, "--text", "red dress", "-k", 4, "--json").stdout)
    assert plain["where"] == []
    assert [hit["id"] for hit in plain["hits"]] != expected


def test_nothing_kept_is_said(published: Path, tmp_path: Path) -> None:
    """No hit is an answer, not an error."""
    page = tmp_path / "hits.html"
    done = vitrine("search", published, "--text", "red", "--where", "price < 0", "--html", page)
    assert done.exit_code == 0
    said = "othing was found: 0 of 120 products meet the filter (price &lt; 0: 0)"
    assert f"n{said}".replace("&lt;", "<") in done.stdout.splitlines()
    assert f"N{said}" in page.read_text()


@pytest.mark.parametrize(
    ("where", "expected", "came"),
    [
        ("prise < 3", "'price'", "'prise'"),
        ("price < cheap", "a number such as 19.99 for price", "'cheap'"),
        ("price", "a condition such as 'price < 20'", "'price'"),
        ("brand = Isolde, Dunmore", "one value for `=`", "2 in"),
        ("price < 19,99", "one value for `<`", "2 in"),
        ("price between 3", "two values", "1 in"),
        ("price between 30, 20", "the least value first", "price between 30, 20"),
    ],
)
def test_what_is_no_filter_is_told(published: Path, where: str, expected: str, came: str) -> None:
    """Exit code 2, and what was expected, what came and what to do."""
    done = vitrine("search", published, "--text", "red", "--where", where)
    assert (done.exit_code, done.stdout) == (2, "")
    said = told(done.stderr)
    assert expected in said[0]
    assert came in said[1]


# --- attributes of every type, several files, partitions that are not exact ---

N = 1500
BRANDS = ["Acme", "Smith, Jones", ' "quoted" ', "茶", None]


def columns() -> dict[str, list[Any]]:
    """Attributes by column, with nulls in each; `rare` is 1 in 1,000."""
    rng = np.random.default_rng(4)
    price = np.round(rng.uniform(1, 100, N), 2)
    since = [dt.date(2026, 1, 1) + dt.timedelta(days=int(day)) for day in rng.integers(0, 300, N)]
    return {
        "brand": [BRANDS[int(at)] for at in rng.integers(0, len(BRANDS), N)],
        "price": [None if i % 11 == 0 else float("nan") if i % 13 == 0 else float(price[i]) for i in range(N)],
        "stock": [None if i % 7 == 0 else int(i % 1000) for i in range(N)],
        "new": [None if i % 5 == 0 else i % 3 == 0 for i in range(N)],
        "since": [None if i % 9 == 0 else since[i] for i in range(N)],
        "tags": [["a", "b"]] * N,
    }


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,500 titles in two files: one IVF partition, ranked by refine vectors. stock is of whole numbers in the first
    file and of fractions in the second; brand has no value in a third of five rows.
    """
    folder = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(5)
    words = np.array(["red", "blue", "dress", "mug", "teapot", "lamp", "bag", "hat", "warm", "small", "old", "shiny"])
    titles = [" ".join(rng.choice(words, 3, replace=False)) + f" {i}" for i in range(N)]
    held, half = columns(), N // 2
    for name, rows, kind in (("a", slice(0, half), pa.int32()), ("b", slice(half, N), pa.float64())):
        table = {key: pa.array(values[rows]) for key, values in held.items()}
        table["stock"] = table["stock"].cast(kind)
        names = [f"{name}{i}" for i in range(len(titles[rows]))]
        path = write_titles(folder / "c" / f"{name}.parquet", titles[rows], 400, **table)
        pq.write_table(pq.read_table(path).set_column(0, "id", pa.array(names)), path, row_group_size=400)
    empty = {key: pa.nulls(5) if key != "tags" else pa.array([None] * 5, pa.list_(pa.string())) for key in held}
    path = write_titles(folder / "c" / "c.parquet", ["no brand"] * 5, **empty)
    done = run_titles(
        folder / "c",
        folder / "store",
        ATTRIBUTES,
        "index.exact_below=512",
        "index.held_out_queries=50",
        "index.large={type: ivf_rabitq, nlist: 16}",
        "shards.unit_rows=400",
        "gates.min_recall=0.5",
    )
    assert done.exit_code == 0, done.stderr
    return folder / "store"


@pytest.fixture(scope="module")
def shelf(mixed: Path) -> tuple[Reader, list[Row]]:
    return lookup.open(str(mixed)), [row["attributes"] | {"id": row["id"]} for row in read_flat(mixed).rows]


def found(reader: Reader, *where: Any) -> set[str]:
    """All products that a filter keeps, each once."""
    hits = [hit.id for hit in reader.search("red", k=2 * N, where=where)]
    assert len(hits) == len(set(hits))
    return set(hits)


def test_there_are_partitions_that_are_not_exact(mixed: Path, shelf: tuple[Reader, list[Row]]) -> None:
    """The store of the tests below has what they are about."""
    assert [partition.index.type for partition in manifest_of(mixed).partitions] == ["ivf_rabitq"]
    assert len(shelf[1]) == N + 5
    assert len(manifest_of(mixed).shards.entries) == 5


PRICES = st.floats(0, 101).map(lambda value: round(value, 2))


@settings(max_examples=40)
@given(drawn=st.data())
def test_any_conditions_keep_what_python_keeps(shelf: tuple[Reader, list[Row]], drawn: st.DataObject) -> None:
    """Conditions on any attributes together, in a search that returns all: exactly the products for which all hold."""
    low, high = sorted((drawn.draw(PRICES), drawn.draw(PRICES)))
    names = drawn.draw(st.lists(st.sampled_from(BRANDS[:-1]), min_size=1, unique=True))
    day, count = drawn.draw(st.dates(dt.date(2026, 1, 1), dt.date(2026, 10, 30))), drawn.draw(st.floats(-1, 1000))
    choices: list[tuple[Any, Holds]] = [
        (
            condition("price", "between", low, high),
            lambda row: row["price"] is not None and low <= row["price"] <= high,
        ),
        (condition("brand", "in", *names), lambda row: row["brand"] in names),
        (condition("brand", "!=", names[0]), lambda row: row["brand"] not in (None, names[0])),
        (condition("since", ">", day), lambda row: row["since"] is not None and row["since"] > day),
        (condition("stock", "<", count), lambda row: row["stock"] is not None and row["stock"] < count),
        (condition("new", "=", True), lambda row: row["new"] is True),
        (condition("new", "!=", True), lambda row: row["new"] is False),
    ]
    chosen = drawn.draw(st.lists(st.sampled_from(choices), min_size=1, max_size=3))
    reader, rows = shelf
    expected = {row["id"] for row in rows if all(holds(row) for _, holds in chosen)}
    assert found(reader, *(one for one, _ in chosen)) == expected


def test_rare_values_have_the_true_hits(mixed: Path, shelf: tuple[Reader, list[Row]]) -> None:
    """A value of 1 in 750 rows, and one of 1%: the ids and order of brute force over the products that have it."""
    flat = read_flat(mixed)
    for where, holds in (
        ("stock = 500", lambda v: v == 500),
        ("stock between 501, 515", lambda v: v and 501 <= v <= 515),
    ):
        kept = {row["id"] for row in flat.rows if holds(row["attributes"]["stock"])}
        assert 0 < len(kept) <= N // 100
        for text in ("red dress", "old lamp", "teapot"):
            ranked = [one for one in flat.best(embed(mixed, text), N + 5) if one[0] in kept]
            hits = shelf[0].search(text, k=10, where=where)
            assert len(hits) == min(10, len(kept))
            np.testing.assert_allclose([hit.score for hit in hits], [score for _, score in ranked[:10]], atol=0.01)
            assert {hit.id for hit in hits} <= kept


def test_null_and_nan_match_nothing(shelf: tuple[Reader, list[Row]]) -> None:
    """Not even `!=`, and whatever the operator; a file without any value of an attribute has only nulls."""
    reader, rows = shelf
    priced = {row["id"] for row in rows if row["price"] is not None and row["price"] == row["price"]}
    assert 0 < len(priced) < N - 200
    assert found(reader, "price != 5000") == found(reader, "price > -1") == priced
    assert found(reader, "new in true, false") == {row["id"] for row in rows if row["new"] is not None}


def test_a_list_is_equal_to_what_it_holds(shelf: tuple[Reader, list[Row]]) -> None:
    """`=`, `in` and `!=` ask what a list holds; it has no order."""
    tagged = {row["id"] for row in shelf[1] if row["tags"]}
    assert len(tagged) == N
    assert found(shelf[0], "tags = a") == found(shelf[0], "tags in b, c") == found(shelf[0], "tags != c") == tagged
    assert found(shelf[0], "tags = c") == found(shelf[0], "tags != a") == set()
    assert found(shelf[0], "tags is null") == {row["id"] for row in shelf[1]} - tagged
    with pytest.raises(InputError, match=r"tags \(list of texts\)"):
        found(shelf[0], "tags < b")


def test_types_that_do_not_compare_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """price is text in one shard and a number in the other, as versions without one type over all files wrote them:
    neither reading is right for both.
    """
    monkeypatch.setattr("pipeline.plan.units.one_type", lambda types, settings, has_value: {})
    for name, prices in (("a", ["1", "20"]), ("b", [3.0, 10.0])):
        path = write_titles(tmp_path / "c" / f"{name}.parquet", ["red", "blue"], price=prices, kind=[name] * 2)
        table = pq.read_table(path).set_column(0, "id", pa.array([f"{name}0", f"{name}1"]))
        pq.write_table(table, path)
    named = ("catalog.attributes=[price]", "catalog.partition=kind")
    assert run_titles(tmp_path / "c", tmp_path / "store", *named).exit_code == 0
    done = vitrine("search", tmp_path / "store", "--text", "red", "--where", "price < 5")
    assert done.exit_code == 2
    expected, came, _ = told(done.stderr)
    assert "price of one type" in expected
    assert "a: string; b: double" in came
    one = vitrine("search", tmp_path / "store", "--text", "red", "--where", "price < 5", "--where", "kind = b")
    assert one.exit_code == 0, one.stderr
    given = [word for one in ("kind = b", "price > 30") for word in ("--where", one)]
    none = vitrine("search", tmp_path / "store", "--text", "red", *given)
    assert "0 of 4 products meet the filter (kind = b: 2; price > 30: 0)" in none.stdout


def test_a_snapshot_without_attributes_says_so(tmp_path: Path) -> None:
    """There is nothing to filter by, and what to do about it."""
    catalog = write_titles(tmp_path / "c.parquet", ["red", "blue"])
    assert run_titles(catalog, tmp_path / "store", "catalog.attributes=[]").exit_code == 0
    _, came, fix = told(vitrine("search", tmp_path / "store", "--text", "red", "--where", "price < 5").stderr)
    assert "has none" in came
    assert "catalog.attributes" in fix


def test_a_new_price_is_filtered_by_though_the_index_is_kept(tmp_path: Path) -> None:
    """Attributes come from the shards of the snapshot, not from the index, which stays when only a price changes."""
    store, indexes = tmp_path / "store", []
    for price in (10.0, 90.0):
        catalog = write_titles(tmp_path / "c.parquet", ["red dress", "blue mug"], price=[price, 50.0])
        assert run_titles(catalog, store, "catalog.attributes=[price]").exit_code == 0
        indexes.append(manifest_of(store).partitions[0].index.name)
        hits = lookup.open(str(store)).search("red dress", where="price < 40")
        assert [hit.id for hit in hits] == (["P0"] if price < 40 else [])
    assert indexes[0] == indexes[1]


# --- files and memory ---


def test_an_altered_shard_is_refused_and_each_is_checked_once(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest of a shard is checked before an attribute is read from it, for filters and hits together once."""
    checked = list[str]()
    verified = Store.verified

    def check(self: Store, file: FileRef) -> Path:
        checked.append(file.path)
        if file.path.startswith("shards/") and broken:
            raise IntegrityError(file.path, "another digest", "mend it")
        return verified(self, file)

    monkeypatch.setattr(Store, "verified", check)
    broken = False
    reader = lookup.open(str(mixed))
    reader.search("red", k=N, where="price < 50")
    reader.search("blue", k=N, where=["price < 50", "brand = Acme"])
    shards = [name for name in checked if name.startswith("shards/")]
    assert len(shards) == len(set(shards)) == 5
    broken = True
    with pytest.raises(IntegrityError, match="shards/"):
        lookup.open(str(mixed)).search("red", where="price < 50")


def test_only_the_attribute_is_read_and_stays(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One column of each segment, at the first filter that asks for it; strings stay as dictionaries."""
    read = list[list[str]]()
    row_group = pq.ParquetFile.read_row_group

    def watched(self: pq.ParquetFile, number: int, columns: list[str]) -> pa.Table:
        read.append(columns)
        return row_group(self, number, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", watched)
    reader = lookup.open(str(mixed))
    reader.search("red", k=1, where="brand = Nobody")
    assert read == [["attributes.brand"]] * 5
    reader.search("red", k=1, where="brand = Nobody else")
    assert len(read) == 5
    column = reader.opened.filters._columns.get(("all", "brand"), lambda: pytest.fail("read again"))
    assert [pa.types.is_dictionary(array.type) for array in column.arrays] == [True] * 4 + [False]


def test_a_filter_that_is_kept_reads_nothing(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where columns are too large to stay in memory: what the filter keeps is small."""
    monkeypatch.setattr("lookup.filters.rows._COLUMN_BYTES", 0)
    reader = lookup.open(str(mixed))
    read = Mock(side_effect=reader.opened.segments.attribute)
    monkeypatch.setattr(reader.opened.segments, "attribute", read)
    where = ["price < 50", "brand = Acme"]
    first = reader.search("red", k=3, where=where)
    assert read.called
    read.reset_mock()
    assert reader.search("red", k=3, where=where) == first
    assert not read.called


def test_threads_get_what_one_thread_gets(mixed: Path) -> None:
    """Eight threads that share a fresh reader find the same hits under filters of their own."""
    asked = [f"price < {bound}" for bound in range(5, 100, 5)] + [f"brand in {name}" for name in ("Acme", "茶")]
    alone, shared = lookup.open(str(mixed)), lookup.open(str(mixed))

    def ask(reader: Reader, where: str) -> list[tuple[str, float]]:
        return [(hit.id, hit.score) for hit in reader.search("red", k=5, where=where)]

    expected = [ask(alone, one) for one in asked]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda one: ask(shared, one), asked * 3)) == expected * 3


# --- arguments of another type ---


@pytest.mark.parametrize("k", ["3", 3.0, True, None, [3], np.float32(3), 0, -1, np.int64(0)])
def test_k_is_a_whole_number(reader: Reader, k: Any) -> None:
    """Else it is said what came, before anything is searched; also by late search, and of nprobe."""
    for search in (reader.search, lambda *args, **keys: search_late(reader, Query(*args, **keys))):
        with pytest.raises(InputError, match=r"k (as a whole number|of at least 1)"):
            search("red", k=k)
    if k is not None:
        with pytest.raises(InputError, match="nprobe"):
            reader.search("red", nprobe=k)


@pytest.mark.parametrize("kind", [np.int8, np.uint16, np.int64])
def test_whole_numbers_of_numpy_are_taken(reader: Reader, kind: Any) -> None:
    """As Python's."""
    assert reader.search("red", k=kind(3), nprobe=kind(2)) == reader.search("red", k=3, nprobe=2)
    assert search_late(reader, Query("red", k=kind(100))) == search_late(reader, Query("red", k=100))


@pytest.mark.parametrize(
    "asked", [{"text": 3}, {"text": b"red"}, {"image": "photo.jpg"}, {"where": 5}, {"where": [5]}, {"category": 5}]
)
def test_arguments_of_another_type_are_told(reader: Reader, asked: dict[str, Any]) -> None:
    """In three parts."""
    with pytest.raises(InputError) as caught:
        reader.search(**({"text": "red"} | asked))
    assert all((caught.value.expected, caught.value.came, caught.value.fix))


def test_a_reader_is_not_pickled(reader: Reader) -> None:
    """It holds mapped files, and stays at its snapshot: what to do instead is said. Its hits travel."""
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(InputError, match="open the store in each process"):
            attempt(reader)
    hits = reader.search("red", k=2)
    assert pickle.loads(pickle.dumps(hits)) == hits  # noqa: S301
