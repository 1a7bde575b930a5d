"""How far a night is from the one before, as its manifest has it, and what is read to tell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from lookup.store.entries.drift import Drift
from pipeline.publish.drift import rows
from tests.support.command import run_titles, told, write_titles
from tests.support.shop import Shop, paint
from tests.support.stores import last_log, manifest_of

OPEN = ("gates.min_ids_kept=0", "gates.max_texts_changed=1", "gates.max_row_drop=1", "gates.max_row_growth=9")
BOUNDS = ("gates.max_photos_changed=0.2", "gates.max_photos_repeated=0.1")
KINDS = ("catalog.partition=product_type",)


def night(folder: Path, titles: Sequence[str], *more: str, **columns: Sequence[Any]) -> Result:
    """A run on a catalog of these titles, in units of 50."""
    catalog = write_titles(folder / "c.parquet", titles, 50, **columns)
    return run_titles(catalog, folder / "store", "shards.unit_rows=50", *more)


def drift_of(folder: Path) -> Drift:
    drift = manifest_of(folder / "store").drift
    assert drift is not None
    return drift


def gate(folder: Path, name: str) -> dict[str, Any]:
    report = json.loads(last_log(folder / "store", "run.json"))
    return next(one for one in report["gates"] if one["name"] == name)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The row groups that a comparison has read."""
    groups: list[int] = []
    plain = rows.read_segments

    def counted(path: Any, wanted: Sequence[int], columns: Sequence[str]) -> Any:
        groups.extend(wanted)
        return plain(path, wanted, columns)

    monkeypatch.setattr(rows, "read_segments", counted)
    return groups


TITLES = [f"red dress number {n}" for n in range(200)]


def test_what_both_name_is_not_read(tmp_path: Path, read: list[int]) -> None:
    """A first night and one on which nothing changed read nothing, one on which a unit changed its two shards."""
    assert night(tmp_path, TITLES).exit_code == 0
    assert manifest_of(tmp_path / "store").drift is None
    assert "ids_kept" not in last_log(tmp_path / "store", "run.json")
    assert night(tmp_path, TITLES, "gates.min_recall=0.8").exit_code == 0
    assert not read
    assert night(tmp_path, ["blue coat", *TITLES[1:]]).exit_code == 0
    assert read == [0, 0]
    assert drift_of(tmp_path).model_dump() == {
        "before": 200,
        "now": 200,
        "kept": 200,
        "moved": 0,
        "texts_changed": 1,
        "photos_changed": 0,
        "texts_repeated": 0,
        "photos_repeated": 0,
        "attributes": ({"name": "title", "nulls": 0.0, "shift": None},),
    }


def test_a_product_that_moved_is_kept_in_all_and_lost_where_it_was(tmp_path: Path) -> None:
    """Half of a category moved to another: no id is gone, and the category's gate refuses, by its name."""
    kinds = ["Dress"] * 100 + ["Coat"] * 100
    assert night(tmp_path, TITLES, *KINDS, product_type=kinds).exit_code == 0
    moved = ["Dress"] * 50 + ["Coat"] * 150
    refused = night(tmp_path, TITLES, *KINDS, "gates.max_row_drop=0.9", product_type=moved)
    assert refused.exit_code == 3
    came = told(refused.stderr)[1]
    assert came.startswith("ids_kept:Dress 0.5 (50 of 100 ids of the parent are still there; ")
    assert gate(tmp_path, "ids_kept")["advice"] == (
        "200 of 200 ids of the parent are still there, 50 of them in another partition"
    )
    again = night(tmp_path, TITLES, *KINDS, "--accept", "ids_kept", "gates.max_row_drop=0.9", product_type=moved)
    assert again.exit_code == 0
    assert (drift_of(tmp_path).kept, drift_of(tmp_path).moved) == (200, 50)


def test_a_category_is_compared_with_itself(tmp_path: Path, read: list[int]) -> None:
    """A re-index of one category reads that one alone, and is judged by it."""
    kinds = ["Dress"] * 100 + ["Coat"] * 100
    assert night(tmp_path, TITLES, *KINDS, product_type=kinds).exit_code == 0
    changed = [f"new {title}" for title in TITLES]
    done = night(tmp_path, changed, *KINDS, *OPEN, "--category", "Coat", product_type=kinds)
    assert done.exit_code == 0, done.stderr
    assert (drift_of(tmp_path).before, drift_of(tmp_path).texts_changed) == (100, 100)
    assert len(read) == 4
    refused = night(tmp_path, TITLES, *KINDS, "--category", "Coat", product_type=kinds)
    assert told(refused.stderr)[1].startswith("texts_changed 1 (100 of 100 products")


def test_another_encoder_changes_no_text(tmp_path: Path) -> None:
    """Vectors are all others, texts are what they were; where the settings of texts are others, that is said."""
    assert night(tmp_path, TITLES, description=TITLES).exit_code == 0
    assert night(tmp_path, TITLES, "encoders.text.dim=64", description=TITLES).exit_code == 0
    assert (drift_of(tmp_path).kept, drift_of(tmp_path).texts_changed) == (200, 0)
    both = "catalog.text=[title,description]"
    assert night(tmp_path, TITLES, "encoders.text.dim=64", both, description=TITLES).exit_code == 0
    assert gate(tmp_path, "texts_changed")["advice"] == (
        "not compared: catalog.text is ['title', 'description'], was ['title']: every fingerprint is another"
    )


def test_a_damaged_parent_stops_no_night(tmp_path: Path) -> None:
    """Rows of a shard that is damaged are left out of the comparison; the night heals the store."""
    assert night(tmp_path, TITLES).exit_code == 0
    shard = sorted((tmp_path / "store" / "shards").glob("*.parquet"))[0]
    raw = bytearray(shard.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    shard.write_bytes(raw)
    done = night(tmp_path, [f"{title} new" if n % 20 == 0 else title for n, title in enumerate(TITLES)])
    assert done.exit_code == 0, done.stderr
    assert (drift_of(tmp_path).before, drift_of(tmp_path).kept) == (150, 150)
    assert "1 damaged" in gate(tmp_path, "ids_kept")["advice"]


def test_a_photo_that_is_written_anew_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were copied have other times and the same vectors; other photos, and one for all, are told apart."""
    shop = Shop(tmp_path, monkeypatch, rows=60)
    shop.night(*BOUNDS)
    for n in range(60):
        paint(shop.photos / f"{n}.png", n)
    shop.night(*BOUNDS)
    assert drift_of(tmp_path).photos_changed == 0
    shop.change("image_link", [f"{(n + 1) % 60}.png" for n in range(60)])
    assert "photos_changed 0.83" in str(shop.night(*BOUNDS, refused=True)["error"])  # the others look like the next one
    shop.change("image_link", ["7.png" if n % 2 == 0 else f"{n}.png" for n in range(60)])
    error = str(shop.night(*BOUNDS, refused=True)["error"])
    assert "photos_changed 0.4" in error
    assert "photos_repeated 0.4" in error


@pytest.mark.parametrize(
    ("first", "second", "why", "identity"),
    [
        (["shards.towers=false"], ["shards.towers=false"], "have no vectors of photos", "stat"),
        ([], ["encoders.image.seed=2"], "the image encoder is not the parent's", "stat"),
        ([], ["encoders.image.seed=2"], "the image encoder is not the parent's", "bytes"),
    ],
    ids=["no vectors", "another encoder", "other bytes"],
)
def test_photos_that_cannot_be_looked_at_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: list[str], second: list[str], why: str, identity: str
) -> None:
    """Copies with other times refuse no night, and no gate says that nothing repeats where nothing was looked at; other
    bytes are other photos all the same.
    """
    shop = Shop(tmp_path, monkeypatch, rows=60)
    told_by = f"catalog.image_identity={identity}"
    shop.night(*BOUNDS, told_by, *first)
    for n in range(60):
        paint(shop.photos / f"{n}.png", n if identity == "stat" else n + 60)
    shop.night(*BOUNDS, told_by, *second, refused=identity == "bytes")
    repeated, changed = gate(tmp_path, "photos_repeated"), gate(tmp_path, "photos_changed")
    assert repeated["advice"].startswith("not compared: photos are not looked at: ")
    assert why in repeated["advice"]
    assert (changed["passed"], changed["value"]) == ((True, 0) if identity == "stat" else (False, 1))
    assert (why in changed["advice"]) == (identity == "stat")
