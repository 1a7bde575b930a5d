"""`configs/starter.yaml`: real weights through the command, from the package to hits."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

from pipeline.demo.catalog import DemoOptions, write_demo_catalog
from tests.support.command import told, vitrine
from tests.support.places import ROOT
from tests.support.stores import manifest_of

CONFIG = ROOT / "configs" / "starter.yaml"


def test_the_opening_says_what_is_needed_to_choose() -> None:
    """The commands to begin with, the licence, dimensions, size and languages; and it loads as it is."""
    words = CONFIG.read_text(encoding="utf-8").split("\n\n")[0]
    assert all(
        f"\n#   {line}" in words for line in ("vitrine models add starter\n", "vitrine run -c configs/starter.yaml")
    )
    assert all(fact in words for fact in ("Apache-2.0", "English", "1920 together", " MB"))
    assert vitrine("config", "show", "-c", CONFIG).exit_code == 0


def test_weights_that_were_not_added_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`plan` names the command that brings them, which needs no hub."""
    monkeypatch.setenv("VITRINE_MODELS", str(tmp_path / "models"))
    write_demo_catalog(tmp_path / "demo", DemoOptions(products=2))
    done = vitrine("plan", "-c", CONFIG, *where(tmp_path))
    assert done.exit_code == 2
    assert "run `vitrine models add minilm`" in told(done.stderr)[1]


def test_from_the_package_to_hits(starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models added, a catalog of photos and titles run, and found again: each product by its photo mirrored and made
    smaller, and by words that no title has.
    """
    monkeypatch.setenv("VITRINE_MODELS", str(starter))
    write_demo_catalog(tmp_path / "demo", DemoOptions(products=12))
    done = vitrine("run", "-c", CONFIG, *where(tmp_path), "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["rows_embedded"] == 12
    assert manifest_of(tmp_path / "store").dim == 1920
    rows = [row for file in (tmp_path / "demo/catalog").iterdir() for row in pq.read_table(file).to_pylist()]
    for row in rows[:4]:
        mirrored = ImageOps.mirror(Image.open(tmp_path / "demo" / row["image_link"]).convert("RGB"))
        mirrored.resize((mirrored.width * 3 // 4, mirrored.height * 3 // 4)).save(tmp_path / "query.jpg", quality=80)
        assert hits(tmp_path / "store", "--image", tmp_path / "query.jpg")[0]["id"] == row["id"]
    for asked, meant in (("school bag", "backpack"), ("cup of coffee", "mug"), ("party gown", "dress")):
        assert not any(word in row["title"].lower() for word in asked.split() for row in rows)
        first = hits(tmp_path / "store", "--text", asked)[0]["id"]
        assert meant in next(row["title"] for row in rows if row["id"] == first)


def hits(store: Path, *asked: object) -> list[dict[str, str]]:
    done = vitrine("search", store, *asked, "-k", 3, "--json")
    assert done.exit_code == 0, done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout)["hits"]
    return found


def where(folder: Path) -> list[str]:
    """Overrides for a demo catalog, in one partition."""
    catalog = [f"catalog.path={folder}/demo/catalog", f"catalog.image_root={folder}/demo", "catalog.partition=null"]
    return [*catalog, f"store.path={folder}/store"]
