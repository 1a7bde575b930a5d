"""`vitrine snapshots`: what was published when, by whom and why, and the bytes that each snapshot alone holds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from lookup.store.store import Store
from tests.support.ages import make_older
from tests.support.command import ANY_NIGHT, run_titles, told, vitrine, write_titles
from tests.support.stores import in_another_second, manifest_of, publish_by_hand

KINDS = ("catalog.partition=kind", "shards.unit_rows=20")


def night(catalog: Path, store: Path, *more: str) -> Result:
    """A run of a catalog that may have nothing to do with the night before."""
    return run_titles(catalog, store, *KINDS, *ANY_NIGHT, *more)


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `store`: a whole night, one of the category `mugs` alone, another whole one. Tests must not change
    it.
    """
    folder = tmp_path_factory.mktemp("nights")
    for number, more in ((1, ()), (2, ("--category", "mugs")), (3, ())):
        titles = [f"red thing {n} of night {number}" for n in range(30)]
        write_titles(folder / "c.parquet", titles, kind=["dresses", "mugs", "mugs"] * 10)
        in_another_second()
        done = night(folder / "c.parquet", folder / "store", *more)
        assert done.exit_code == 0, done.stderr
    return folder


@pytest.fixture
def store(nights: Path, tmp_path: Path) -> Path:
    """A copy of that store. Each test changes its own."""
    return Path(shutil.copytree(nights / "store", tmp_path / "store"))


def snapshots(store: Path, *more: object) -> dict[str, Any]:
    done = vitrine("snapshots", store, *more, "--json")
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_bytes_are_those_of_the_files(store: Path) -> None:
    """A snapshot's own bytes are of files that no other names, which a collection would delete with it; of a run of one
    category the rest is shared, and what it replaced is dead in shards that live on.
    """
    first, second, third = (found := snapshots(store))["publications"]
    opened = Store.open(str(store))
    manifests = [opened.manifest(one["snapshot"]) for one in (first, second, third)]
    assert [one["rows"] for one in (first, second, third)] == [one.rows for one in manifests]
    assert [one["number"] for one in (first, second, third)] == [1, 2, 3]
    files = [{file.path: file.bytes for file in one.files()} for one in manifests]
    for number, one in enumerate((first, second, third)):
        own_files = [path.stat().st_size for path in store.glob(f"snapshots/{one['snapshot']}*")]
        others = {path for other in range(3) if other != number for path in files[other]}
        own = sum(size for path, size in files[number].items() if path not in others)
        assert (one["own"], one["own"] + one["shared"]) == (
            own + sum(own_files), sum(files[number].values()) + sum(own_files)
        )  # fmt: skip
    assert (first["shared"] > 0, second["shared"] > 0, third["shared"]) == (True, True, 0)
    assert (first["dead"], second["dead"] > 0, third["dead"]) == (0, True, 0)
    assert (found["served"], found["unpublished"]) == (3, [])
    before = found["bytes"]
    make_older(store, 9)
    freed = json.loads(vitrine("gc", store, "--keep", "2", "--json").stdout)["deleted"]
    left = snapshots(store)
    assert [one["standing"] for one in left["publications"]] == [False, True, True, True]
    records = sum(freed[kind]["bytes"] for kind in ("snapshots", "shards", "indexes"))
    assert 0 < before - left["bytes"] == first["own"] <= records


def test_a_person_reads_who_published_what_and_why(store: Path) -> None:
    """One line each, the served one marked, people and collections told from runs, deleted snapshots as deleted."""
    assert vitrine("rollback", store, 2, "--why", "wrong prices").exit_code == 0
    make_older(store, 9)
    assert vitrine("gc", store, "--keep", "2").exit_code == 0
    done = vitrine("snapshots", store)
    assert done.exit_code == 0
    lines = [line for line in done.stdout.splitlines() if " 20" in line]
    assert ["a run of category 'mugs'" in line for line in lines] == [False, True, False, False, False]
    assert "deleted" in lines[0]
    assert manifest_of(store).run in lines[1]
    assert "a person" in lines[3]
    assert "back to publication 2: wrong prices" in lines[3]
    assert lines[4].split()[:2] == ["*", "5"]
    assert " gc " in lines[4]
    assert "and 3 earlier: --limit 0 shows all" in vitrine("snapshots", store, "--limit", "2").stdout


def test_what_was_never_published_is_listed_apart(store: Path) -> None:
    """A manifest that a run left which was overtaken: with what it alone holds, and no reader was ever sent to it."""
    opened, base = Store.open(str(store)), Store.open(str(store)).latest()
    assert base is not None
    lost = manifest_of(store).model_copy(update={"run": "an overtaken run"})
    opened.publish(lost, base, "a test")
    (store / "publications" / "0000000004.json").unlink()
    (one,) = snapshots(store)["unpublished"]
    own = sum(path.stat().st_size for path in store.glob(f"snapshots/{one['snapshot']}*"))
    assert (one["run"], one["rows"], one["own"], one["shared"] > 0) == ("an overtaken run", 30, own, True)
    assert "never published" in vitrine("snapshots", store).stdout
    assert snapshots(store)["publications"][-1]["own"] > 0


def test_a_damaged_store_is_shown_as_far_as_it_is_whole(store: Path) -> None:
    """A publication that is cut and a manifest that is altered have their lines; exit code 4 says what is wrong."""
    first = Store.open(str(store)).publications()[0].snapshot
    (store / "snapshots" / f"{first}.segments").write_bytes(b"x")
    path = publish_by_hand(store, first)
    path.write_bytes(b"{")
    done = vitrine("snapshots", store)
    assert (done.exit_code, "the newest snapshot that is whole" in told(done.stderr)[1]) == (4, True)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert sum("damaged" in line for line in lines) == 2
    as_json = vitrine("snapshots", store, "--json")
    found = json.loads(as_json.stdout)
    assert (as_json.exit_code, found["served"], found["publications"][3]["damaged"]) == (4, None, True)
    assert [one["whole"] for one in found["publications"][:3]] == [False, True, True]
