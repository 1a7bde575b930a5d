"""A store under an fsspec URL, here in memory: the same runs, readers and checks as in a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import lookup
from foundation.errors import InputError, IntegrityError
from lookup.store.backends import bucket
from lookup.store.backends.at_work import at_work, clear_scratch
from lookup.store.backends.folder import FolderBackend
from lookup.store.store import Store, scratch_of
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


def test_a_lock_object_of_an_earlier_version_stops_nobody(demo: Path, url: str) -> None:
    """It outlived its holder, and a person had to delete it; a run leaves none, and heeds none."""
    store = Store.create(url)
    store.put_bytes(b'{"pid": 1, "host": "gone", "since": "yesterday"}', "lock.json")
    published(demo, url)
    assert store.read("lock.json").startswith(b'{"pid": 1')
    assert store.names("locks") == []


# --- where a store may be ---


@pytest.mark.parametrize("refused", ["ftp://host/store", "hdfs://host/store", "https://host/store", "local:///store"])
def test_a_scheme_without_exclusive_create_is_refused(refused: str) -> None:
    """Two runs could publish under one number; the message names what may be used."""
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


def test_scratch_of_the_dead_is_swept(url: str) -> None:
    """What somebody works on in the cache stays, however old; what is held by nobody goes, and copies of files stay."""
    store = Store.create(url)
    with store.scratch() as held:
        copies, left = store.backend.local("shards"), store.backend.local("tmp/of-a-dead-one")
        copies.mkdir()
        left.mkdir()
        (left / "shard").write_bytes(b"x")
        for folder in (held, copies, left):
            os.utime(folder, (0, 0))
        clear_scratch(store.backend)
        assert (held.is_dir(), left.exists(), copies.is_dir()) == (True, False, True)


def test_shared_scratch_of_other_machines_goes_by_age(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of other machines are not known by their locks: what one wrote within a day stays, by the service's clock,
    wherever this machine's stands; and what a run of this machine left goes at once.
    """
    store, fs = Store.create(url), fsspec.filesystem("memory")
    for name in ("old", "young", "here", "dead"):
        store.put_bytes(b"x", f"{scratch_of(name)}/vectors/text")
    fs.store["/bucket/store/tmp/old/vectors/text"].created -= timedelta(days=2)
    store.backend.local("tmp/dead.lock").touch()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    with store.working("here"):
        assert at_work(store.backend) == ["here", "young"]
        clear_scratch(store.backend)
    assert set(store.names("tmp")) == {"here", "now", "young"}


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
