"""Publishing where others publish at the same time, in a folder and in a bucket: nothing is lost, nothing is stale."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Lock

import fsspec
import pytest

from foundation.errors import IntegrityError, LockedError
from lookup.store.manifest import Manifest
from lookup.store.publications import tries
from lookup.store.publications.publication import path_of
from lookup.store.store import Store
from pipeline.publish.merge import Merged, Mine, Parent
from pipeline.publish.publishing import Ended, publish, publish_anew
from tests.support.crashes import Crash, crashing
from tests.support.manifests import manifest_of_readings, reading, readings

NAMES = "abcdef"


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An empty store of each kind."""
    monkeypatch.setenv("VITRINE_CACHE", str(tmp_path / "cache"))
    yield Store.create(str(tmp_path / "store") if request.param == "folder" else "memory://publishing/store")
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


class Writers:
    """Runs that encode nothing: what each read, in the order in which they began to read."""

    def __init__(self, store: Store) -> None:
        self.store, self.lock, self.said = store, Lock(), list[dict[str, bool]]()

    def begin(self, names: Sequence[str], whole: bool) -> tuple[Mine, Parent]:
        """A run of the `whole` catalog, which has the partitions `names`, or of one, on what is published now."""
        base = self.store.latest()
        parent = Parent(base, None if base is None else self.store.manifest(base.snapshot))
        with self.lock:
            self.said.append({name: name in names for name in (NAMES if whole else names)})
            read = reading(len(self.said))
        self.store.backend.create(b"{}", f"runs/{read.run}/plan.json")
        for name in names:
            self.store.backend.create(b"x", f"shards/{name} of {read.run}.parquet")
        carried = {} if whole or parent.manifest is None else parent.manifest.partitions
        known = {one.name: one.provenance for one in carried if one.provenance} | dict.fromkeys(names, read)
        before = parent.manifest.whole if parent.manifest is not None else None
        made = manifest_of_readings(read, known, parent.snapshot, read if whole else before)
        return Mine(made, parent.manifest, None if whole else frozenset(names), read), parent

    def end(self, mine: Mine, parent: Parent) -> Ended:
        return publish(self.store, mine, parent, lambda: "a test", lambda _: None, lambda _, done: done.manifest)

    def write(self, seed: int, rounds: int) -> list[str]:
        """So many runs, one after the other; how they ended."""
        rng = random.Random(seed)
        ended = []
        for _ in range(rounds):
            whole = rng.random() < 0.3
            mine, parent = self.begin(rng.sample(NAMES, rng.randint(2, 6) if whole else 1), whole)
            time.sleep(rng.uniform(0, 0.02))
            ended.append(self.end(mine, parent).status)
        return ended

    def wanted(self) -> dict[str, str]:
        """Partition -> who read it last, of those that are there by that."""
        found: dict[str, str | None] = {}
        for number, said in enumerate(self.said, 1):
            found |= {name: f"run-{number}" if there else None for name, there in said.items()}
        return {name: run for name, run in found.items() if run is not None}


def check_writers(store: Store, writers: int, rounds: int) -> None:
    runs = Writers(store)
    runs.end(*runs.begin(NAMES, whole=True))  # what a memory:// file is while it is written no service shows
    with ThreadPoolExecutor(writers) as threads:
        ended = [one for each in threads.map(runs.write, range(writers), [rounds] * writers) for one in each]
    assert readings(store.published()[1]) == runs.wanted()
    assert len(ended) == writers * rounds
    history = store.publications()
    assert len(history) == 1 + ended.count("published")
    assert [one.number for one in history] == list(range(1, len(history) + 1))
    assert any("merged over" in one.reason for one in history)
    for before, one in zip([None, *history], history, strict=False):
        assert one.parent == (None if before is None else before.snapshot)


def test_eight_writers_lose_nothing(store: Store) -> None:
    """Of every partition that is published which the last to read it saw; the history is one chain."""
    check_writers(store, writers=8, rounds=6)


@pytest.mark.nightly
def test_eight_writers_of_fifty_rounds_lose_nothing(store: Store) -> None:
    """The same at length."""
    check_writers(store, writers=8, rounds=50)


def test_a_snapshot_whose_files_are_gone_is_not_published(store: Store) -> None:
    """A file that was deleted, or cut, while the run was stopped is named with its size; nothing is published."""
    runs = Writers(store)
    mine, parent = runs.begin("a", whole=True)
    file = mine.manifest.files()[0]
    store.backend.delete(file.path)
    with pytest.raises(IntegrityError, match="no such file") as caught:
        runs.end(mine, parent)
    assert file.path in caught.value.came
    store.backend.create(b"cut short", file.path)
    with pytest.raises(IntegrityError, match="9 bytes of 1"):
        runs.end(mine, parent)
    assert store.latest() is None
    assert store.names("snapshots") == []


def test_starting_anew_publishes_no_snapshot_whose_files_are_gone(store: Store) -> None:
    """Without a parent neither: nothing is published that readers would fail at."""
    mine, _ = Writers(store).begin("a", whole=True)
    file = mine.manifest.files()[0]
    store.backend.delete(file.path)
    with pytest.raises(IntegrityError, match="no such file"):
        publish_anew(store, mine.manifest, "a test")
    assert (store.latest(), store.names("snapshots")) == (None, [])


def test_a_listing_that_is_late_is_waited_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file server may show a publication only a minute later; if it never does, the message has its number."""
    runs = Writers(store)
    mine, parent = runs.begin("a", whole=True)
    runs.end(*runs.begin("b", whole=True))
    real, waited, shown = store.published_since, list[float](), [False]
    monkeypatch.setattr(store, "published_since", lambda base: real(base) if shown[0] else [])

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        shown[0] = shows and sum(waited) > 40

    monkeypatch.setattr(tries.time, "sleep", sleep)
    shows = False
    with pytest.raises(LockedError, match="for 71 seconds no listing") as caught:
        runs.end(mine, parent)
    assert path_of(1) in caught.value.came
    waited.clear()
    shows = True
    assert runs.end(mine, parent).status in ("published", "superseded")


def test_others_that_publish_while_a_merge_is_judged(store: Store) -> None:
    """The gates of a merge take their time: who finds the number taken again, merges again."""
    runs = Writers(store)
    first = runs.begin(NAMES, whole=True)
    others = [runs.begin(name, whole=False) for name in "abc"]
    runs.end(*others.pop())

    def judge(parent: Parent, done: Merged) -> Manifest:
        assert parent.publication == store.latest()
        with suppress(IndexError):
            runs.end(*others.pop())
        return done.manifest

    ended = publish(store, *first, lambda: "a test", lambda _: None, judge)
    assert ended.status == "published"
    assert [one.number for one in ended.meanwhile] == [1, 2, 3]
    assert readings(store.published()[1]) == runs.wanted()
    assert store.publications()[-1].reason.startswith("a test, merged over 1, 2, 3")
    (told,) = ended.notices()
    assert (told.what, told.count, len(told.examples)) == ("published_meanwhile", 3, 3)


def test_the_same_again_is_not_published(store: Store) -> None:
    """What a run made and what is published by then are equal: it stays published."""
    runs = Writers(store)
    assert runs.end(*runs.begin("ab", whole=True)).status == "published"
    base = store.latest()
    assert base is not None
    manifest = store.manifest(base.snapshot)
    again = runs.end(Mine(manifest, manifest, None, reading(9)), Parent(base, manifest))
    assert (again.status, again.snapshot) == ("unchanged", base.snapshot)


def test_a_crash_at_every_call_of_a_merge(tmp_path: Path) -> None:
    """Whichever call of the backend is the last of a run that merges, done or not: readers see what was published or
    the merged snapshot, whole, and the same again ends in that.
    """
    runs = Writers(Store.create(str(tmp_path / "store")))
    runs.end(*runs.begin("abc", whole=True))
    mine, other = runs.begin("ab", whole=True), runs.begin("c", whole=False)
    runs.end(*other)
    before, wanted = readings(runs.store.published()[1]), runs.wanted()
    assert before != wanted == {"a": "run-2", "b": "run-2", "c": "run-3"}
    seen, crashed = set[str](), 0
    for done_first in (False, True):
        at, more = 0, True
        while more:
            at += 1
            path = str(shutil.copytree(tmp_path / "store", tmp_path / f"{done_first}-{at}"))
            with crashing(at, done_first) as kind:
                try:
                    Writers(Store.at(path)).end(*mine)
                except Crash:
                    crashed += 1
                more = kind.calls >= at
            store = Store.open(path)
            found = readings(store.published()[1])
            assert found in (before, wanted)
            seen.add(store.publications()[-1].snapshot)
            assert Writers(store).end(*mine).status in ("published", "unchanged", "superseded")
            assert readings(store.published()[1]) == wanted
            assert list((Path(path) / "tmp").iterdir()) == []
    assert crashed > 30
    assert len(seen) > 2
