"""`vitrine diff` says what became of each product, as two tables in memory say it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookup.store.store import Store
from tests.support.chance import LOOSE, Chance
from tests.support.command import run_titles, told, vitrine, write_titles
from tests.support.shard_rows import embedded, matrix
from tests.support.shop import Shop, paint


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path, monkeypatch)


def diff(shop: Shop, *words: object) -> dict[str, Any]:
    """The document of `vitrine diff`."""
    done = vitrine("diff", shop.folder / "store", *words, "--json")
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def products(store: Path) -> dict[str, dict[str, Any]]:
    """What is published, by id."""
    table, partitions = embedded(store), partitions_of(store)
    vectors = matrix(table, "embedding")
    wanted = table.select(["id", "text_fingerprint", "photo_fingerprint", "attributes", "photo"]).to_pylist()
    return {
        row["id"]: {**row, "in": partitions[row["id"]], "vector": v} for row, v in zip(wanted, vectors, strict=True)
    }


def partitions_of(store: Path) -> dict[str, str]:
    """The partition of each id, by the files of ids of the indexes."""
    import pyarrow.parquet as pq

    manifest = Store.open(str(store)).published()[1]
    files = {one.name: store / one.index.files["ids"].path for one in manifest.partitions}
    return {name: key for key, path in files.items() for name in pq.read_table(path)["id"].to_pylist()}


def expected(old: dict[str, dict[str, Any]], new: dict[str, dict[str, Any]]) -> dict[str, set[str]]:
    """Kind of change -> the ids."""
    both = [name for name in old if name in new]

    def differ(*fields: str) -> set[str]:
        return {name for name in both if any(old[name][field] != new[name][field] for field in fields)}

    text, photo = differ("text_fingerprint"), differ("photo_fingerprint")
    return {
        "added": set(new) - set(old),
        "gone": set(old) - set(new),
        "text": text,
        "photo": photo,
        "attributes": differ("attributes", "photo") - text - photo,
        "moved": differ("in"),
        "vector": {name for name in both if (old[name]["vector"] != new[name]["vector"]).any()},
    }


def test_random_nights_are_told_as_two_tables_differ(shop: Shop) -> None:
    """Counts and ids of every kind of change, in all and by partition, and cosines, are those of plain Python."""
    chance, store = Chance(shop, 5), shop.folder / "store"
    seen = Counter[str]()
    shop.night(*LOOSE)
    before, name = products(store), Store.open(str(store)).current()
    for things in ([chance.edit, chance.swap, chance.add], [chance.reprice, chance.delete, chance.move, chance.edit]):
        chance.happen()
        for thing in things:
            thing()
        shop.night(*LOOSE)
        after, now = products(store), Store.open(str(store)).current()
        found, wanted = diff(shop, name, now, "--limit", "100"), expected(before, after)
        assert {kind: set(ids) for kind, ids in found["examples"].items()} == wanted
        assert found["counts"] == {kind: len(ids) for kind, ids in wanted.items()}
        by_partition = {one["name"]: one["counts"] for one in found["partitions"]}
        for kind, ids in wanted.items():
            rows = Counter((before if kind == "gone" else after)[one]["in"] for one in ids)
            assert {key: one[kind] for key, one in by_partition.items() if kind in one} == rows
            seen[kind] += len(ids)
        away = Counter(before[one]["in"] for one in wanted["moved"])
        assert {key: one["moved_away"] for key, one in by_partition.items() if "moved_away" in one} == away
        cosines = [cosine(before[one]["vector"], after[one]["vector"]) for one in wanted["vector"]]
        if cosines:
            figures = [found["cosines"][key] for key in ("median", "p05", "least")]
            assert figures == pytest.approx([np.median(cosines), np.quantile(cosines, 0.05), min(cosines)], abs=1e-6)
        assert [one["rows"] for one in found["partitions"]] == [
            [count(before, one["name"]), count(after, one["name"])] for one in found["partitions"]
        ]
        before, name = after, now
    assert min(seen[kind] for kind in ("added", "gone", "text", "photo", "attributes", "moved", "vector")) > 0


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def count(rows: dict[str, dict[str, Any]], partition: str) -> int | None:
    return sum(one["in"] == partition for one in rows.values()) or None


def test_what_both_name_is_not_read(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a night that changed a row of one unit, the rows of that unit are read; joined in many parts, all is the
    same.
    """
    shop.night()
    shop.change("title", ["blue hat" if n == 25 else title for n, title in enumerate(shop.values("title"))])
    paint(shop.photos / "26.png", 50)
    shop.night()
    found = diff(shop)
    assert (found["rows_read"], found["rows"]) == (40, [60, 60])
    assert found["examples"] == {
        **{kind: [] for kind in ("added", "gone", "attributes", "moved")},
        "text": ["P25"], "photo": ["P26"], "vector": ["P25", "P26"],
    }  # fmt: skip
    monkeypatch.setattr("pipeline.compare.joined_rows._BUCKET_ROWS", 1)
    again = diff(shop, 1, 2)
    assert {key: sorted(ids) for key, ids in again["examples"].items()} == found["examples"]
    assert (again["counts"], again["cosines"]) == (found["counts"], found["cosines"])


def test_settings_models_and_rejects_are_told(shop: Shop) -> None:
    """Another text encoder, another weight, an attribute less, one of another type, and a row without an id."""
    shop.night()
    shop.change("id", [None if n == 3 else name for n, name in enumerate(shop.values("id"))])
    shop.night("encoders.text.dim=128", "fusion.text_weight=0.25", "catalog.attributes=[title]")
    found = diff(shop)
    assert found["models"]["text"] == ["dim 256", "dim 128"] or found["models"]["text"][0].startswith("dim ")
    assert found["models"]["fusion"] == ["text_weight 0.5", "text_weight 0.25"]
    assert "image" not in found["models"]
    assert found["settings"]["catalog.attributes"] == [["title", "price"], ["title"]]
    assert found["settings"]["fusion.text_weight"] == [0.5, 0.25]
    assert found["attribute_types"] == {"price": ["double", None]}
    assert found["rejected"] == {"missing_id": [0, 1]}
    assert (found["counts"]["gone"], found["counts"]["attributes"], found["cosines"]) == (1, 0, None)
    printed = vitrine("diff", shop.folder / "store").stdout
    for words in ("missing_id", "0 -> 1", "text_weight 0.25", "the type of price", "P3", "are not compared"):
        assert words in printed


def test_there_have_to_be_two_snapshots(shop: Shop) -> None:
    """A store of one publication, a number that was never published and an unknown id are refused with exit code 2."""
    shop.night()
    for words in ((), (1, 7), ("20261121T085140Z-ffe67b365cd1c6c4",)):
        done = vitrine("diff", shop.folder / "store", *words)
        assert done.exit_code == 2
        told(done.stderr)
    same = diff(shop, 1)
    assert (same["rows_read"], same["changed"], sum(same["counts"].values())) == (0, 0, 0)
    assert same["settings"] == {}
    assert vitrine("diff", shop.folder / "none").exit_code == 2


def test_golden_queries_of_both_are_told(tmp_path: Path) -> None:
    """Counts of both, and the queries whose hits changed, those that lost what they expect first."""
    titles, store = [f"{'red' if n % 2 else 'blue'} lamp number {n}" for n in range(40)], tmp_path / "store"
    golden = tmp_path / "golden.yaml"
    asking = {"red lamp number 7": "P7", "blue lamp number 8": "P8", "blue lamp number 20": "P20"}
    golden.write_text("".join(f"- {{text: {text}, expect: {name}}}\n" for text, name in asking.items()))
    asked = (f"golden={golden}", "golden.k=1", "gates.min_golden=0")
    assert run_titles(write_titles(tmp_path / "c.parquet", titles), store, *asked).exit_code == 0
    titles[8], titles[30] = "something else", "red lamp number 7"
    assert run_titles(write_titles(tmp_path / "c.parquet", titles), store, *asked).exit_code == 0
    found = json.loads(vitrine("diff", store, "--json").stdout)["golden"]
    assert [found[key] for key in ("queries", "found", "told_of")] == [[3, 3], [3, 2], 3]
    (one,) = found["changes"]
    assert (one["text"], one["rank"], one["outcome"]) == ("blue lamp number 8", [1, None], ["found", "missed"])
    assert one["hits"][0] == ["P8"] != one["hits"][1]
    printed = vitrine("diff", store).stdout
    assert "3 -> 2 of 3; 1 have other hits" in printed
    assert "place 1 -> missed" in printed
    for path in store.glob("runs/*/golden.json"):
        path.unlink()
    left = json.loads(vitrine("diff", store, "--json").stdout)["golden"]
    assert (left["found"], left["told_of"], left["changes"]) == ([3, 2], 0, [])
