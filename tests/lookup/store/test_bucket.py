"""A store under an fsspec URL, here in memory: the same runs, readers, checks and lock as in a folder."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import lookup
from foundation.errors import InputError, IntegrityError, LockedError
from lookup.store import bucket
from lookup.store.bucket import BucketBackend
from lookup.store.folder import FolderBackend
from lookup.store.holder import HOLDER
from lookup.store.store import Store
from pipeline.publish.verify import verify_store
from pipeline.run import Request, run
from tests.support.command import config_for


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty store of its own, and a cache that goes with the test."""
    monkeypatch.setenv("VITRINE_CACHE", str(tmp_path / "cache"))
    yield "memory://bucket/store"
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


def published(demo: Path, url: str) -> str:
    """Run the demo catalog into `url`. fsspec's memory files share one position, so one worker only."""
    snapshot = run(Request(config_for(demo, Path("unused"), f"store.path={url}", "run.workers=1"))).snapshot
    assert snapshot is not None
    return snapshot


def test_a_run_into_a_bucket_equals_one_into_a_folder(demo: Path, tmp_path: Path, url: str) -> None:
    """Snapshot content, file digests and hits are the same; a second run changes nothing."""
    snapshot = published(demo, url)
    local = run(Request(config_for(demo, tmp_path / "store")))
    there, here = Store.open(url).published()[1], Store.open(str(tmp_path / "store")).manifest(local.snapshot or "")
    assert there.content == here.content
    assert there.shards == here.shards
    assert lookup.open(url).search(text="red dress") == lookup.open(str(tmp_path / "store")).search(text="red dress")
    assert published(demo, url) == snapshot
    assert verify_store(url).snapshot == snapshot


def test_the_run_folder_reaches_the_bucket(demo: Path, url: str) -> None:
    """log.txt, run.json, metrics.prom and report.html of a run lie beside its plan."""
    published(demo, url)
    store = Store.open(url)
    (name,) = store.names("runs")
    assert {"log.txt", "run.json", "metrics.prom", "report.html", "plan.json"} <= set(store.names(f"runs/{name}"))


def test_an_altered_object_is_found(demo: Path, url: str) -> None:
    """A changed byte of any object fails verification, though a whole copy lies in the cache."""
    published(demo, url)
    manifest = Store.open(url).published()[1]
    fs = fsspec.filesystem("memory")
    for file in manifest.files():
        whole = fs.cat_file(f"/bucket/store/{file.path}")
        fs.pipe_file(f"/bucket/store/{file.path}", whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(IntegrityError, match=file.path):
            verify_store(url)
        fs.pipe_file(f"/bucket/store/{file.path}", whole)


def test_the_lock_of_a_bucket_is_held_by_one(url: str) -> None:
    """The second holder is told who has it and what to delete when that one is dead; afterwards it is free again."""
    store = Store.create(url)
    with (
        store.lock(),
        pytest.raises(LockedError, match=r"(?s)process \d+ on .* holds it since .*delete memory://"),
        store.lock(),
    ):
        pass
    with store.lock():
        pass


# --- the lock, when somebody deletes it ---


def delete_lock() -> None:
    fsspec.filesystem("memory").rm_file(f"/bucket/store/{HOLDER}")


def test_a_lost_lock_is_not_released_again(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whose lock was deleted ends well with a warning, and leaves the lock of the next run alone."""
    first, second = Store.create(url), Store.create(url)
    with caplog.at_level(logging.WARNING), first.lock():
        delete_lock()
    assert "was deleted by somebody" in caplog.text
    with second.lock():
        held = second.read(HOLDER)
        delete_lock()
        second.put_bytes(held.replace(b'"pid"', b'"PID"'), HOLDER)  # the next run's
    assert second.exists(HOLDER)


@pytest.mark.parametrize("successor", [False, True])
def test_who_lost_the_lock_does_not_publish(demo: Path, url: str, successor: bool) -> None:
    """Something is published only while lock.json is the one that the run itself wrote."""
    snapshot = published(demo, url)
    store = Store.open(url)
    manifest = store.manifest(snapshot).model_copy(update={"parent": snapshot})
    base = store.latest()
    with store.lock():
        delete_lock()
        if successor:
            store.put_bytes(b"{}", HOLDER)
        with pytest.raises(LockedError, match="as this run wrote it"):
            store.publish(manifest, base, "a test")
        assert store.current() == snapshot
    with pytest.raises(LockedError, match="as this run wrote it"):
        store.publish(manifest, base, "a test")


def test_a_lock_that_the_driver_reports_as_an_invalid_argument(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """s3fs raises EINVAL where the lock is taken: that is told as a taken lock, and any other trouble as itself."""
    store = Store.create(url)

    def refused(*_: object, **__: object) -> None:
        raise OSError(22, "At least one of the pre-conditions you specified did not hold")

    with store.lock():
        monkeypatch.setattr(MemoryFileSystem, "pipe_file", refused)
        with pytest.raises(LockedError, match=r"process \d+ on"), Store.create(url).lock():
            pass
    with pytest.raises(OSError, match="pre-conditions"), store.lock():
        pass


def test_a_lock_that_cannot_be_deleted_fails_no_run(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What goes wrong while the lock is let go is told, not raised: the run has ended as it has."""

    def failing(*_: object) -> None:
        raise PermissionError(13, "Access Denied")

    monkeypatch.setattr(MemoryFileSystem, "rm_file", failing)
    with caplog.at_level(logging.WARNING), Store.create(url).lock():
        pass
    assert "delete it by hand" in caplog.text


def test_a_lock_that_is_let_go_this_moment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds the lock taken, and its holder gone a moment later, is told that it was taken."""
    store = Store.create(url)
    with store.lock():
        monkeypatch.setattr(BucketBackend, "read", lambda *_: (_ for _ in ()).throw(FileNotFoundError(HOLDER)))
        with pytest.raises(LockedError, match="not yet written its name"), Store.create(url).lock():
            pass
        monkeypatch.undo()


# --- where a store may be ---


@pytest.mark.parametrize("refused", ["ftp://host/store", "hdfs://host/store", "https://host/store", "local:///store"])
def test_a_scheme_without_exclusive_create_is_refused(refused: str) -> None:
    """Two runs could hold its lock at once; the message names what may be used."""
    with pytest.raises(InputError, match=r"(?s)s3://, .*gs://, .*memory://.*two runs"):
        Store.at(refused)


def test_a_driver_that_is_absent_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket whose driver is not installed is refused with the package to install."""

    def absent(_: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(bucket.fsspec.core, "url_to_fs", absent)
    with pytest.raises(InputError, match="s3fs for s3://"):
        Store.at("s3://bucket/store")


def test_a_file_url_is_a_folder(tmp_path: Path) -> None:
    """file:// names the folder itself: its store is the local one."""
    Store.create(f"file://{tmp_path}/store").put_bytes(b"x", "runs/one")
    assert Store.open(str(tmp_path / "store")).read("runs/one") == b"x"
    assert type(Store.open(f"file://{tmp_path}/store").backend) is FolderBackend


# --- the cache ---


def test_the_cache_is_the_users_own(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without VITRINE_CACHE it lies in the user's cache folder, closed to others; somebody else's is refused."""
    monkeypatch.delenv("VITRINE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    Store.create(url)
    (cache,) = (tmp_path / "mine" / "vitrine").iterdir()
    assert cache.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(bucket, "os", SimpleNamespace(**{**vars(os), "getuid": lambda: os.getuid() + 1}))
    with pytest.raises(InputError, match=r"(?s)belongs to user .*VITRINE_CACHE"):
        Store.create(url)
    (tmp_path / "file").touch()
    monkeypatch.setenv("VITRINE_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="VITRINE_CACHE"):
        Store.create(url)


def test_scratch_of_dead_runs_is_swept_by_age(url: str, tmp_path: Path) -> None:
    """What lies in the cache's scratch for more than a day goes; younger scratch and copies of files stay."""
    store = Store.create(url)
    with store.scratch() as young, store.scratch() as old:
        (old / "shard").write_bytes(b"x")
        copies = store.backend.local("shards")
        copies.mkdir()
        for folder in (old, copies):
            os.utime(folder, (time.time() - 90_000,) * 2)
        store.sweep()
        assert (young.is_dir(), old.exists(), copies.is_dir()) == (True, False, True)


def test_reuse_fetches_nothing(demo: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second run looks at sizes only; an object that is absent or of another size is written anew."""
    snapshot = published(demo, url)
    fetched: list[str] = []
    real = MemoryFileSystem.get_file

    def counted(fs: MemoryFileSystem, name: str, to: str, **named: object) -> None:
        fetched.append(name)
        real(fs, name, to, **named)

    monkeypatch.setattr(MemoryFileSystem, "get_file", counted)
    assert published(demo, url) == snapshot
    assert fetched == []
    files = Store.open(url).published()[1].files()
    fs = fsspec.filesystem("memory")
    fs.rm_file(f"/bucket/store/{files[0].path}")
    fs.pipe_file(f"/bucket/store/{files[-1].path}", b"cut")
    assert published(demo, url) == snapshot
    assert verify_store(url).snapshot == snapshot
