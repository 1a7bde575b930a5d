"""`vitrine rollback`: an earlier snapshot is served again by one object, and the next night does not undo that."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import lookup
from lookup.store.backends.folder import FolderBackend
from lookup.store.publications.publication import path_of
from lookup.store.store import Store
from tests.support.command import ANY_NIGHT, run_titles, told, vitrine, write_titles
from tests.support.crashes import Crash, crashing
from tests.support.stores import everything, in_another_second, manifest_of, publish_in_between

WHY = ("--why", "wrong prices")
ROWS = 30


def night(catalog: Path, store: Path, *more: str) -> Result:
    """A run of a catalog that may have nothing to do with the night before."""
    return run_titles(catalog, store, *ANY_NIGHT, *more)


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `store`, of three nights, and the catalogs 1 to 4. Tests must not change it."""
    folder = tmp_path_factory.mktemp("nights")
    for number in (1, 2, 3, 4):
        write_titles(folder / f"{number}.parquet", [f"red dress {n} of night {number}" for n in range(ROWS)])
    for number in (1, 2, 3):
        in_another_second()
        assert night(folder / f"{number}.parquet", folder / "store").exit_code == 0
    return folder


@pytest.fixture
def store(nights: Path, tmp_path: Path) -> Path:
    """A copy of that store. Each test changes its own."""
    return Path(shutil.copytree(nights / "store", tmp_path / "store"))


def night_of(store: Path) -> str:
    """The night whose titles a reader finds."""
    title = lookup.open(str(store)).search("red dress 7 of night", k=1)[0].attributes["title"]
    return str(title).rpartition(" ")[2]


def rollback(store: Path, *more: object) -> dict[str, Any]:
    done = vitrine("rollback", store, *more, *WHY, "--json")
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_one_object_serves_the_night_before(store: Path) -> None:
    """Readers that open now find it, whole; nothing else is written, and the history says who went back and why."""
    before = everything(store)
    done = vitrine("rollback", store, *WHY)
    assert (done.exit_code, done.stderr) == (0, "")
    first, second, third, made = Store.open(str(store)).publications()
    assert f"publication 4 serves {second.snapshot} instead of {third.snapshot} (back to publication 2: " in done.stdout
    assert "--accept went_back" in done.stdout
    assert {name for name in everything(store) if name not in before} == {path_of(4)}
    assert (made.snapshot, made.run, made.reason) == (second.snapshot, None, "back to publication 2: wrong prices")
    assert (made.content, made.held, first.held) == (second.content, (third.content,), ())
    assert night_of(store) == "2"
    assert vitrine("verify", store).exit_code == 0


def test_the_next_night_does_not_undo_it(nights: Path, store: Path) -> None:
    """What was gone back from is refused, also nights later, by a message that says since when, why and by which
    publication, and how to publish it all the same; other catalogs are published, and the served one is unchanged.
    """
    rollback(store)
    refused = night(nights / "3.parquet", store)
    expected, came, fix = told(refused.stderr)
    assert (refused.exit_code, expected) == (3, "went_back <= 0")
    assert "by publication 4, 'back to publication 2: wrong prices'" in came
    assert "--accept went_back" in fix
    assert night_of(store) == "2"
    same = night(nights / "2.parquet", store, "--json")
    assert (same.exit_code, json.loads(same.stdout)["status"]) == (0, "unchanged")
    assert night(nights / "4.parquet", store).exit_code == 0
    assert night(nights / "3.parquet", store).exit_code == 3
    assert night_of(store) == "4"
    assert night(nights / "3.parquet", store, "--accept", "went_back").exit_code == 0
    assert (night_of(store), Store.open(str(store)).publications()[-1].held) == ("3", ())
    assert night(nights / "3.parquet", store).exit_code == 0


def test_where_one_went_back_a_second_time_goes_further(store: Path) -> None:
    """By default never to what was gone back from: who asks twice does not get that again, but by its number."""
    rollback(store)
    assert rollback(store)["back_to"] == 1
    assert night_of(store) == "1"
    done = vitrine("rollback", store, *WHY)
    assert (done.exit_code, told(done.stderr)[1]) == (2, "none")
    forward = rollback(store, 3)
    third = manifest_of(store)
    assert (night_of(store), forward["snapshot"]) == ("3", Store.open(str(store)).publications()[2].snapshot)
    assert third.made_from not in Store.open(str(store)).publications()[-1].held


def test_settings_of_indexes_are_held_where_the_rows_are_the_same(nights: Path, store: Path) -> None:
    """Went back from another index over equal rows, the next night may publish the rows, not that index over them."""
    other = ("index.metric=l2",)
    published = night(nights / "3.parquet", store, *other)
    assert published.exit_code == 0, published.stderr
    assert rollback(store, 3)["held"] is not None
    refused = night(nights / "3.parquet", store, *other)
    assert (refused.exit_code, told(refused.stderr)[0]) == (3, "went_back <= 0")
    same = night(nights / "3.parquet", store)
    assert same.exit_code == 0, same.stderr


def test_what_is_served_already_is_no_error(store: Path) -> None:
    """Asked for what is served, it publishes nothing and ends well: a script may ask again."""
    before = everything(store)
    assert rollback(store, 3)["served_already"]
    assert everything(store) == before


@pytest.mark.parametrize("number", ["9", "0"])
def test_a_number_that_is_not_there_is_refused(store: Path, number: str) -> None:
    """The message names numbers that are."""
    done = vitrine("rollback", store, number, *WHY)
    assert (done.exit_code, told(done.stderr)[1]) == (2, number)
    assert "1, 2, 3" in told(done.stderr)[0]


@pytest.mark.parametrize("why", [[], ["--why", " "]])
def test_a_reason_is_asked_for(store: Path, why: list[str]) -> None:
    """Whoever finds the next run refused wants to know it."""
    done = vitrine("rollback", store, *why)
    assert done.exit_code == 2
    assert "--why" in told(done.stderr)[0] + told(done.stderr)[1]


def test_a_deleted_snapshot_is_refused(store: Path) -> None:
    """It is told apart from a damaged one: nothing has to be mended, another one has to be chosen."""
    first = Store.open(str(store)).publications()[0]
    for path in store.glob(f"snapshots/{first.snapshot}*"):
        path.unlink()
    done = vitrine("rollback", store, 1, *WHY)
    assert done.exit_code == 2
    assert f"publication 1, of {first.snapshot}: that was deleted" in told(done.stderr)[1]


@pytest.mark.parametrize("damage", ["gone", "cut", "altered", "manifest"])
def test_a_snapshot_that_is_not_whole_is_refused(store: Path, damage: str) -> None:
    """A file that is missing or cut is seen by its size, an altered one with --verify; nothing is published."""
    opened = Store.open(str(store))
    second = opened.publications()[1]
    name = opened.manifest(second.snapshot).partitions[0].index.files["index"].path
    path = store / (f"snapshots/{second.snapshot}.json" if damage == "manifest" else name)
    raw = path.read_bytes()
    changed = raw[:-1] if damage == "cut" else raw[:-9] + b"x" + raw[-8:]
    path.unlink() if damage == "gone" else path.write_bytes(changed)
    if damage == "altered":
        assert vitrine("rollback", shutil.copytree(store, store.with_name("unseen")), *WHY).exit_code == 0
    done = vitrine("rollback", store, *WHY, *(["--verify"] if damage == "altered" else []))
    assert done.exit_code == 4
    assert path.name in done.stderr
    assert opened.publications()[-1].number == 3


def test_it_leaves_a_damaged_publication_behind(store: Path) -> None:
    """Where the last one is cut, the one before is served, by a history that begins there; what was held stays."""
    rollback(store)
    held = Store.open(str(store)).publications()[-1].held
    snapshot = Store.open(str(store)).publications()[0].snapshot
    (store / path_of(5)).write_bytes(b"{")
    assert vitrine("inspect", store).exit_code == 4
    assert rollback(store, 1)["left"] is None
    (made,) = Store.open(str(store)).publications()
    assert (made.number, made.before, made.snapshot, made.held) == (6, None, snapshot, held)
    assert night_of(store) == "1"


def test_where_the_last_one_is_cut_the_newest_that_is_whole_is_served(store: Path) -> None:
    """Without a number nothing more is left than what is damaged."""
    (store / path_of(3)).write_bytes(b"{")
    assert rollback(store)["back_to"] == 2
    assert night_of(store) == "2"


def test_a_snapshot_whose_manifest_is_lost_is_left_behind(store: Path) -> None:
    """The last one that is there is served, without being told which."""
    (store / "snapshots" / f"{Store.open(str(store)).current()}.json").unlink()
    assert rollback(store)["back_to"] == 2
    assert night_of(store) == "2"


@pytest.mark.parametrize("what", ["understood", "asked", "near-duplicates", "synonyms"])
def test_the_night_after_does_not_undo_what_settings_of_searches_made(tmp_path: Path, what: str) -> None:
    """Where nothing but those made the snapshot that was left, they are what is held."""
    catalog, store = write_titles(tmp_path / "c.parquet", ["red dress", "blue lamp"]), tmp_path / "store"
    synonyms = tmp_path / "synonyms.txt"
    synonyms.write_text("dress, gown\n")
    always = ("lexical={}", f"lexical.synonyms={synonyms}") if what == "synonyms" else ()
    more = {
        "understood": "search.understand.always=true",
        "asked": "search.understand.values=filter",  # of queries that ask to be understood
        "near-duplicates": "duplicates={photo: false, near: 0.99}",
    }
    new = (*always, *([more[what]] if what in more else ()))
    assert night(catalog, store, *always).exit_code == 0
    synonyms.write_text("dress, lamp\n")
    assert night(catalog, store, *new).exit_code == 0
    rollback(store)
    refused = night(catalog, store, *new)
    assert refused.exit_code == 3, refused.stderr
    assert "went_back" in refused.stderr
    assert len(Store.open(str(store)).publications()) == 3


@pytest.mark.parametrize(("times", "code"), [(1, 0), (99, 5)])
def test_who_publishes_that_moment_is_waited_for(
    store: Path, monkeypatch: pytest.MonkeyPatch, times: int, code: int
) -> None:
    """A number that is taken is tried again, a few times; then the exit code says that others publish."""
    publish_in_between(monkeypatch, store, times)
    done = vitrine("rollback", store, *WHY)
    assert done.exit_code == code, done.stderr
    assert night_of(store) == ("2" if code == 0 else "3")


def test_a_new_night_is_not_left_unseen(store: Path, nights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who goes back from what a run replaces this moment is told so: the new night may be good."""
    real = Store.publish_on

    def meanwhile(opened: Store, *arguments: Any) -> Any:
        monkeypatch.setattr(Store, "publish_on", real)
        assert night(nights / "4.parquet", store).exit_code == 0
        return real(opened, *arguments)

    monkeypatch.setattr(Store, "publish_on", meanwhile)
    done = vitrine("rollback", store, *WHY)
    assert done.exit_code == 5
    assert "a run of the whole catalog" in told(done.stderr)[1]
    assert night_of(store) == "4"


def test_a_disk_that_takes_nothing_is_told(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a read-only file system the message has the path, and what is served stays."""

    def create(backend: FolderBackend, raw: bytes, name: str) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), name)

    monkeypatch.setattr(FolderBackend, "create", create)
    done = vitrine("rollback", store, *WHY)
    assert done.exit_code == 1
    assert "Read-only file system" in told(done.stderr)[1]
    assert night_of(store) == "3"


@pytest.mark.parametrize("done_first", [False, True])
def test_a_rollback_that_dies_anywhere_leaves_a_whole_snapshot(store: Path, done_first: bool) -> None:
    """At each call of the backend, before it or after it: the old night or the one before, and asked again the same."""
    with crashing(None) as kind:
        assert vitrine("rollback", shutil.copytree(store, store.with_name("undisturbed")), *WHY).exit_code == 0
    assert kind.calls > 5
    for at in range(1, kind.calls + 1):
        one = Path(shutil.copytree(store, store.with_name(str(at))))
        with crashing(at, done_first), pytest.raises(Crash):
            vitrine("rollback", one, *WHY)
        assert Store.open(str(one)).publications()[-1].number in (3, 4)
        assert vitrine("verify", one).exit_code == 0
        assert rollback(one, 2)["publication"] == 4
        shutil.rmtree(one)
