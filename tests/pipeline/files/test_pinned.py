"""A catalog that changes while a run reads it: the run ends, and nothing of two versions is ever published together."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

import lookup
from lookup.store.fields import FileRef
from lookup.store.store import Store
from pipeline.files import discover
from tests.support.command import run_titles, told, write_titles
from tests.support.stores import digests, publications

ROWS = 40
UNITS = ("shards.unit_rows=20", "catalog.attributes=[title, price]", "run.workers=1")


def write(path: Path, price: float, rows: int = ROWS) -> Path:
    """A catalog of two units whose rows all bear one price."""
    return write_titles(path, [f"red dress {n}" for n in range(rows)], 20, price=[price] * rows)


def replace(path: Path) -> None:
    """A later export of as many rows, renamed into its place."""
    write(path.with_name("next"), 2.0).rename(path)


def write_over(path: Path) -> None:
    """A later export of as many rows and bytes, written in place, its mtime set back."""
    facts = path.stat()
    path.write_bytes(write(path.with_name("_next"), 2.0).read_bytes())
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def touch(path: Path) -> None:
    os.utime(path)


def remove(path: Path) -> None:
    path.unlink()


def add(path: Path) -> None:
    """Another file of the same export."""
    write(path.with_name("b.parquet"), 2.0)


CHANGES = (replace, write_over, truncate, append, touch, remove, add)
Change = Callable[[Path], None]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of an earlier night, when everything cost 1, beside the catalog of this night, when it costs 1.50."""
    store = tmp_path / "store"
    assert run_titles(write(tmp_path / "feed" / "a.parquet", 1.0), store, *UNITS).exit_code == 0
    write(tmp_path / "feed" / "a.parquet", 1.5)
    return store


def check_change(change: Change, moment: int, store: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run, with the change as the store takes its file number `moment`; whether the run got that far. It publishes
    nothing, or has read all before.
    """
    count, catalog = itertools.count(), store.parent / "feed" / "a.parquet"
    before = digests(store)

    def counted(real: Callable[..., FileRef]) -> Callable[..., FileRef]:
        def put(*arguments: Any, **named: Any) -> FileRef:
            if next(count) == moment:
                change(catalog)
            return real(*arguments, **named)

        return put

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", counted(Store.put))
        patch.setattr(Store, "put_content", counted(Store.put_content))
        done = run_titles(catalog.parent, store, *UNITS)
    if next(count) <= moment:
        return False
    after = digests(store)
    if done.exit_code == 0:  # the change came as the manifest was written
        assert set(after) > set(before)
        hits = lookup.open(str(store)).search(text="red dress", k=2 * ROWS)
        assert [hit.attributes["price"] for hit in hits] == [1.5] * ROWS
        return True
    assert (done.exit_code, done.stdout) == (1, "")
    expected, came, _ = told(done.stderr)
    assert "the catalog as it was when the run was planned" in expected
    assert came.startswith("the catalog changed during the run")
    assert str(catalog.parent) in expected + came
    assert {name: after[name] for name in before} == before
    assert not any(name.startswith("publications/") for name in after.keys() - before.keys())
    return True


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_catalog_that_changes_during_a_run(change: Change, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaced, rewritten, truncated, appended to, touched, removed or added to after the first unit: exit 1, three
    parts that name the file, and nothing is published.
    """
    assert check_change(change, 5, store, monkeypatch)  # plan, its key, a table, the shards of before, a shard
    assert "shards" in "".join(digests(store))


@pytest.mark.parametrize("seed", range(6))
def test_a_change_at_some_moment(seed: int, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same at moments drawn from the whole run: what is published is never of two versions."""
    rng = np.random.default_rng(seed)
    check_change(CHANGES[int(rng.integers(len(CHANGES)))], int(rng.integers(16)), store, monkeypatch)


@pytest.mark.nightly
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_at_every_moment(change: Change, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same at every moment of the run."""
    for moment in itertools.count():
        folder = store.parent / str(moment)
        shutil.copytree(store, folder / "store")
        write(folder / "feed" / "a.parquet", 1.5)
        if not check_change(change, moment, folder / "store", monkeypatch):
            break
    assert moment > 8


@pytest.mark.parametrize("change", [replace, truncate, touch], ids=lambda change: change.__name__)
def test_a_change_while_the_plan_is_made(change: Change, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the footers and the ids of one plan, and between reading and the end of the plan, alike."""
    catalog, real = store.parent / "feed" / "a.parquet", discover.PartFile
    for moment in range(3):
        write(catalog, 1.5)
        count = itertools.count()

        def opened(
            *arguments: object, count: itertools.count[int] = count, at: int = moment, **named: object
        ) -> object:
            file = real(*arguments, **named)
            if next(count) == at:
                change(catalog)
            return file

        with monkeypatch.context() as patch:
            patch.setattr(discover, "PartFile", opened)
            done = run_titles(catalog.parent, store, *UNITS)
        assert done.exit_code == 1, (moment, done.stderr)
        assert told(done.stderr)[1].startswith("the catalog changed during the run")


def test_a_catalog_in_a_bucket_that_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the bucket knows of an object is compared alike."""
    fs, real = fsspec.filesystem("memory"), Store.put_content
    fs.put_file(str(write(tmp_path / "a.parquet", 1.0)), "/feed/a.parquet")
    shards: list[Path] = []

    def put(self: Store, source: Path, *more: Any) -> FileRef:
        if not shards:
            fs.put_file(str(write(tmp_path / "b.parquet", 2.0)), "/feed/a.parquet")
        shards.append(source)
        return real(self, source, *more)

    monkeypatch.setattr(Store, "put_content", put)
    done = run_titles("memory://feed", tmp_path / "store", *UNITS)
    fs.rm("/feed", recursive=True)
    assert done.exit_code == 1
    assert told(done.stderr)[1].startswith("the catalog changed during the run")
    assert not publications(tmp_path / "store")
