"""A run of one category says which of its products stand elsewhere by now, and is refused when they are many."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.command import ANY_NIGHT, TITLES_ONLY, run_titles, told, vitrine, write_titles
from tests.support.stores import manifest_of

ROWS = 300
BY_KIND = ("catalog.partition=kind", "catalog.attributes=[title]")


def kinds(moved: int, gone: int = 0) -> list[str]:
    """Lamps, shoes and hats; of the lamps the first are hats by now, and the last are not among them."""
    return ["hats"] * moved + ["lamps"] * (100 - moved - gone) + ["shoes"] * 100 + ["hats"] * 100


def write(folder: Path, names: Sequence[str], gone: int = 0) -> Path:
    """The catalog, without the last `gone` lamps."""
    ids = [f"P{n}" for n in range(ROWS) if not 100 - gone <= n < 100]
    return write_titles(folder / "c.parquet", [f"thing {one}" for one in ids], id=ids, kind=names)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The store of a night when nothing had moved."""
    done = run_titles(write(tmp_path, kinds(0)), tmp_path / "store", *BY_KIND)
    assert done.exit_code == 0, done.stderr
    return tmp_path / "store"


def test_products_that_moved_out_refuse_a_category_alone(store: Path) -> None:
    """30 of 100 lamps are hats by now: `--category lamps` exits 3 before anything is encoded and says how many moved
    where; plan says the same; the whole catalog finds every one.
    """
    catalog = write(store.parent, kinds(30, gone=5), gone=5)
    done = run_titles(catalog, store, *BY_KIND, "--category", "lamps")
    expected, came, fix = told(done.stderr)
    assert (done.exit_code, done.stdout) == (3, "")
    assert expected == "moved_products <= 0.01"
    assert "moved_products 0.3 (of 100 published products of 'lamps', 30 stand in other categories by now" in came
    assert "30 in 'hats'), 5 are gone from the catalog" in came
    assert "what moved is found again after `vitrine run --category hats`" in came
    assert "without --category" in came + fix
    words = (*TITLES_ONLY, f"catalog.path={catalog}", f"store.path={store}", *BY_KIND, "--category", "lamps")
    done = vitrine("plan", "-c", "configs/weightless.yaml", *words)
    assert (done.exit_code, *told(done.stderr)[:2]) == (3, expected, came)
    assert run_titles(catalog, store, *BY_KIND, *ANY_NIGHT).exit_code == 0
    rows = {entry.name: entry.rows for entry in manifest_of(store).partitions}
    assert rows == {"hats": 130, "lamps": 65, "shoes": 100}


def test_few_that_moved_are_told(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Fewer than gates.least_rows stop nothing, and are told in the log, in run.json and in the report; a category that
    products moved into, or that only lost some, is run as ever.
    """
    catalog = write(store.parent, kinds(7, gone=5), gone=5)
    done = run_titles(catalog, store, *BY_KIND, "--category", "lamps")
    assert done.exit_code == 0, done.stderr
    said = "of 100 published products of 'lamps', 7 stand in other categories by now (7 in 'hats'), 5 are gone"
    assert said in caplog.text
    folder = sorted((store / "runs").iterdir())[-1]
    gates = {gate["name"]: gate for gate in json.loads((folder / "run.json").read_text())["gates"]}
    assert gates["moved_products"]["value"] == 0.07
    assert said in gates["moved_products"]["advice"]
    assert run_titles(catalog, store, *BY_KIND, "--category", "hats").exit_code == 0
    rows = {entry.name: entry.rows for entry in manifest_of(store).partitions}
    assert rows == {"hats": 107, "lamps": 88, "shoes": 100}


def test_a_wide_bound_lets_them_go(store: Path) -> None:
    """With gates.max_moved_share=1 a category alone is run on purpose."""
    catalog = write(store.parent, kinds(30))
    wide = ("gates.max_moved_share=1", *ANY_NIGHT)
    done = run_titles(catalog, store, *BY_KIND, "--category", "lamps", *wide)
    assert done.exit_code == 0, done.stderr


def test_products_that_moved_in_name_the_category_to_run_first(store: Path) -> None:
    """Run alone, their new category would have them twice: exit 3 says where they stood, and the command that is named
    makes way for it.
    """
    catalog = write(store.parent, kinds(7))
    done = run_titles(catalog, store, *BY_KIND, "--category", "hats")
    came = told(done.stderr)[1]
    assert (done.exit_code, done.stdout) == (3, "")
    assert "7 ids in more than one place, such as 'P0' in 'hats', 'lamps'" in came
    assert "or first, where they moved from: `vitrine run --category lamps`" in came
    for category in ("lamps", "hats"):
        assert run_titles(catalog, store, *BY_KIND, "--category", category).exit_code == 0
    rows = {entry.name: entry.rows for entry in manifest_of(store).partitions}
    assert rows == {"hats": 107, "lamps": 93, "shoes": 100}
