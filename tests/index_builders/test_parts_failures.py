"""Large partitions built as parts, when a disk fills, bytes are damaged, a run is killed or a runner repeats itself."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from index_builders.choose import choice as choose
from index_builders.settings import IndexSettings
from lookup.store.entries.index_record import IndexRecord
from lookup.store.fields import FileRef
from lookup.store.store import Store
from pipeline.build import part_files as index_parts
from pipeline.build import transforms
from pipeline.build.part_files import Part, PartFile, Task
from tests.support.command import TITLES_ONLY, run_titles, told
from tests.support.parted import (
    PARTS,
    RABITQ,
    SMALL,
    check_ended_well,
    proved,
    small_blocks,
    watched_parts,
    write_catalog,
)
from tests.support.stores import publications


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with small_blocks(monkeypatch):
        yield


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_catalog(tmp_path_factory.mktemp("titles"))


@pytest.fixture
def filled(monkeypatch: pytest.MonkeyPatch) -> list[range]:
    return watched_parts(monkeypatch)


def test_a_damaged_part_is_refused(catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is altered before it is merged ends the run with exit 4; the next run ends in the right bytes."""
    check_ended_well(run_titles(catalog, tmp_path / "one", *SMALL, RABITQ), tmp_path / "one")
    real, store = transforms.filled_part, tmp_path / "parts"

    def damaging(into: Store, part: Part, settings: IndexSettings) -> PartFile:
        done = real(into, part, settings)
        raw = bytearray(into.backend.local(done.path).read_bytes())
        raw[-1] ^= 1
        into.backend.local(done.path).write_bytes(raw)
        return done

    with monkeypatch.context() as patch:
        patch.setattr(transforms, "filled_part", damaging)
        done = run_titles(catalog, store, *SMALL, RABITQ, *PARTS)
    assert done.exit_code == 4
    assert "blake3" in told(done.stderr)[0]
    assert not list(store.glob("tmp/*"))
    assert not publications(store)
    check_ended_well(run_titles(catalog, store, *SMALL, RABITQ, *PARTS), store)
    assert proved(store) == proved(tmp_path / "one")


def test_an_altered_segment_is_refused(catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are not those recorded are told by whoever fills a part, before it is used."""
    real = index_parts.read_rows

    def altered(store: Store, path: str, index: str, rows: range) -> tuple[int, list[Any]]:
        first, segments = real(store, path, index, rows)
        return first, [type(one)(**{**vars(one), "digest": "0" * 64}) for one in segments]

    monkeypatch.setattr(index_parts, "read_rows", altered)
    done = run_titles(catalog, tmp_path / "store", *SMALL, RABITQ, *PARTS)
    assert done.exit_code == 4
    assert "recorded as 0000" in told(done.stderr)[1]


def test_a_disk_that_fills_at_every_file_of_parts(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever file of parts the disk does not take, or the merged one: exit 1, nothing is left, the next run ends."""
    real, before = Store.put, tmp_path / "before"
    assert run_titles(catalog, before, *SMALL, "index.exact_below=100000").exit_code == 0
    failing = ""

    def put(self: Store, source: Path, name: str, rows: int, at_hand: bool = False) -> FileRef:
        if name.endswith(failing):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source))
        return real(self, source, name, rows, at_hand)

    def put_whole(self: Store, source: Path, file: FileRef) -> None:
        put(self, source, file.path, file.rows)

    how = (*SMALL, RABITQ, *PARTS, "index.retrain=always")
    for failing in ("learned.faiss", "learned.json", "000002.faiss", "index.faiss"):
        store = Path(shutil.copytree(before, tmp_path / failing))
        current = publications(store)
        with monkeypatch.context() as patch:
            patch.setattr(Store, "put", put)
            patch.setattr(Store, "put_whole", put_whole)
            done = run_titles(catalog, store, *how)
        assert (done.exit_code, done.stdout) == (1, "")
        assert "No space left on device" in told(done.stderr)[1]
        assert publications(store) == current
        assert not list(store.glob("tmp/*"))
    check_ended_well(run_titles(catalog, store, *how), store)


def test_a_merge_that_finds_the_disk_full(catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills while the merged file is written is said to be full, with the folder; nothing is published."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("index_builders.parts.merge", full)
    done = run_titles(catalog, tmp_path / "store", *SMALL, RABITQ, *PARTS)
    assert done.exit_code == 1
    expected, came, fix = told(done.stderr)
    assert expected == "room on the disk"
    assert "No space left on device" in came
    assert "free or mend the disk" in fix


def test_what_a_killed_run_left_is_dropped(catalog: Path, tmp_path: Path) -> None:
    """kill -9 with parts in the store: the next run drops them, and ends in the bytes of one go."""
    check_ended_well(run_titles(catalog, tmp_path / "one", *SMALL, RABITQ), tmp_path / "one")
    store, code = (
        tmp_path / "parts",
        (
            "from index_builders.rows import vectors_file; vectors_file.ROWS = 350; "
            "from pipeline.commands.cli import cli; cli()"
        ),
    )
    given = (*TITLES_ONLY, f"catalog.path={catalog}", f"store.path={store}", *SMALL, RABITQ, *PARTS)
    command = [sys.executable, "-c", code, "run", "-c", "configs/weightless.yaml", *given]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(store.glob("tmp/*/indexes/*/0/*.faiss")):
            time.sleep(0.002)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert list(store.glob("tmp/*/indexes/*/0/*.faiss"))
    check_ended_well(run_titles(catalog, store, *SMALL, RABITQ, *PARTS), store)
    assert proved(store) == proved(tmp_path / "one")
    (store / "parts" / "ab" / "0").mkdir(parents=True)  # of an earlier version
    check_ended_well(run_titles(catalog, store, *SMALL, RABITQ, *PARTS), store)  # which builds nothing


@pytest.mark.parametrize("short", [False, True])
def test_what_a_runner_repeats_is_not_done_twice(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: bool, filled: list[range]
) -> None:
    """A merge that a runner asks for again when it was done finds the index, or the next round's file."""
    monkeypatch.setattr(choose, "CHOOSE_ROWS", 1000)
    if short:
        real = choose.Choice.found
        monkeypatch.setattr(choose.Choice, "found", lambda self, given: len(self.tried) > 1 and real(self, given))
    twice = list[object]()
    merged: Callable[..., IndexRecord | None] = transforms.merged

    def again(store: Store, task: Task, parts: Iterable[PartFile], *more: Any) -> IndexRecord | None:
        some = list(parts)
        first, second = (merged(store, task, iter(some), *more) for _ in range(2))
        assert first == second
        twice.append(first)
        return second

    monkeypatch.setattr(transforms, "merged", again)
    check_ended_well(run_titles(catalog, tmp_path / "store", *SMALL, *PARTS), tmp_path / "store")
    assert [one is None for one in twice] == ([True, False] if short else [False])
    assert len(filled) == 4 * len(twice)


def test_the_size_of_parts_names_no_index(catalog: Path, tmp_path: Path) -> None:
    """Another `run.part_rows` on the same rows builds nothing: the index stands."""
    store = tmp_path / "store"
    check_ended_well(run_titles(catalog, store, *SMALL, RABITQ, *PARTS), store)
    check_ended_well(run_titles(catalog, store, *SMALL, RABITQ, "run.part_rows=1000"), store)
    report = json.loads((sorted((store / "runs").iterdir())[-1] / "run.json").read_text())
    assert report["status"] == "unchanged"
    assert report["indexes_reused"] == 1
