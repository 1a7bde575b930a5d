"""A run that is killed, starved of disk or kept out: readers see one whole snapshot, and the next run ends the same."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from blake3 import blake3

import lookup
from foundation import disk
from foundation.errors import LockedError
from lookup.store.backends import folder as stores
from lookup.store.store import Store
from pipeline.embed.shard_files import finished_units, mark_unit
from pipeline.engine import progress
from pipeline.publish.verify import verify_store
from tests.support.command import ANY_NIGHT, overrides, run_titles, told, vitrine, words_of_titles, write_titles
from tests.support.killed_runs import killed_after, runs_to_kill, seconds_of
from tests.support.stores import digests, publications

LOOSE = ("gates.max_reject_share=1", "gates.max_degraded_share=1", *ANY_NIGHT, "run.photo_threads=1")
OLD, NEW = ["red dress", "blue shoe"], ["green lamp", "black kite", "white chair", "red scarf"]
# with words, so that both indexes of a partition are among what is cut off
UNITS = ("shards.unit_rows=2", "run.workers=1", "lexical={}", *LOOSE[:3])


def contents(store: Path) -> tuple[str, dict[str, str]]:
    """What is published: the manifest's `content`, and the digest of each file that it names, as it is on the disk."""
    manifest = Store.open(str(store)).published()[1]
    names = [file.path for file in manifest.files()]
    return manifest.content, {name: blake3((store / name).read_bytes()).hexdigest() for name in names}


def check_one_whole_snapshot(store: Path, allowed: list[tuple[str, dict[str, str]]]) -> None:
    """A reader of what is published finds every byte of one of the `allowed` snapshots, and gets hits from it."""
    verify_store(str(store))
    assert contents(store) in allowed
    assert lookup.open(str(store)).search(text="red dress", k=1)


def check_scratch_is_empty(store: Path) -> None:
    assert list((store / "tmp").iterdir()) == []


# --- killed by the system, in a process of its own ---


@pytest.fixture(scope="module")
def two_nights(demo: Path, dirty: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `old`, the store after a first night, and `new`, the same after an undisturbed second night."""
    folder = tmp_path_factory.mktemp("nights")
    assert vitrine("run", "-c", "configs/weightless.yaml", *overrides(dirty, folder / "old", *LOOSE)).exit_code == 0
    shutil.copytree(folder / "old", folder / "new")
    assert vitrine("run", "-c", "configs/weightless.yaml", *overrides(demo, folder / "new", *LOOSE)).exit_code == 0
    return folder


@pytest.fixture(scope="module")
def small_nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `two_nights`, of a few titles: catalogs old.parquet and new.parquet, stores old and new."""
    folder = tmp_path_factory.mktemp("small")
    for name, titles in (("old", OLD), ("new", NEW)):
        write_titles(folder / f"{name}.parquet", titles, row_group_rows=2)
    assert run_titles(folder / "old.parquet", folder / "old", *UNITS).exit_code == 0
    shutil.copytree(folder / "old", folder / "new")
    assert run_titles(folder / "new.parquet", folder / "new", *UNITS).exit_code == 0
    return folder


def check_kills(words: Callable[[Path], list[str]], nights: Path, tmp_path: Path, seed: int, kills: int) -> None:
    """Kill runs of `words`, which make the store `new` of a copy of `old`, so many times, and run again after each."""
    allowed = [contents(nights / name) for name in ("old", "new")]
    rng = random.Random(seed)
    killed = tried = 0
    with runs_to_kill() as runs:
        seconds = seconds_of(runs, words(Path(shutil.copytree(nights / "old", tmp_path / "undisturbed"))))
        while killed < kills:
            tried += 1
            assert tried <= 3 * kills, f"{killed} of {tried} were killed before they were over"
            store = Path(shutil.copytree(nights / "old", tmp_path / str(tried)))
            for _ in range(rng.choice([1, 1, 2])):  # a run may be killed twice
                killed += killed_after(runs, words(store), rng.uniform(0, 0.9 * seconds))
                check_one_whole_snapshot(store, allowed)
            done = vitrine(*words(store))
            assert done.exit_code == 0, done.stderr
            assert contents(store) == allowed[1]
            check_scratch_is_empty(store)
            shutil.rmtree(store)


def test_a_killed_run_is_run_again(demo: Path, two_nights: Path, tmp_path: Path) -> None:
    """After kill -9 at a random moment readers see one whole snapshot; the next run ends in the undisturbed bytes."""
    check_kills(partial(_words_of_photos, demo), two_nights, tmp_path, seed=1, kills=3)


def test_a_killed_run_of_titles_is_run_again(small_nights: Path, tmp_path: Path) -> None:
    """The same at eight more moments, of runs so short that more of these lie in committing."""
    check_kills(partial(_words_of_titles, small_nights / "new.parquet"), small_nights, tmp_path, seed=3, kills=8)


@pytest.mark.nightly
def test_a_killed_run_is_run_again_three_hundred_times(
    demo: Path, two_nights: Path, small_nights: Path, tmp_path: Path
) -> None:
    """The same at three hundred moments."""
    check_kills(partial(_words_of_photos, demo), two_nights, tmp_path / "photos", seed=2, kills=100)
    words = partial(_words_of_titles, small_nights / "new.parquet")
    check_kills(words, small_nights, tmp_path / "titles", seed=4, kills=200)


def _words_of_photos(demo: Path, store: Path) -> list[str]:
    return ["run", "-c", "configs/weightless.yaml", *overrides(demo, store, *LOOSE)]


def _words_of_titles(catalog: Path, store: Path) -> list[str]:
    return words_of_titles(catalog, store, *UNITS)


# --- ended at every step of committing, in this process ---


class Crash(BaseException):
    """The end of the process, as far as the code that runs can tell."""


class Steps:
    """Counts the file-system steps of the store in the main thread, and crashes at one of them."""

    def __init__(self, at: int) -> None:
        self.at, self.seen = at, 0

    def step(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def do(*arguments: Any, **named: Any) -> Any:
            # Beam's worker threads are left alone: an exception that is no Exception would leave its runner waiting.
            if threading.current_thread() is threading.main_thread():
                self.seen += 1
                if self.seen == self.at:
                    raise Crash
            return real(*arguments, **named)

        return do

    def os(self) -> SimpleNamespace:
        stepped = {name: self.step(getattr(os, name)) for name in ("open", "fsync", "replace", "link")}
        return SimpleNamespace(**{**vars(os), **stepped})


def check_crashes(small_nights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: int) -> None:
    """Crash at every step; after each `again`-th of them run once more."""
    allowed = [contents(small_nights / name) for name in ("old", "new")]
    new, seen, at = small_nights / "new.parquet", [], 0
    while True:
        at += 1
        store = Path(shutil.copytree(small_nights / "old", tmp_path / str(at)))
        with monkeypatch.context() as patch:
            stepped = Steps(at).os()
            for module in (stores, disk):
                patch.setattr(module, "os", stepped)
            try:
                done = run_titles(new, store, *UNITS)
            except Crash:
                check_one_whole_snapshot(store, allowed)
                seen.append(contents(store)[0])
            else:
                assert done.exit_code == 0, done.stderr
                break  # a run of fewer steps: nothing crashed
        if at % again == 0:
            assert run_titles(new, store, *UNITS).exit_code == 0
            assert contents(store) == allowed[1]
            check_scratch_is_empty(store)
    assert len(seen) >= 12
    assert set(seen) == {allowed[0][0], allowed[1][0]}


def test_a_crash_at_every_step_of_publishing(
    small_nights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended before any opening, syncing or renaming that leads to the snapshot, a run leaves the old one or the new."""
    check_crashes(small_nights, tmp_path, monkeypatch, again=8)


@pytest.mark.nightly
def test_a_run_after_a_crash_at_every_step(small_nights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever step a run ended at, the next one ends in the undisturbed bytes."""
    check_crashes(small_nights, tmp_path, monkeypatch, again=1)


def test_files_appear_by_rename(small_nights: Path, tmp_path: Path) -> None:
    """Who has a damaged shard open goes on reading the old bytes while a run replaces it; publications are created."""
    store = Path(shutil.copytree(small_nights / "old", tmp_path / "store"))
    shard = sorted((store / "shards").glob("*.parquet"))[0]
    shard.write_bytes(b"damaged")
    before = publications(store)
    with shard.open("rb") as opened:
        assert run_titles(small_nights / "old.parquet", store, *UNITS).exit_code == 0
        assert run_titles(small_nights / "new.parquet", store, *UNITS).exit_code == 0
        assert list(publications(store).items())[:-1] == list(before.items())
        assert opened.read() == b"damaged"
    assert shard.read_bytes() == (small_nights / "old" / "shards" / shard.name).read_bytes()


# --- a disk that is full ---


@pytest.mark.parametrize("each", [2, pytest.param(1, marks=pytest.mark.nightly)])
def test_a_disk_that_fills_at_every_file(
    each: int, small_nights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever file the disk does not take: exit 1, one message, nothing published, and the next run completes."""
    wanted = contents(small_nights / "new")
    new, failed = small_nights / "new.parquet", 0
    writing = {name: getattr(stores.FolderBackend, name) for name in ("put", "replace", "create")}
    for at in range(1, 100, each):
        store = Path(shutil.copytree(small_nights / "old", tmp_path / str(at)))
        before, count = digests(store), iter(range(1, 1000))

        def full(real: Callable[..., None], at: int = at, count: Iterator[int] = count) -> Callable[..., None]:
            def do(self: stores.FolderBackend, what: Path | bytes, path: str) -> None:
                if next(count) == at:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
                real(self, what, path)

            return do

        with monkeypatch.context() as patch:
            for name, real in writing.items():
                patch.setattr(stores.FolderBackend, name, full(real))
            done = run_titles(new, store, *UNITS)
        if done.exit_code == 0:
            break
        failed += 1
        assert (done.exit_code, done.stdout) == (1, "")
        assert "No space left on device" in told(done.stderr)[1]
        after = digests(store)
        assert {name: after[name] for name in before} == before
        report = json.loads((sorted((store / "runs").iterdir())[-1] / "run.json").read_text())
        assert (report["status"], report["exit_code"]) == ("failed", 1)
        assert "No space left on device" in report["error"]
        if at % 3 == 0:
            assert run_titles(new, store, *UNITS).exit_code == 0
            assert contents(store) == wanted
            check_scratch_is_empty(store)
    assert failed * each >= 10


@pytest.mark.parametrize("limit", [100, 9000])
def test_a_disk_that_takes_no_more_bytes(
    limit: int, demo: Path, two_nights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that may write no file beyond `limit` bytes, log and report included, still ends with one message."""
    store = Path(shutil.copytree(two_nights / "old", tmp_path / "store"))
    before = digests(store)
    arguments = ["run", "-c", "configs/weightless.yaml", *overrides(demo, store, *LOOSE)]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments, "--json"],
        capture_output=True,
        text=True,
        # Python would leave modules compiled as far as the limit, and fail on them for ever.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["exit_code"] == 1
    assert "File too large" in told(done.stderr)[1]
    assert "Logging error" not in done.stderr
    after = digests(store)
    assert {name: after[name] for name in before} == before
    assert vitrine(*arguments).exit_code == 0
    assert contents(store) == contents(two_nights / "new")
    check_scratch_is_empty(store)


def test_a_report_that_cannot_be_written(
    small_nights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that published but could not leave its report exits 0 and says so: the snapshot is served."""
    store = Path(shutil.copytree(small_nights / "old", tmp_path / "store"))

    fault: Exception = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def full(*_: object) -> None:
        raise fault

    monkeypatch.setattr("pipeline.run.write_report", full)
    done = run_titles(small_nights / "new.parquet", store, *UNITS)
    assert done.exit_code == 0
    assert "published: " in done.stdout
    assert "no report of this run: " in caplog.text
    assert contents(store) == contents(small_nights / "new")
    before, fault = digests(store), KeyError("a fault of the page")
    done = run_titles(small_nights / "old.parquet", store, *UNITS, "gates.max_row_drop=0", "gates.least_rows=1")
    assert done.exit_code == 3  # what ended the run is told, not the report
    assert "row_drop" in told(done.stderr)[0]
    assert digests(store) == before


# --- one run of the same at a time ---

HOLD = """
import sys, time
from lookup.store.store import Store
with Store.create(sys.argv[1]).courtesy_lock("the whole catalog"):
    print(flush=True)
    time.sleep(99)
"""


def test_a_second_run_of_the_whole_catalog_is_told_who_is_at_it(small_nights: Path, tmp_path: Path) -> None:
    """Exit 5 with process, host and time of the first; after kill -9 of that one the store is free."""
    store = Path(shutil.copytree(small_nights / "old", tmp_path / "store"))
    before = digests(store)
    new = small_nights / "new.parquet"
    with subprocess.Popen([sys.executable, "-c", HOLD, store], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        try:
            done = run_titles(new, store, *UNITS)
            assert (done.exit_code, done.stdout) == (5, "")
            came = told(done.stderr)[1]
            (who,) = (json.loads(note.read_text()) for note in store.glob("locks/*.json"))
            assert who["pid"] == holder.pid
            assert f"process {holder.pid} on {os.uname().nodename} is at it since {who['since']}" in came
            assert digests(store) == before
            assert lookup.open(str(store)).search(text="red dress")  # readers need no lock
        finally:
            holder.kill()
    assert run_titles(new, store, *UNITS).exit_code == 0
    assert contents(store) == contents(small_nights / "new")


def test_who_published_meanwhile_is_not_overwritten(small_nights: Path, tmp_path: Path) -> None:
    """A run on top of what is no longer published is refused with exit code 5's error, and publications stay."""
    store = Path(shutil.copytree(small_nights / "new", tmp_path / "store"))
    opened = Store.open(str(store))
    first, last = opened.publications()
    before, manifest = publications(store), opened.manifest(last.snapshot)
    for base in (None, first):
        with pytest.raises(LockedError, match="another run published meanwhile"):
            opened.publish(manifest.model_copy(update={"run": "another"}), base, "a test")
    assert publications(store) == before


# --- notes of a run that were cut ---


@pytest.mark.parametrize("cut", [b"", b'{"key": "ab', b"[]", b"\xff"])
@pytest.mark.parametrize("note", ["plan.json", "run.json"])
def test_a_cut_note_of_the_last_run_stops_none(small_nights: Path, tmp_path: Path, note: str, cut: bytes) -> None:
    """What cannot be read of an earlier run counts as not there."""
    store = Path(shutil.copytree(small_nights / "old", tmp_path / "store"))
    last = sorted((store / "runs").iterdir())[-1]
    (last / "run.json").unlink()  # as a killed run leaves it: its plan decides whether this one goes on from there
    (last / note).write_bytes(cut)
    done = run_titles(small_nights / "new.parquet", store, *UNITS)
    assert done.exit_code == 0, done.stderr
    assert contents(store) == contents(small_nights / "new")


# --- progress, which is only a courtesy ---


def test_a_count_that_fails_costs_only_the_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """An OSError while finished files are counted neither fails the step nor prints a traceback."""
    told_of: list[int] = []
    counts = iter([1, 2])

    def count() -> int:
        for number in counts:
            return number
        raise OSError(errno.EIO, "Input/output error")

    with progress.watched(lambda _, done, __: told_of.append(done), "embed", 3, count):
        time.sleep(2.5 * progress._SECONDS)
    assert told_of == [1, 2]
    assert "Traceback" not in capsys.readouterr().err


def test_progress_reads_no_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finished units are counted by their names alone."""
    store = Store.create(str(tmp_path))
    for number in range(3):
        mark_unit(store, "one", number, "ab", reused=False)
    monkeypatch.setattr(Store, "read", lambda *_: pytest.fail("a mark was read"))
    assert (finished_units(store, "one"), finished_units(store, "two")) == ({0, 1, 2}, set())
