"""A store in random steps, beside a model: readers see whole snapshots, and nothing that is kept is lost."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from foundation.errors import InputError, LockedError
from lookup.store.manifest import Manifest
from lookup.store.publications.publication import Publication
from lookup.store.publications.rollback import roll_back
from lookup.store.store import Store
from pipeline.collect.collection import collect
from tests.support.crashes import Crash, crashing
from tests.support.tiny_runs import TinyRun

PARTITIONS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2), min_size=1)
CALLS = st.integers(1, 40)  # of a backend, the one at which a process is killed


@dataclass
class Open:
    """A reader, of the snapshot that was served when it was opened."""

    snapshot: str
    manifest: Manifest


class Life(RuleBasedStateMachine):
    """Runs of everything and of categories, several at once, kills, rollbacks, collections, readers."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = str(self.folder / "store")
        Store.create(self.path)
        self.runs: list[TinyRun] = []
        self.readers: list[Open] = []
        self.history: list[Publication] = []
        self.kept: list[str] = []  # the snapshots that nobody gave up, by when they were published last
        self.number = 0

    def teardown(self) -> None:
        for run in self.runs:
            run.die()
        shutil.rmtree(self.folder)

    # --- what happens ---

    @precondition(lambda self: len(self.runs) < 3)
    @rule(says=PARTITIONS, whole=st.booleans())
    def begin(self, says: dict[str, int], whole: bool) -> None:
        self.number += 1
        run = TinyRun(self.path, self.number, says if whole else dict([min(says.items())]), whole)
        run.work()
        self.runs.append(run)

    @rule(which=st.integers(0, 2), says=PARTITIONS, whole=st.booleans())
    def end(self, which: int, says: dict[str, int], whole: bool) -> None:
        run = self._one(which, says, whole)
        before = self._served()
        try:
            ended = run.end()
        except LockedError:
            since = [one for one in self.history if one.number > (run.parent.publication or _NOTHING).number]
            assert any(one.by_hand or (one.collected and one.collected > run.read.read_at) for one in since)
        else:
            assert (ended.status == "published") == (len(self._new()) == 1)
            self._see()
            self._check_merged(run, before)
        run.die()

    @rule(which=st.integers(0, 2), says=PARTITIONS, whole=st.booleans(), at=CALLS, done_first=st.booleans())
    def kill(self, which: int, says: dict[str, int], whole: bool, at: int, done_first: bool) -> None:
        run = self._one(which, says, whole)
        self._killed(run.end, at, done_first)
        run.die()

    @precondition(lambda self: self.history)
    @rule(back=st.integers(0, 9), at=st.none() | CALLS)
    def rollback(self, back: int, at: int | None) -> None:
        to, number = self.history[-1 - back % len(self.history)], self.history[-1].number
        kept = to.snapshot in self.kept
        self._killed(lambda: roll_back(Store.at(self.path), to.number, "a test"), at)
        assert kept or self.history[-1].number == number
        assert not kept or at is not None or self._served()[0] == to.snapshot

    @precondition(lambda self: self.history)
    @rule(keep=st.integers(1, 3), at=st.none() | CALLS, done_first=st.booleans())
    def gc(self, keep: int, at: int | None, done_first: bool) -> None:
        wanted = self.kept[-keep:]
        self._killed(lambda: collect(Store.at(self.path), keep, timedelta(0), "a test"), at, done_first)
        if self.history[-1].collected is not None:
            assert set(wanted) <= set(self.history[-1].kept)
        if at is None:
            assert set(Store.at(self.path).snapshots()) >= set(wanted)

    @precondition(lambda self: self.history)
    @rule()
    def open(self) -> None:
        self.readers = [*self.readers[-4:], Open(*self._served())]

    @rule()
    def verify(self) -> None:
        store = Store.at(self.path)
        for snapshot in store.snapshots():
            for file in store.manifest(snapshot).files():
                assert store.problem_of(file) is None

    # --- what holds ---

    @invariant()
    def readers_find_what_they_need(self) -> None:
        store = Store.at(self.path)
        assert [one.number for one in store.publications()] == [one.number for one in self.history]
        for snapshot in set(self.kept):
            self._check_whole(store, store.manifest(snapshot))
        for reader in self.readers:
            if reader.snapshot in self.kept:
                self._check_whole(store, reader.manifest)

    def _check_whole(self, store: Store, manifest: Manifest) -> None:
        for file in manifest.files():
            assert store.backend.size(file.path) == file.bytes, file.path
        for entry in manifest.shards.entries:
            assert store.exists(f"shards/{entry.name}.json")

    def _check_merged(self, run: TinyRun, before: tuple[str, Manifest] | None) -> None:
        """What the run did not read is as it was, and what it read is of it or of who read later."""
        now = {one.name: one for one in self._served()[1].partitions}
        old = {} if before is None else {one.name: one for one in before[1].partitions}
        made = {one.name: one.index.name for one in run.made.partitions} if run.made else {}
        for name in {*now, *old}:
            if not run.whole and name not in run.says:
                assert now.get(name) == old.get(name)
            elif name in now:
                later = name in old and old[name].provenance.read_at > run.read.read_at
                assert now[name].index.name == (old[name].index.name if later else made.get(name))
            else:
                assert name not in run.says or name not in old

    # --- inside ---

    def _one(self, which: int, says: dict[str, int], whole: bool) -> TinyRun:
        """One of the runs that are at work; a new one where there is none."""
        if not self.runs:
            self.begin(says, whole)
        return self.runs.pop(which % len(self.runs))

    def _killed(self, work: Callable[[], Any], at: int | None, done_first: bool = False) -> None:
        """Do `work` in a process that is killed at its call number `at` of the store, None: at none."""
        with crashing(at, done_first), suppress(Crash, LockedError, InputError):
            work()
        self._see()

    def _new(self) -> list[Publication]:
        return Store.at(self.path).publications()[len(self.history) :]

    def _see(self) -> None:
        """Take into the model what was published: one at most."""
        new = self._new()
        assert len(new) <= 1
        for one in new:
            self.history.append(one)
            kept = self.kept if one.collected is None else [name for name in self.kept if name in one.kept]
            self.kept = [*(name for name in kept if name != one.snapshot), one.snapshot]

    def _served(self) -> Any:
        store = Store.at(self.path)
        return store.published() if store.current() is not None else None


_NOTHING = Publication(number=0, before=None, snapshot="", reason="")


def check_lives(examples: int, steps: int) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Life,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],  # a life of a few steps more is not worth minutes of shrinking
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_life_of_a_store() -> None:
    """Four lives of forty steps."""
    check_lives(4, 40)


@pytest.mark.nightly
def test_long_lives_of_a_store() -> None:
    """Thirty lives of two hundred steps."""
    check_lives(30, 200)


# --- each call of one merge ---


def said(store: Store) -> dict[str, str]:
    """Partition -> the run that read it, of what is served, every file of which is whole."""
    manifest = store.published()[1]
    assert [file.path for file in manifest.files() if store.problem_of(file) is not None] == []
    return {one.name: one.provenance.run for one in manifest.partitions if one.provenance is not None}


def test_a_merge_that_is_killed_at_any_call(tmp_path: Path) -> None:
    """What another run published meanwhile is served, or what this one merged over it; run again, both are."""
    path = str(tmp_path / "store")
    Store.create(path)
    runs = [TinyRun(path, 1, {"a": 0, "b": 0, "c": 0}, whole=True)]
    runs[0].work()
    runs[0].end()
    runs += [TinyRun(path, 2, {"a": 1}, whole=False), TinyRun(path, 3, {"b": 1}, whole=False)]
    for run in runs[1:]:
        run.work()
    runs[1].end()
    for run in runs:
        run.die()
    others = {"a": runs[1].name, "b": runs[0].name, "c": runs[0].name}
    merged = {**others, "b": runs[2].name}
    seen = []
    for at in range(1, 200):
        runs[2].path = str(shutil.copytree(path, tmp_path / str(at)))
        killed = False
        with crashing(at, done_first=True):
            try:
                runs[2].end()
            except Crash:
                killed = True
        if not killed:
            break  # fewer calls
        seen.append(said(Store.open(runs[2].path)) == merged)
        assert said(Store.open(runs[2].path)) == (merged if seen[-1] else others)
        again = TinyRun(runs[2].path, 4, {"b": 1}, whole=False)
        again.work()
        again.end()
        again.die()
        assert said(Store.open(again.path)) == {**others, "b": merged["b"] if seen[-1] else again.name}
        shutil.rmtree(again.path)
    assert len(seen) > 10
    assert seen == sorted(seen)
    assert seen[-1]
