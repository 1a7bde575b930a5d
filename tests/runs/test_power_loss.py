"""A host that loses power: readers find a whole snapshot, the old one or the new, and no fsync is there for nothing."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import lookup
from lookup.store.publications.publication import Publication
from lookup.store.store import Store
from pipeline.publish.verify import verify_store
from tests.support.command import ANY_NIGHT, run_titles, vitrine, write_titles
from tests.support.crashes import Crash
from tests.support.power_loss import FOLDER, Disk, Event, Named, Shown, Synced, losses
from tests.support.remains import Reader
from tests.support.stores import publish_like
from tests.support.tiny_runs import TinyRun

STORE = "srv/store"  # neither folder is there before the first night
READ = re.compile(r"(publications|snapshots|shards|indexes)(/.*)?|CURRENT|runs(/[^/]+(/plan.json)?)?")
ANY = (*ANY_NIGHT, "gates.max_reject_share=1", "shards.unit_rows=2", "run.workers=1")
NIGHTS = (["red dress", "blue shoe"], ["green lamp", "black kite", "white chair", "red scarf"])
NEXT = ["red dress", "black kite", "white chair", "old clock"]


def _scratch(path: str) -> bool:
    return path.startswith((f"{STORE}/tmp", f"{STORE}/locks"))


def _of_readers(events: Sequence[Event]) -> list[Event]:
    """Without what is named where no reader looks: notes of runs."""
    inner = [event.path.removeprefix(f"{STORE}/") if isinstance(event, Named) else None for event in events]
    return [
        event
        for event, path in zip(events, inner, strict=True)
        if not isinstance(event, Named) or path == event.path or READ.fullmatch(path or "")
    ]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    """A disk on which a store was made, two nights were published, the first was gone back to, and the second was
    deleted.
    """
    folder = tmp_path_factory.mktemp("power")
    (folder / "disk").mkdir()
    write_titles(folder / "next.parquet", NEXT, row_group_rows=2)
    disk = Disk(folder / "disk", _scratch)
    store = folder / "disk" / STORE
    with disk.recorded(), pytest.MonkeyPatch.context() as patch:
        _note_publications(patch, disk)
        for number, titles in enumerate(NIGHTS):
            catalog = write_titles(folder / f"{number}.parquet", titles, row_group_rows=2)
            done = run_titles(catalog, store, *ANY)
            assert done.exit_code == 0, done.stderr
        assert vitrine("rollback", store, "--why", "a test").exit_code == 0
        assert vitrine("gc", store, "--keep", "1", "--older-than", "0s").exit_code == 0
    yield disk
    disk.close()


def _note_publications(patch: pytest.MonkeyPatch, disk: Disk) -> None:
    real = Store.publish_on

    def published(self: Store, *arguments: Any) -> Publication:
        made = real(self, *arguments)
        disk.reached(str(made.number))
        return made

    patch.setattr(Store, "publish_on", published)


def check(reader: Reader, shown: Shown) -> None:
    """What was published last before the power went is served, or what nobody was told yet to be published."""
    assert reader.served(shown) >= (int(shown.reached[-1]) if shown.reached else 0)


def check_all(disk: Disk, events: Sequence[Event], chance: random.Random | None = None, start: int = 0) -> list[Shown]:
    """Every way in which the disk may look; those that differ."""
    reader, seen = Reader(disk, STORE), dict[Any, Shown]()
    for shown in losses(disk.before, _of_readers(events), chance, len(_of_readers(events[:start]))):
        if seen.setdefault((shown.key, shown.reached), shown) is shown:
            check(reader, shown)
    return list(seen.values())


def test_readers_find_a_whole_snapshot_whenever_the_power_goes(night: Disk, tmp_path: Path) -> None:
    """After any number of steps of two nights, a way back and a collection, whatever the disk took of what was not
    synced: the snapshot of before or the next, all that it names, and what was published stays published.
    """
    different = check_all(night, night.events, random.Random(5))
    assert len(different) > 300
    for number, shown in enumerate(random.Random(6).sample([one for one in different if one.reached], 12)):
        store = _laid_out(night, shown, tmp_path / str(number)) / STORE
        verify_store(str(store), every=True)
        assert lookup.open(str(store)).search(text="red dress", k=1)
        if number % 4 == 0:
            done = run_titles(night.root.parent / "next.parquet", store, *ANY)
            assert done.exit_code == 0, done.stderr
            verify_store(str(store), every=True)


def _laid_out(disk: Disk, shown: Shown, root: Path) -> Path:
    root.mkdir()
    for path, number in sorted(shown.tree.items()):
        if number == FOLDER:
            (root / path).mkdir()
        else:
            raw = disk.bytes_of(number)
            (root / path).write_bytes(raw[: len(raw) // 2] if number in shown.torn else raw)
    return root


def unsynced(events: Sequence[Event]) -> list[str]:
    """Which files got a name before their bytes were on the disk."""
    synced = set[int | str]()
    found = []
    for event in events:
        if isinstance(event, Synced):
            synced.add(event.what)
        elif isinstance(event, Named) and event.number not in (None, FOLDER) and event.number not in synced:
            found.append(event.path)
    return found


def test_no_file_has_a_name_before_its_bytes_are_on_the_disk(night: Disk) -> None:
    """Notes of runs too are whole or not there."""
    assert unsynced(night.events) == []


def _working(disk: Disk) -> list[int]:
    """Which events are a sync that brings something to the disk."""
    found, synced, pending = [], set(disk.before.values()), set[str]()
    for at, event in enumerate(disk.events):
        if isinstance(event, Named):
            pending.add(event.folder)
        elif isinstance(event, Synced) and isinstance(event.what, int):
            if event.what not in synced:
                found.append(at)
            synced.add(event.what)
        elif isinstance(event, Synced) and event.what in pending:
            found.append(at)
            pending.remove(event.what)
    return found


def _seen_without(disk: Disk, at: int) -> bool:
    """Whether something shows that the sync that is event number `at` was left out."""
    without = [*disk.events[:at], *disk.events[at + 1 :]]
    if len(unsynced(without)) > len(unsynced(disk.events)):
        return True
    try:
        check_all(disk, without, start=at)
    except Exception:  # noqa: BLE001  # whatever readers say
        return True
    return False


def test_no_sync_can_be_left_out(night: Disk) -> None:
    """Without any one of them that brings something to the disk, there is a moment at which a loss of power is seen."""
    working = _working(night)
    assert len(working) > 30
    assert [night.events[at] for at in working if not _seen_without(night, at)] == []


# --- two runs at once ---


def test_a_merge_lasts_too(tmp_path: Path) -> None:
    """Of two runs at once the second merges over the first: after a loss of power what either published is there, and
    no sync of theirs can be left out.
    """
    disk = Disk(tmp_path, _scratch)
    path = str(tmp_path / STORE)
    with disk.recorded(), pytest.MonkeyPatch.context() as patch:
        _note_publications(patch, disk)
        Store.create(path)
        whole = TinyRun(path, 1, {"a": 0, "b": 0}, whole=True)
        whole.work()
        whole.end()
        both = [TinyRun(path, 2, {"a": 1}, whole=False), TinyRun(path, 3, {"b": 1}, whole=False)]
        for run in both:
            run.work()
        assert [run.end().status for run in both] == ["published", "published"]
        for run in (whole, *both):
            run.die()
    assert len(check_all(disk, disk.events, random.Random(7))) > 100
    assert [disk.events[at] for at in _working(disk) if not _seen_without(disk, at)] == []
    disk.close()


# --- a run that was killed, and run again, before the power goes ---


def test_what_a_killed_run_left_lasts_once_the_next_one_used_it(tmp_path: Path) -> None:
    """Killed at any step and run again, a run takes up what the first one had not waited for; when that
    is published, a loss of power takes none of it.
    """
    for number, titles in enumerate(NIGHTS):
        catalog = write_titles(tmp_path / f"{number}.parquet", titles, row_group_rows=2)
        assert run_titles(catalog, tmp_path / "source", *ANY).exit_code == 0
        if number == 0:
            shutil.copytree(tmp_path / "source", tmp_path / "before")
    crashed = 0
    for at in range(1, 200):
        root = tmp_path / str(at)
        shutil.copytree(tmp_path / "before", root / STORE)
        disk = Disk(root, _scratch)
        with disk.recorded(), pytest.MonkeyPatch.context() as patch:
            _note_publications(patch, disk)
            disk.reached("1")
            disk.last = at
            try:
                publish_like(tmp_path / "source", Store.open(str(root / STORE)))
            except Crash:
                disk.last = None
            else:
                break  # fewer events: nothing crashed
            publish_like(tmp_path / "source", Store.open(str(root / STORE)))
        check_all(disk, disk.events, start=at)
        disk.close()
        shutil.rmtree(root)
        crashed += 1
    assert crashed > 20
