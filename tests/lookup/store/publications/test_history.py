"""Publications: of two that want a number one gets it, what is created is not replaced, and stores of before open."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import fsspec
import pytest
from blake3 import blake3
from click.testing import Result

import lookup
from foundation.errors import InputError, LockedError
from lookup.store.backends.at_work import at_work, clear_scratch
from lookup.store.backends.folder import FolderBackend
from lookup.store.fields import FileRef
from lookup.store.publications.publication import Publication, path_of
from lookup.store.publications.rollback import publish_again
from lookup.store.store import Store, scratch_of
from tests.support.command import ANY_NIGHT, run_titles, told, vitrine, write_titles
from tests.support.stores import digests, everything, make_format_1, manifest_of

ROWS = 40


def run_night(catalog: Path, store: Path, *more: str) -> Result:
    """A run of a catalog that has nothing to do with the one before."""
    return run_titles(catalog, store, *ANY_NIGHT, *more)


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `store`, of two nights, and three catalogs. Tests must not change it."""
    folder = tmp_path_factory.mktemp("nights")
    for number in (1, 2, 3):
        write_titles(folder / f"{number}.parquet", [f"red dress {n} of night {number}" for n in range(ROWS)])
    for number in (1, 2):
        assert run_night(folder / f"{number}.parquet", folder / "store").exit_code == 0
    return folder


@pytest.fixture
def store(nights: Path, tmp_path: Path) -> Path:
    """A copy of that store. Each test changes its own."""
    return Path(shutil.copytree(nights / "store", tmp_path / "store"))


@pytest.fixture(params=["folder", "bucket"])
def empty(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An empty store of each kind."""
    monkeypatch.setenv("VITRINE_CACHE", str(tmp_path / "cache"))
    yield Store.create(str(tmp_path / "store") if request.param == "folder" else "memory://history/store")
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


def test_each_night_is_one_more_publication(nights: Path) -> None:
    """They name run, parent and snapshot, the newest last; a night without change is none."""
    store = Store.open(str(nights / "store"))
    first, last = store.publications()
    manifests = [store.manifest(one.snapshot) for one in (first, last)]
    assert [one.run for one in (first, last)] == [one.run for one in manifests]
    assert (first.parent, last.parent) == (None, first.snapshot)
    assert (first.number, first.before, last.number, last.before) == (1, None, 2, 1)
    times = [first.published_at, last.published_at]
    assert times == sorted({time for time in times if time is not None})
    assert last.reason == "a run of the whole catalog"
    assert run_night(nights / "2.parquet", nights / "store").exit_code == 0
    assert store.latest() == last


# --- create, which replaces nothing ---


def test_what_was_created_is_not_replaced(empty: Store) -> None:
    """Other bytes under a name that is taken are refused; the same bytes, of a driver that asks twice, are not."""
    empty.backend.create(b"one", "publications/a")
    empty.backend.create(b"one", "publications/a")
    with pytest.raises(FileExistsError):
        empty.backend.create(b"two", "publications/a")
    assert empty.read("publications/a") == b"one"
    empty.backend.delete("publications/a")
    empty.backend.delete("publications/a")
    assert not empty.exists("publications/a")


def test_what_was_put_is_not_replaced(empty: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is put where there is none: another under its name is refused and left as it is. Only one that is damaged
    gives way to what its name promises; and of a driver that asks twice the first request counts.
    """
    source, put, replaced = tmp_path / "source", empty.backend.put, list[str]()

    def again(raw: bytes) -> Path:
        source.write_bytes(raw)
        return source

    put(again(b"whole"), "shards/a")
    with pytest.raises(FileExistsError):
        put(again(b"other bytes"), "shards/a")
    assert empty.read("shards/a") == b"whole"

    def twice(source: Path, name: str) -> None:
        put(again(b"whole"), name)
        put(again(b"whole"), name)

    def noted(source: Path, name: str) -> None:
        replaced.append(name)
        replace(source, name)

    replace = empty.backend.replace
    monkeypatch.setattr(empty.backend, "replace", noted)
    monkeypatch.setattr(empty.backend, "put", twice)
    file = FileRef(path="shards/b", bytes=5, rows=0, blake3=blake3(b"whole").hexdigest())
    empty.put_whole(again(b"whole"), file)
    assert (empty.read("shards/b"), replaced) == (b"whole", [])
    monkeypatch.setattr(empty.backend, "put", put)
    replace(again(b"cut"), "shards/b")
    empty.put_whole(again(b"whole"), file)
    assert (empty.read("shards/b"), replaced) == (b"whole", ["shards/b"])


def test_scratch_of_runs_that_are_dead_goes(empty: Store) -> None:
    """Not that of one that is at work, and nobody's notes."""
    for run in ("1-killed", "2-at-work"):
        with empty.working(run) if run == "1-killed" else nullcontext():
            empty.put_bytes(b"x", f"{scratch_of(run)}/indexes/0.faiss")
            empty.put_bytes(b"x", f"runs/{run}/plan.json")
    empty.backend.local("tmp/1-killed.lock").touch()  # as kill -9 leaves it
    empty.sign_of("1-killed").touch()
    with empty.working("2-at-work") as sign:
        sign.touch()
        clear_scratch(empty.backend)
        assert sign.exists()
        assert at_work(empty.backend) == ["2-at-work"]
    assert (empty.names("runs/1-killed"), empty.names("runs/2-at-work")) == (["plan.json"], ["plan.json"])
    assert (empty.names(scratch_of("1-killed")), empty.names(scratch_of("2-at-work"))) == ([], ["indexes"])
    assert not empty.sign_of("1-killed").exists()


def test_scratch_of_earlier_versions_goes(empty: Store) -> None:
    """It lay beside the notes of a run, which stay."""
    for name in ("plan.json", "scratch/indexes/0.faiss", "scratch/0.table"):
        empty.put_bytes(b"x", f"runs/1-killed/{name}")
    clear_scratch(empty.backend)
    assert empty.names("runs/1-killed") == ["plan.json"]


def test_scratch_that_is_held_stops_no_run(empty: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody believes what another run left there; it goes when the file system lets go of it."""
    left = empty.backend.local(f"{scratch_of('1-killed')}/0.table")
    left.parent.mkdir(parents=True)
    left.touch()
    real = os.rmdir

    def held(path: object, **named: Any) -> None:
        if str(path).endswith("1-killed"):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
        real(path, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", held)
        clear_scratch(empty.backend)
    assert left.parent.is_dir()
    clear_scratch(empty.backend)
    assert not left.parent.exists()


def test_one_at_a_time_is_told(empty: Store) -> None:
    """Two who are at the same are told of each other, others are not; and after the first ended it is free."""
    with empty.courtesy_lock("the whole catalog"), empty.courtesy_lock("category 'shoes'"):
        with pytest.raises(LockedError, match=rf"process {os.getpid()} on .* is at it since 2"):
            empty.courtesy_lock("category 'shoes'").__enter__()
        for note in empty.backend.local("locks").glob("*.json"):
            note.unlink()
        with pytest.raises(LockedError, match="not yet written its name"):
            empty.courtesy_lock("the whole catalog").__enter__()
    with empty.courtesy_lock("the whole catalog"):
        pass


def test_a_walk_finds_every_file_with_its_bytes(empty: Store) -> None:
    """Of a folder and all below, by name; none where it is absent. What is written later is not older."""
    assert empty.backend.walk("shards") == []
    for name in ("shards/b/c", "shards/a", "snapshots/d"):
        empty.put_bytes(name.encode(), name)
    found = empty.backend.walk("shards")
    assert [(one.name, one.bytes) for one in found] == [("shards/a", 8), ("shards/b/c", 10)]
    assert found[1].written <= found[0].written


def test_of_many_that_create_one_does(empty: Store) -> None:
    """Of thirty threads that create the same name at once, each its own bytes, one gets it."""

    def create(number: int) -> int | None:
        try:
            empty.backend.create(str(number).encode() * 999, "publications/b")
        except FileExistsError:
            return None
        return number

    with ThreadPoolExecutor(30) as threads:
        (won,) = [number for number in threads.map(create, range(30)) if number is not None]
    assert empty.read("publications/b") == str(won).encode() * 999


def test_of_two_runs_one_publishes(store: Path, nights: Path) -> None:
    """Both began on the same publication: one is published, the other ends with exit code 5, nothing overwritten."""
    opened, base = Store.open(str(store)), Store.open(str(store)).latest()
    assert base is not None
    mine = [manifest_of(store).model_copy(update={"run": run, "parent": base.snapshot}) for run in ("a", "b")]

    def publish(number: int) -> Publication | LockedError:
        try:
            return opened.publish(mine[number], base, "a test")
        except LockedError as err:
            return err

    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(publish, range(2)))
    (won,) = [one for one in done if isinstance(one, Publication)]
    (lost,) = [one for one in done if isinstance(one, LockedError)]
    assert (lost.exit_code, lost.came) == (5, "another run published meanwhile")
    assert path_of(won.number) in lost.expected
    assert opened.publications()[1:] == [base, opened.latest()]
    assert opened.current() == won.snapshot


# --- a person who goes back while a run is at work ---


def test_a_run_does_not_publish_over_who_went_back(store: Path, nights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person published during a run stays, though the snapshot is the one that the run began with."""
    from pipeline import run as stages

    real, opened = stages.refuse_another_catalog, Store.open(str(store))
    first, last = opened.publications()

    def meanwhile(*arguments: Any) -> None:
        real(*arguments)
        for one in (first, last):
            publish_again(opened, one.snapshot, "back and forth")

    with monkeypatch.context() as patch:
        patch.setattr(stages, "refuse_another_catalog", meanwhile)
        done = run_night(nights / "3.parquet", store)
    assert (done.exit_code, told(done.stderr)[1]) == (5, f"{path_of(3)}: back and forth")
    assert opened.current() == last.snapshot
    assert run_night(nights / "3.parquet", store).exit_code == 0
    assert [one.number for one in opened.publications()] == [1, 2, 3, 4, 5]


# --- stores of before there were publications ---


def test_a_store_of_format_1_opens_and_is_run_again(store: Path, nights: Path) -> None:
    """Readers leave it alone; the next run writes what it has anew, and encodes and builds nothing. Its publication
    begins a history with what CURRENT named, and CURRENT goes: an earlier version would serve it for ever.
    """
    before, files = make_format_1(store), manifest_of(store).files()
    seen = everything(store)
    for command in (("verify", store, "--all"), ("inspect", store), ("search", store, "--text", "red")):
        assert vitrine(*command).exit_code == 0
    assert everything(store) == seen
    report = json.loads(run_night(nights / "2.parquet", store, "--json").stdout)
    assert [report[name] for name in ("status", "parent", "texts_encoded", "units")] == ["published", before, 0, 1]
    assert (report["units_reused"], report["indexes_reused"]) == (1, len(manifest_of(store).partitions))
    assert (manifest_of(store).format, manifest_of(store).files()) == (2, files)
    assert "unchanged: " in run_night(nights / "2.parquet", store).stdout
    zero, one = Store.open(str(store)).publications()
    assert (zero.number, zero.before, zero.snapshot) == (0, None, before)
    assert (one.number, one.before, one.parent) == (1, 0, before)
    assert not (store / "CURRENT").exists()
    assert run_night(nights / "3.parquet", store).exit_code == 0
    assert lookup.open(str(store)).search("red dress 7", k=1)[0].attributes["title"].endswith("night 3")
    assert run_night(nights / "1.parquet", store).exit_code == 0
    assert vitrine("verify", store, "--all").exit_code == 0


def test_of_both_the_publications_count(store: Path) -> None:
    """CURRENT beside publications, of a run that was killed or of an earlier version, is not followed."""
    first, last = Store.open(str(store)).publications()
    (store / "CURRENT").write_text(f"{first.snapshot}\n")
    assert Store.open(str(store)).latest() == last
    publish_again(Store.open(str(store)), first.snapshot, "back")
    assert not (store / "CURRENT").exists()
    assert [one.number for one in Store.open(str(store)).publications()] == [1, 2, 3]


@pytest.mark.parametrize("kind", ["format 1", "publications"])
def test_a_run_that_ends_at_any_step_of_publishing(
    kind: str, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever call of the backend is the last, readers see the old snapshot or the new one; the next publishes."""
    if kind == "format 1":
        make_format_1(store)
    old = Store.open(str(store)).current()
    new = manifest_of(store).model_copy(update={"parent": old, "run": "another"})
    seen = []

    class Ended(BaseException):
        """The end of the process, as far as the code that runs can tell."""

    for at in range(1, 9):
        copy = Path(shutil.copytree(store, tmp_path / str(at)))
        opened, count = Store.open(str(copy)), iter(range(1, 99))

        def ending(real: Callable[..., None], count: Iterator[int] = count, at: int = at) -> Callable[..., None]:
            def do(*arguments: Any) -> None:
                if next(count) == at:
                    raise Ended
                real(*arguments)

            return do

        with monkeypatch.context() as patch:
            base = opened.latest()
            for name in ("put", "replace", "create", "delete"):
                patch.setattr(FolderBackend, name, ending(getattr(FolderBackend, name)))
            try:
                opened.publish(new, base, "a test")
            except Ended:
                pass
            else:
                assert at > (3 if kind == "publications" else 5)
                break
        seen.append(opened.current())
        opened.publish(new, opened.latest(), "a test")
        assert opened.current() == new.written().snapshot
    assert seen == [old] * (3 if kind == "publications" else 5)


def test_an_earlier_publication_that_is_damaged_is_found(store: Path, nights: Path) -> None:
    """`verify` reads all of them; readers and runs go on with the last, which is whole."""
    (store / path_of(1)).write_bytes(b"{")
    done = vitrine("verify", store)
    assert (done.exit_code, path_of(1) in told(done.stderr)[1]) == (4, True)
    before = digests(store)
    assert vitrine("search", store, "--text", "red").exit_code == 0
    assert run_night(nights / "3.parquet", store).exit_code == 0
    assert {name: digests(store)[name] for name in before} == before


def test_a_store_of_nothing_is_none(tmp_path: Path) -> None:
    """A folder without publications, snapshots and runs is no store; one with publications alone is damaged."""
    with pytest.raises(InputError, match="none there"):
        Store.open(str(tmp_path))
    (tmp_path / "publications").mkdir()
    (tmp_path / path_of(1)).write_text("")
    assert vitrine("search", tmp_path, "--text", "red").exit_code == 4


def test_a_file_system_without_hard_links_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is encoded, and not when it is to be published."""

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("lookup.store.backends.folder.os.link", refused)
    done = run_night(write_titles(tmp_path / "c.parquet", ["red dress"]), tmp_path / "store")
    assert done.exit_code == 2
    assert "hard links" in told(done.stderr)[0]
    assert not list((tmp_path / "store").glob("shards/*"))
