"""`vitrine import` from its door: what becomes of a feed, and what is left where none can."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.load import load_config
from tests.support.command import told, vitrine
from tests.support.feeds import column, import_rows, import_text, imported

GOOD = "id,title,price\n1,red dress,12.50 USD\n2,blue vase,1299.00 USD\n"


def test_the_sample_of_googles_feed_becomes_typed_columns(tmp_path: Path) -> None:
    """Prices are decimals beside their currency, further photos a list, availability one of Google's words."""
    rows, report = imported("sample:google", tmp_path / "shop")
    assert report["map"] == "google"
    assert report["rows_read"] == report["rows_written"] == 20
    schema = pq.read_schema(tmp_path / "shop" / "products.parquet")
    assert schema.field("price").type == pa.decimal128(18, 4)
    assert schema.field("additional_image_link").type == pa.list_(pa.string())
    television = next(row for row in rows if row["id"] == "T1")
    assert (television["price"], television["price_currency"]) == (Decimal("1299"), "USD")
    assert television["title"] == '55" 4K Television'
    assert next(row for row in rows if row["id"] == "D100")["description"].endswith("two pockets & a belt.")
    assert set(column(rows, "availability")) == {"in_stock", "out_of_stock", "preorder", "backorder"}
    assert rows[0]["additional_image_link"] == [
        "https://cdn.example.com/photos/a2b4-2.jpg",
        "https://cdn.example.com/photos/a2b4-3.jpg",
    ]
    assert report["carried"] == ["shipping"]


def test_importing_twice_gives_equal_bytes_whatever_the_feed_is_packed_in(tmp_path: Path) -> None:
    """The file has nothing of the clock, nor of how the bytes came: plain, compressed, from stdin."""
    lines = "".join(f"{n},product number {n},{n}.99 USD\n" for n in range(40_000))
    plain, packed = tmp_path / "feed.csv", tmp_path / "packed" / "feed.csv"
    packed.parent.mkdir()
    plain.write_text("id,title,price\n" + lines)
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    imported(plain, tmp_path / "a")
    imported(plain, tmp_path / "b")
    rows, report = imported(packed, tmp_path / "c")
    found = [(tmp_path / name / "products.parquet").read_bytes() for name in "abc"]
    assert found[0] == found[1] == found[2]
    assert report["files"][0]["compression"] == "gzip"
    assert [int(one) for one in column(rows, "id")] == list(range(40_000))
    groups = pq.ParquetFile(tmp_path / "a" / "products.parquet").metadata
    assert [groups.row_group(n).num_rows for n in range(groups.num_row_groups)] == [16_384, 16_384, 7_232]


def test_the_config_that_an_import_writes_fits_the_feed_and_is_yours_once_changed(tmp_path: Path) -> None:
    """It loads, names what the feed has, is written anew while nobody touched it, and stays where somebody did."""
    text = "id,title,price,category,image\n" + "".join(
        f"{n},a title,{n}.50 EUR,Home / Lamps {n % 3},https://cdn.shop.example/{n}.jpg\n" for n in range(1, 30)
    )
    _, report = import_rows(tmp_path, text)
    path = tmp_path / "shop" / "_vitrine.yaml"
    catalog = load_config(str(path), env={}).config.catalog
    assert (catalog.text, catalog.image, catalog.prices) == (("title",), None, ("price",))
    assert (catalog.partition, catalog.partition_separator) == ("product_type", (" / ",))
    assert "cdn.shop.example" in path.read_text()
    assert report["config_digest"]
    import_rows(tmp_path, text.replace("category", "other"))
    assert load_config(str(path), env={}).config.catalog.partition is None
    path.write_text(path.read_text() + "# mine\n")
    _, report = import_rows(tmp_path, text)
    assert path.read_text().endswith("# mine\n")
    assert "changed by hand" in report["notices"][-1]


def test_a_feed_becomes_a_page_of_hits_in_two_commands(tmp_path: Path) -> None:
    """`--index` runs the pipeline with the config of the import, and a search finds the product."""
    done = vitrine("import", "sample:google", "--to", tmp_path / "shop", "--index", tmp_path / "store")
    assert done.exit_code == 0, done.stderr
    assert "20 in the snapshot" in done.stdout
    found = vitrine("search", tmp_path / "store", "--text", "rain boots for kids", "-k", 3, "--json")
    assert json.loads(found.stdout)["hits"][0]["id"] == "K1"


def test_stdin_is_a_feed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads what is piped in, compressed or not."""
    stdin = io.TextIOWrapper(io.BytesIO(gzip.compress(GOOD.encode())))
    monkeypatch.setattr("pipeline.feeds.source.sys", type("Sys", (), {"stdin": stdin}))
    assert sys.stdin is not stdin
    rows, report = imported("-", tmp_path / "shop")
    assert column(rows, "title") == ["red dress", "blue vase"]
    assert report["files"][0]["name"] == "stdin"


def test_files_of_a_glob_are_one_feed(tmp_path: Path) -> None:
    """In name order, columns by their names in each, those that a file lacks null."""
    (tmp_path / "a.csv").write_text("id,title,brand\n1,one,B\n")
    (tmp_path / "b.csv").write_text("title;id\ntwo;2\n")
    rows, report = imported(f"{tmp_path}/*.csv", tmp_path / "shop")
    assert [(row["id"], row["title"], row["brand"]) for row in rows] == [("1", "one", "B"), ("2", "two", None)]
    assert report["notices"] == ["files differ in their delimiter: comma, semicolon"]


def test_files_may_spell_their_columns_otherwise(tmp_path: Path) -> None:
    """`Title` of one file and `title` of another are one column."""
    (tmp_path / "a.csv").write_text("ID,Title\n1,one\n")
    (tmp_path / "b.csv").write_text("id,title\n2,two\n")
    rows, _ = imported(f"{tmp_path}/*.csv", tmp_path / "shop")
    assert [(row["id"], row["title"]) for row in rows] == [("1", "one"), ("2", "two")]


def test_a_check_says_what_an_import_would_do_and_writes_nothing(tmp_path: Path) -> None:
    """The same report, no folder."""
    (tmp_path / "feed.csv").write_text(GOOD)
    done = vitrine("import", tmp_path / "feed.csv", "--check", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["rows_written"] == 2
    assert [one.name for one in tmp_path.iterdir()] == ["feed.csv"]
    sampled = vitrine("import", tmp_path / "feed.csv", "--check", "--sample", 1, "--json")
    assert json.loads(sampled.stdout)["rows_written"] == 1


REFUSED = {
    "empty": (b"", "a feed with a line of names"),
    "header only": (b"id,title\n", "at least one item"),
    "error page": (b"<!DOCTYPE html><html><head><title>503 Busy</title></head></html>", "a feed"),
    "workbook": (b"PK\x03\x04\x14\0\x06\0", "a feed as text"),
    "no id column": (b"number_of,title\n1,one\n", "a column of ids"),
    "no id in any row": (b"id,title\n,one\n,two\n", "at least one item"),
    "a column twice": (b"id,title,title\n1,a,b\n", "a column title once"),
    "packed twice": (gzip.compress(gzip.compress(GOOD.encode())), "a feed as text"),
    "a database": (b"SQLite format 3\0" + bytes(2_000), "a feed as text"),
    "bytes of any kind": (bytes(range(256)) * 40, "a feed as text"),
    "truncated": (gzip.compress(GOOD.encode() * 5000)[:-20], "a file that is whole"),
    "wrong dialect": (b"id,title\n" + b"1;one\n" * 20, "a feed most of whose rows can be read"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_feed_is_refused_and_what_was_there_stays(case: str, tmp_path: Path) -> None:
    """Exit code 2 with what came; the products and the report of the last good import are as they were."""
    import_rows(tmp_path, GOOD, name="good.csv")
    before = {path.name: path.read_bytes() for path in (tmp_path / "shop").iterdir()}
    raw, expected = REFUSED[case]
    done = import_text(tmp_path, raw)
    assert done.exit_code == 2
    assert expected in told(done.stderr)[0]
    assert {path.name: path.read_bytes() for path in (tmp_path / "shop").iterdir()} == before


@pytest.mark.parametrize("source", ["products.parquet", "*.parquet", "."])
def test_a_catalog_does_not_take_the_place_of_its_own_feed(source: str, tmp_path: Path) -> None:
    """What the map leaves out of a table would be nowhere else."""
    pq.write_table(pa.table({"id": ["1"], "name": ["one"]}), tmp_path / "products.parquet")
    before = (tmp_path / "products.parquet").read_bytes()
    done = vitrine("import", tmp_path / source, "--to", tmp_path)
    assert done.exit_code == 2
    assert told(done.stderr)[2] == "name another folder with --to"
    assert (tmp_path / "products.parquet").read_bytes() == before


@pytest.mark.parametrize(("folder", "store"), [("store", None), ("store/shop", None), ("new", "new"), ("new/a", "new")])
def test_a_store_is_no_place_for_a_catalog(folder: str, store: str | None, tmp_path: Path) -> None:
    """Neither one that is there, nor the one that `--index` would make; nothing is written."""
    for name in ("publications", "snapshots"):
        (tmp_path / "store" / name).mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    more = ["--index", tmp_path / store] if store else []
    done = vitrine("import", "sample:csv", "--to", tmp_path / folder, *more)
    assert done.exit_code == 2
    assert "store" in told(done.stderr)[0]
    assert sorted(tmp_path.rglob("*")) == before


def test_an_import_that_is_ended_leaves_nothing(tmp_path: Path) -> None:
    """SIGTERM, as a scheduler sends it, in the midst of a feed: no folder, no half of a catalog."""
    feed, shop = tmp_path / "feed.csv", tmp_path / "shop"
    feed.write_bytes(b"id,title\n" + b"".join(b"%d,a title of a product\n" % n for n in range(1_000_000)))
    command = [sys.executable, "-m", "pipeline", "import", feed, "--to", shop]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(shop.glob(".products*")):
            time.sleep(0.01)
        process.terminate()
    assert process.returncode == 143
    assert not shop.exists()


def test_folders_inside_of_a_feed_are_said(tmp_path: Path) -> None:
    """They are not read, which nobody would think but of the catalog's own."""
    for name in ("2025", "shop", "_old"):
        (tmp_path / name).mkdir()
    (tmp_path / "a.csv").write_text(GOOD)
    _, report = imported(tmp_path, tmp_path / "shop")
    assert report["notices"] == ["not read, because only files of a folder are: 2025"]


def test_a_file_is_no_place_for_a_catalog(tmp_path: Path) -> None:
    """Exit code 2, and the file stays."""
    (tmp_path / "shop").write_text("mine")
    done = import_text(tmp_path, GOOD)
    assert done.exit_code == 2
    assert told(done.stderr)[0] == "--to FOLDER"
    assert (tmp_path / "shop").read_text() == "mine"


def test_what_a_killed_import_left_is_gone_a_day_later(tmp_path: Path) -> None:
    """Its half of a catalog; what another import writes at this time stays."""
    imported("sample:csv", tmp_path / "shop")
    dead, live = (tmp_path / "shop" / f".products.parquet.{number}.tmp" for number in (1, 2))
    for one in (dead, live):
        one.write_bytes(b"PAR1")
    os.utime(dead, (0, 0))
    imported("sample:csv", tmp_path / "shop")
    assert (dead.exists(), live.exists()) == (False, True)


def test_items_without_an_id_are_rejected_and_counted(tmp_path: Path) -> None:
    """The others are imported, and the report shows which had none."""
    rows, report = import_rows(tmp_path, "id,title\n1,one\n ,two\n3,three\n")
    assert column(rows, "id") == ["1", "3"]
    assert report["rejected"] == {"missing_id": 1}
    assert [(one["row"], one["line"], one["came"]) for one in report["examples"]] == [(2, 3, "title=two")]


def test_an_answer_that_is_an_error_is_shown(tmp_path: Path) -> None:
    """A JSON document of an error has no id, and what it says is what helps."""
    done = import_text(tmp_path, '{"error": {"code": 403, "message": "not for you"}}')
    assert done.exit_code == 2
    assert "not for you" in told(done.stderr)[1]


def test_values_that_cannot_be_read_are_null_counted_and_shown(tmp_path: Path) -> None:
    """Of a price that is none the row stays, and the report has its row and line."""
    rows, report = import_rows(tmp_path, 'id,price,rating\n1,12.50 USD,4.5\n2,on request,good\n3,"1,250 USD",5\n')
    assert column(rows, "price") == [Decimal("12.5"), None, Decimal("1250")]
    assert column(rows, "rating") == [4.5, None, 5.0]
    found = [(one["what"], one["row"], one["line"], one["came"]) for one in report["examples"]]
    assert found == [("price", 2, 3, "on request"), ("rating", 2, 3, "good")]
