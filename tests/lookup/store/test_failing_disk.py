"""A disk that is full, or broken, at any step of committing a snapshot: an error, and what was published before."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lookup.store.store import Store
from pipeline.publish.verify import verify_store
from tests.support.command import ANY_NIGHT, run_titles, told, write_titles
from tests.support.stores import publish_like

UNITS = ("shards.unit_rows=2", "run.workers=1", *ANY_NIGHT)
NIGHTS = (["red dress", "blue shoe"], ["green lamp", "black kite", "white chair", "red scarf"])


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the catalogs old and new.parquet, and the stores old and new, the same a night later."""
    folder = tmp_path_factory.mktemp("nights")
    for name, titles in zip(("old", "new"), NIGHTS, strict=True):
        write_titles(folder / f"{name}.parquet", titles, row_group_rows=2)
    assert run_titles(folder / "old.parquet", folder / "old", *UNITS).exit_code == 0
    shutil.copytree(folder / "old", folder / "new")
    assert run_titles(folder / "new.parquet", folder / "new", *UNITS).exit_code == 0
    return folder


@contextmanager
def failing(at: int, code: int, names: tuple[str, ...], for_ever: bool = False) -> Iterator[None]:
    """Of the calls of `os` with these names, and of the writing of small files where `link` is one, number `at` fails,
    half done where that can be; with `for_ever` all after it too.
    """
    seen = 0

    def fails() -> bool:
        nonlocal seen
        seen += 1
        return seen == at or (for_ever and seen > at)

    def failed(real: Callable[..., Any]) -> Callable[..., Any]:
        def do(*arguments: Any, **named: Any) -> Any:
            there = real is make and os.path.isdir(arguments[0])  # a folder that need not be made
            if not there and fails():
                raise OSError(code, os.strerror(code), str(arguments[0]))
            return real(*arguments, **named)

        return do

    make, write = os.mkdir, Path.write_bytes

    def written(path: Path, raw: Any) -> int:
        if fails():
            write(path, memoryview(raw)[: len(raw) // 2])
            raise OSError(code, os.strerror(code), str(path))
        return write(path, raw)

    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(os, name, failed(getattr(os, name)))
        if "link" in names:
            patch.setattr(Path, "write_bytes", written)
        yield


@pytest.mark.parametrize(
    ("code", "for_ever"), [(errno.ENOSPC, False), (errno.EIO, True)], ids=["full for a moment", "broken for ever"]
)
def test_each_step_of_committing_may_fail(nights: Path, tmp_path: Path, code: int, for_ever: bool) -> None:
    """Whatever write, sync, link or folder the disk refuses: an error, the snapshot of before is whole and served, and
    the next try publishes. Only a publication that has its name, and may not be on the disk yet, is served already.
    """
    served = []
    for at in range(1, 200):
        root = Path(shutil.copytree(nights / "old", tmp_path / str(at)))
        with failing(at, code, ("link", "replace", "fsync", "mkdir"), for_ever):
            try:
                publish_like(nights / "new", Store.open(str(root)))
            except OSError as err:
                assert err.errno == code  # noqa: PT017
            else:
                break  # fewer steps: nothing failed
        verify_store(str(root), every=True)
        served.append(len(Store.open(str(root)).publications()))
        publish_like(nights / "new", Store.open(str(root)))
        verify_store(str(root), every=True)
        assert Store.open(str(root)).published()[1].content == Store.open(str(nights / "new")).published()[1].content
        shutil.rmtree(root)
    assert len(served) > 25
    assert served == sorted(served)
    assert served.count(2) <= 2  # the two folders whose syncs bring its name to the disk


def check_runs(nights: Path, tmp_path: Path, every: int) -> None:
    """A run of which each `every`-th sync fails."""
    contents = [Store.open(str(nights / name)).published()[1].content for name in ("old", "new")]
    failed = 0
    for at in range(1, 200, every):
        root = Path(shutil.copytree(nights / "old", tmp_path / str(at)))
        with failing(at, errno.EIO, ("fsync",)):
            done = run_titles(nights / "new.parquet", root, *UNITS)
        verify_store(str(root), every=True)
        content = Store.open(str(root)).published()[1].content
        if done.exit_code == 0:  # its report could not be written, or nothing failed
            assert content == contents[1]
            break
        failed += 1
        assert (done.exit_code, done.stdout) == (1, "")
        assert "Input/output error" in told(done.stderr)[1]
        assert content in contents
        assert run_titles(nights / "new.parquet", root, *UNITS).exit_code == 0
        assert Store.open(str(root)).published()[1].content == contents[1]
        shutil.rmtree(root)
    assert failed >= 20 // every


def test_a_sync_that_fails_ends_the_run(nights: Path, tmp_path: Path) -> None:
    """Exit 1 and the system's words; the snapshot of before or the new one is served, whole; the next run completes."""
    check_runs(nights, tmp_path, every=7)


@pytest.mark.nightly
def test_each_sync_that_fails_ends_the_run(nights: Path, tmp_path: Path) -> None:
    """The same of every sync."""
    check_runs(nights, tmp_path, every=1)
