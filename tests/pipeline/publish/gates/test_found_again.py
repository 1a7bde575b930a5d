"""Products asked for by their own texts and photos, encoded anew, before a snapshot is published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders.types.hashed_text import HashedText
from lookup.store.entries.figures import FoundAgain, PartitionFigures
from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.config.sections import GatesConfig
from pipeline.publish.figures.measure import products_of_each
from pipeline.publish.gates.base import Comparison
from pipeline.publish.gates.found_again import Gate
from tests.support.command import run_titles, told, write_titles
from tests.support.manifests import manifest_of_readings, reading
from tests.support.shop import Shop
from tests.support.stores import last_log, manifest_of

TITLES = [f"{colour} {kind} number {n}" for n in range(20) for colour in ("red", "blue") for kind in ("lamp", "coat")]


def results(store: Path) -> dict[str, dict[str, Any]]:
    """What the gate said of the last run, by name."""
    found = json.loads(last_log(store, "run.json"))["gates"]
    return {one["name"]: one for one in found if one["name"].startswith("found_again")}


def test_an_encoder_that_answers_otherwise_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors that were copied from the night before, and queries of an encoder that gives others by now under the same
    identity: nothing finds itself any more, and the night is refused.
    """
    assert run_titles(write_titles(tmp_path / "c.parquet", TITLES), tmp_path / "store").exit_code == 0
    assert results(tmp_path / "store")["found_again"]["advice"] == "80 of 80 products are found by their own text"
    real = HashedText.forward
    turned = np.linalg.qr(np.random.default_rng(0).standard_normal((32, 32)))[0].astype(np.float32)
    monkeypatch.setattr(HashedText, "forward", lambda self, chunk, role: real(self, chunk, role) @ turned)
    catalog = write_titles(tmp_path / "c.parquet", TITLES[:-1])
    done = run_titles(catalog, tmp_path / "store")
    assert done.exit_code == 3
    expected, came, _ = told(done.stderr)
    assert "found_again_text <= 0.1" in expected
    assert "of 79 products are found by their own text, encoded anew; at the parent's shares 79 would be" in came
    done = run_titles(catalog, tmp_path / "store", "--accept", "found_again_text", "--accept", "found_again")
    assert done.exit_code == 0, done.stderr


def test_equal_texts_find_one_another(tmp_path: Path) -> None:
    """Of sixty products with three texts each is found by its own, whichever of them are the ten hits."""
    assert run_titles(write_titles(tmp_path / "c.parquet", TITLES[:3] * 20), tmp_path / "store").exit_code == 0
    assert results(tmp_path / "store")["found_again"]["advice"] == "60 of 60 products are found by their own text"


def test_a_night_asks_only_what_it_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts and photos of partitions whose index is the parent's are not asked for again: what was found of them stands
    in the manifest. A night on which nothing changed encodes nothing.
    """
    shop = Shop(tmp_path, monkeypatch)
    ask = ("index.text_queries=true", "index.photo_queries=true")
    shop.night(*ask)
    photos = [figures.asked for _, figures in asked(tmp_path / "store") if figures.kind == "photo"]
    assert (photos, shop.images) == ([20, 20, 20], 2 * 60)
    shop.night(*ask)
    assert (shop.texts, shop.images) == (0, 0)
    before = dict(manifest_figures(tmp_path / "store"))
    shop.change("title", ["green hat", *shop.values("title")[1:]])
    shop.night(*ask)
    assert shop.images == 20  # of the one category, by their photos
    after = dict(manifest_figures(tmp_path / "store"))
    assert {name for name in before if before[name] is not None and after[name] == before[name]} >= {"Shoes", "Home"}


def test_each_of_many_categories_is_asked_enough(tmp_path: Path) -> None:
    """Its next run alone is compared with these, until there are too many categories to ask as much of each."""
    kinds = [f"kind {n % 12:02}" for n in range(12 * 24)]
    catalog = write_titles(tmp_path / "c.parquet", [f"red lamp number {n}" for n in range(12 * 24)], kind=kinds)
    assert run_titles(catalog, tmp_path / "store", "catalog.partition=kind").exit_code == 0
    assert [one.asked for _, one in asked(tmp_path / "store")] == [20] * 12
    texts, photos = ([products_of_each(kind, n) for n in (1, 50, 100, 5000)] for kind in ("text", "photo"))
    assert (texts, photos) == ([200, 20, 10, 1], [60, 4, 2, 1])


@pytest.mark.parametrize(
    ("before", "passed", "said"), [(2, True, "too few to tell a fall of less than 92%"), (20, False, "")]
)
def test_a_parent_that_asked_too_few_is_told(tmp_path: Path, before: int, passed: bool, said: str) -> None:
    """A category that fell by 40 of 100 is refused where the parent asked 20 of it; where it asked 2, the result says
    that it cannot tell.
    """
    manifest = manifest_of_readings(reading(0), {"a": reading(0)})
    (entry,) = manifest.partitions

    def having(asked: int, found: int) -> Manifest:
        figures = PartitionFigures(found_again=(FoundAgain(kind="text", asked=asked, found=found),))
        return manifest.model_copy(update={"partitions": (entry.model_copy(update={"figures": figures}),)})

    pair = having(200, 120), having(before, before)
    _, drop = Gate().check(Comparison(Store.at(str(tmp_path)), *pair, frozenset("a"), GatesConfig()))
    assert (drop.name, drop.passed) == ("found_again_text", passed)
    assert said in drop.advice


def asked(store: Path) -> list[tuple[str, Any]]:
    """(partition, figures of a kind) of the published snapshot."""
    return [(name, one) for name, figures in manifest_figures(store) for one in figures.found_again]


def manifest_figures(store: Path) -> list[tuple[str, Any]]:
    """(partition, its figures) of the published snapshot."""
    return [(one.name, one.figures) for one in manifest_of(store).partitions]
