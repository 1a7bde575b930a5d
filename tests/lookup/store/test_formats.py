"""Stores of other versions: an earlier one's opens and is run again, a newer one's is refused with what to do.

`format_1.zip` is what the first version left, that of 2026-11-21: two nights of 24 titles in units of eight, CURRENT
with the second snapshot, shards that are named by what they were made of, and a third run that was killed after one
unit, its lock and half a file in `tmp/`. `catalog.parquet` is that of the third night.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from click.testing import Result

import lookup
from lookup.store.manifest import FORMAT
from lookup.store.store import Store
from tests.support.command import ANY_NIGHT, told, vitrine
from tests.support.kept_files import KeptFiles
from tests.support.shard_rows import embedded
from tests.support.shop import content
from tests.support.stores import digests, manifest_of, publish_by_hand

LEFT = Path(__file__).parent / "format_1.zip"
NEWER = FORMAT + 1


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """The folder that the first version left, with `catalog.parquet` and `store`."""
    with zipfile.ZipFile(LEFT) as packed:
        packed.extractall(tmp_path)
    return tmp_path


def run(folder: Path, *more: str, store: str = "store") -> Result:
    """A run as those of the first version were."""
    words = (
        f"catalog.path={folder / 'catalog.parquet'}", "catalog.image_root=null", "catalog.image=null",
        "encoders.image=null", "encoders.text.dim=32", "catalog.text=[title]", "catalog.attributes=[title,price]",
        "shards.unit_rows=8", "gates.max_reject_share=1", *ANY_NIGHT, f"store.path={folder / store}",
    )  # fmt: skip
    return vitrine("run", "-c", "configs/weightless.yaml", *words, *more)


def test_what_the_first_version_left_is_whole(left: Path) -> None:
    """It is what this file says of it, and readers serve what CURRENT names."""
    store = left / "store"
    assert (store / "CURRENT").exists()
    assert list((store / "tmp").iterdir())
    killed = sorted((store / "runs").iterdir())[-1]
    assert ((killed / "run.json").exists(), len(list(killed.glob("units/*")))) == (False, 1)
    for command in (("verify", store, "--all"), ("inspect", store)):
        assert vitrine(*command).exit_code == 0
    assert lookup.open(str(store)).search("red dress number 11", k=1)[0].id == "P11"
    before = digests(store)
    assert vitrine("search", store, "--text", "red").exit_code == 0
    assert digests(store) == before


@pytest.mark.parametrize("more", [(), ("--no-parent",)], ids=["on top", "no parent"])
def test_a_run_goes_on_from_what_the_first_version_left(left: Path, more: tuple[str, ...]) -> None:
    """It publishes what a new store publishes, leaves all files of before as they were, and sweeps what was half-done;
    the one after it changes nothing.
    """
    store = left / "store"
    kept, before = KeptFiles(store), Store.open(str(store)).current()
    kept.remember()
    done = run(left, *more)
    assert done.exit_code == 0, done.stderr
    assert run(left, store="fresh").exit_code == 0
    assert embedded(store) == embedded(left / "fresh")
    assert manifest_of(store).rejects() == manifest_of(left / "fresh").rejects() == {"no_modality": 1}
    assert content(store) == content(left / "fresh")
    assert manifest_of(store).parent == (None if more else before)
    assert not (store / "CURRENT").exists()
    assert [path for path in (store / "tmp").iterdir() if path.is_dir()] == []
    kept.check()
    for command in (("verify", store, "--all"), ("search", store, "--text", "blue hat number 24")):
        assert vitrine(*command).exit_code == 0
    published = digests(store)
    assert "unchanged: " in run(left).stdout
    assert digests(store) == published


def test_one_category_goes_on_too(left: Path) -> None:
    """Beside partitions of the first version, which stay as they are."""
    store = left / "store"
    kept, before = KeptFiles(store), {one.name: one for one in manifest_of(store).partitions}
    kept.remember()
    done = run(left, "--category", "Home")
    assert done.exit_code == 0, done.stderr
    after = {one.name: one for one in manifest_of(store).partitions}
    assert after.keys() == before.keys()
    assert [name for name in after if after[name] != before[name]] == ["Home"]
    kept.check()
    assert vitrine("verify", store, "--all").exit_code == 0


def newer(store: Path, **more: Any) -> str:
    """A snapshot of a format that comes after this one, in a manifest that is whole; its id."""
    fields = json.loads((store / "snapshots" / f"{Store.open(str(store)).current()}.json").read_bytes())
    raw = json.dumps({**fields, "format": NEWER, **more}).encode()
    name = f"20990101T000000Z-{blake3(raw).hexdigest()[:16]}"
    (store / "snapshots" / f"{name}.json").write_bytes(raw)
    return name


@pytest.mark.parametrize("more", [{}, {"shards": "in another file", "more": [1]}], ids=["known fields", "others"])
def test_a_newer_format_is_refused(left: Path, more: dict[str, Any]) -> None:
    """By every command, with exit code 4, the number that came and what to do; nothing is written."""
    store = left / "store"
    assert run(left).exit_code == 0
    name = newer(store, **more)
    publish_by_hand(store, name)
    before = digests(store)
    for done in (
        vitrine("search", store, "--text", "red"),
        vitrine("inspect", store),
        vitrine("verify", store),
        run(left),
        run(left, "--category", "Home"),
    ):
        assert (done.exit_code, done.stdout) == (4, "")
        expected, came, fix = told(done.stderr)
        assert f"format {FORMAT}" in expected
        assert f"format {NEWER} in snapshots/{name}.json" in came
        assert fix == "read it with the version of vitrine that wrote it, or a later one"
    assert digests(store) == before


def test_a_newer_snapshot_that_is_not_published_stops_no_run(left: Path) -> None:
    """A newer version that was tried, and gone back from: readers and runs go on; `verify --all` says what it is."""
    store = left / "store"
    assert run(left).exit_code == 0
    name = newer(store)
    assert vitrine("search", store, "--text", "red").exit_code == 0
    done = run(left, "encoders.text.dim=64")
    assert done.exit_code == 0, done.stderr
    assert vitrine("verify", store).exit_code == 0
    done = vitrine("verify", store, "--all")
    assert (done.exit_code, f"format {NEWER} in snapshots/{name}.json" in told(done.stderr)[1]) == (4, True)
