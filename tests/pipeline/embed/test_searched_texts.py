"""What is searched by its words lies in shards as cleaned text; switched on, nothing is encoded again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.support.command import ANY_NIGHT, run_titles, vitrine, write_titles

TITLES = ["red dress", "  Blue\u00a0 shoe ", None, "ｆｕｌｌ width", "lamp"]
BRANDS = ["Acme", None, "Acme", "B&B", ""]


def shards(store: Path) -> list[dict[str, Any]]:
    """The rows of the published snapshot's shards, by id, but vectors."""
    found = json.loads(vitrine("inspect", store, "--json").stdout)
    assert found
    names = [path for path in store.glob("shards/*.parquet") if "rejects" not in path.name]
    newest = max(names, key=lambda path: path.stat().st_mtime_ns)
    table = pq.read_table(newest)
    wanted = [name for name in table.column_names if name in ("id", "texts")]
    return table.select(wanted).to_pylist()


def report(store: Path) -> dict[str, Any]:
    """The report of the last run."""
    found: dict[str, Any] = json.loads(max(store.glob("runs/*/run.json")).read_text())
    return found


def test_shards_have_the_texts_that_are_searched(tmp_path: Path) -> None:
    """Cleaned as for an encoder, field by field, null where a row has none; also of columns that are no text of its."""
    catalog = write_titles(tmp_path / "c.parquet", TITLES, brand=BRANDS)
    loose = ("gates.max_reject_share=1", *ANY_NIGHT)
    assert run_titles(catalog, tmp_path / "store", "lexical.fields={title: 2, brand: 1}", *loose).exit_code == 0
    assert shards(tmp_path / "store") == [
        {"id": "P0", "texts": {"brand": "Acme", "title": "red dress"}},
        {"id": "P1", "texts": {"brand": None, "title": "Blue shoe"}},
        {"id": "P3", "texts": {"brand": "B&B", "title": "full width"}},
        {"id": "P4", "texts": {"brand": None, "title": "lamp"}},
    ]


def test_switched_on_nothing_is_encoded_again(tmp_path: Path) -> None:
    """Shards are written anew with vectors that are copied; a change of a field that no vector is made of, too, and
    another weight writes nothing.
    """
    catalog, store = write_titles(tmp_path / "c.parquet", ["a dress", "a shoe"], brand=["x", "y"]), tmp_path / "store"
    assert run_titles(catalog, store).exit_code == 0
    assert [*shards(store)[0]] == ["id"]
    first = report(store)
    assert first["texts_encoded"] == 2
    assert run_titles(catalog, store, "lexical.fields={title: 2, brand: 1}").exit_code == 0
    assert shards(store)[0] == {"id": "P0", "texts": {"brand": "x", "title": "a dress"}}
    write_titles(catalog, ["a dress", "a shoe"], brand=["z", "y"])
    assert run_titles(catalog, store, "lexical.fields={title: 2, brand: 1}", *ANY_NIGHT).exit_code == 0
    assert shards(store)[0] == {"id": "P0", "texts": {"brand": "z", "title": "a dress"}}
    files = {path.name for path in store.glob("shards/*.parquet")}
    assert run_titles(catalog, store, "lexical.fields={title: 4, brand: 1}", *ANY_NIGHT).exit_code == 0
    assert {path.name for path in store.glob("shards/*.parquet")} == files
    assert [json.loads(path.read_text())["texts_encoded"] for path in sorted(store.glob("runs/*/run.json"))][1:] == [
        0,
        0,
        0,
    ]


def test_a_category_is_not_searched_otherwise_than_the_others(tmp_path: Path) -> None:
    """One category whose words are searched beside others whose are not is refused, with the fix."""
    catalog, store = write_titles(tmp_path / "c.parquet", ["a", "b"], kind=["x", "y"]), tmp_path / "store"
    assert run_titles(catalog, store, "catalog.partition=kind").exit_code == 0
    refused = run_titles(catalog, store, "catalog.partition=kind", "lexical={}", "--category", "x")
    assert refused.exit_code == 2
    assert "lexical.fields as in the published snapshot" in refused.stderr
    assert "run the whole catalog once" in refused.stderr


def test_a_field_that_no_file_has_is_named(tmp_path: Path) -> None:
    """As for every other column in use, before any work."""
    catalog = write_titles(tmp_path / "c.parquet", ["a"])
    refused = run_titles(catalog, tmp_path / "store", "lexical.fields={titel: 1}")
    assert refused.exit_code == 2
    assert "no column 'titel' (nearest: 'title')" in refused.stderr
