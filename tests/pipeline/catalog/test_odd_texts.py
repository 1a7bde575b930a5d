"""Texts that are nested without end, or are none: what they cost their rows, and what is told of it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.bounded import within
from tests.support.command import run_titles, told, vitrine, write_titles
from tests.support.stores import last_log, manifest_of

DEEP = 60_000  # levels, each of which would be one more pass over the text
CATEGORY = "&" + "&#5&#5&#5&#5&#4" * (DEEP // 5) + "8" + ";" * DEEP  # after all of them `&8`


@pytest.mark.parametrize(
    "title", ["&" + "#65286;" * (DEEP // 2), "<b" * DEEP + ">" * DEEP, "Ã" + "ƒ" * DEEP], ids=["＆", "<b", "Ãƒ"]
)
def test_a_title_that_is_nested_deep_costs_its_row_and_no_more(title: str, tmp_path: Path) -> None:
    """Its row is `invalid_text` with the column and why, the others are found; as a query it is refused, exit 2."""
    rows = ["red dress", title, "blue shoe"]
    catalog = write_titles(tmp_path / "a.parquet", rows, kind=["Dress", "Shoe", "Shoe"], note=["", CATEGORY, ""])
    with within(120):
        done = run_titles(
            catalog, tmp_path / "store", "catalog.attributes=[note]", "gates.max_reject_share=1", "--json"
        )
        assert done.exit_code == 0, done.stderr
        [line] = json.loads(next((tmp_path / "store").glob("runs/*/run.json")).read_text())["details"]
        assert (line["outcome"], line["reason"], line["rows"]) == ("rejected", "invalid_text", 1)
        assert line["detail"].endswith("too deep to be cleaned, in title")
        asked = vitrine("search", tmp_path / "store", "--text", title)
    assert asked.exit_code == 2
    assert "too deep" in told(asked.stderr)[1]
    assert len(asked.stderr) < 1000


def test_attributes_that_are_not_utf8_are_counted(tmp_path: Path) -> None:
    """One brand, one list of tags and one price in Latin-1: each is null, and told by name on the terminal,
    in the segment and in the metrics; the price is shown with its odd byte spelled out.
    """
    raw = pa.array([b"caf\xe9", b"tea", b"12,99 \x80"], pa.binary()).view(pa.string())
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 3, 3], pa.int32()), pa.concat_arrays([raw[1:2], raw[:2]]))
    rows = ["red dress", "red shoe", "red hat"]
    more = {"brand": raw.slice(0, 2), "tags": lists, "price": raw, "kind": ["a", "a", "b"]}
    more["brand"] = pa.concat_arrays([raw[:2], pa.array(["x"])])
    catalog = write_titles(tmp_path / "c.parquet", rows, **more)
    where = ("catalog.attributes=[brand, tags, price]", "catalog.prices=[price]", "catalog.partition=kind")
    done = run_titles(catalog, tmp_path / "store", *where)
    assert done.exit_code == 0, done.stderr
    for said in ("a brand that is not UTF-8", "a tags that is not UTF-8"):
        assert f"1 of 3 products have {said}, and null in hits and filters" in done.stdout
    assert "3 of 3 products have a price that is no price" in done.stdout
    manifest = manifest_of(tmp_path / "store")
    assert manifest.unread(frozenset(["a"])) == {"price": 2, "brand": 1, "tags": 1}
    assert manifest.unread(frozenset(["b"])) == {"price": 1}
    assert 'what="attributes_not_utf8"} 2.0' in last_log(tmp_path / "store", "metrics.prom")
    asked = vitrine("search", tmp_path / "store", "--text", "red hat", "--where", "price is null", "--json")
    hits = {one["id"]: one["attributes"] for one in json.loads(asked.stdout)["hits"]}
    assert hits["P2"] == {"brand": "x", "tags": [], "price": "12,99 \\x80"}
    assert (hits["P0"]["brand"], hits["P1"]["tags"]) == (None, None)
    again = run_titles(catalog, tmp_path / "store", *where)
    assert "1 of 3 products have a brand that is not UTF-8" in again.stdout


def test_a_category_that_is_nested_deep_is_one_category(tmp_path: Path) -> None:
    """A name has an end too: what is written so is one partition, refused where it is long."""
    pq.write_table(pa.table({"id": ["a"], "title": ["red dress"], "kind": [CATEGORY]}), tmp_path / "a.parquet")
    with within(60):
        done = run_titles(tmp_path / "a.parquet", tmp_path / "store", "catalog.partition=kind")
    assert done.exit_code == 2
    assert "categories of at most 1,000 characters" in told(done.stderr)[0]
