"""A store under an fsspec URL, here in memory: the same runs, readers, checks and lock as in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

import lookup
from encoders.errors import IntegrityError, LockedError
from lookup.store import Store
from pipeline.stages import Request, run
from pipeline.verify import verify_store
from tests.conftest import config_for


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
    assert [s.record for s in there.shards] == [s.record for s in here.shards]
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
