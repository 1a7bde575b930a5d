"""A store that lost its pointer is damaged, not new: nobody takes it for empty. Starting anew is said on purpose."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from lookup.store.backends.folder import FolderBackend
from lookup.store.store import Store
from tests.support.command import ANY_NIGHT, run_titles, told, vitrine, write_titles
from tests.support.stores import in_another_second, make_format_1, manifest_of, publish_by_hand

ROWS = 300


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of two nights, and a catalog of a tenth of the rows. Tests must not change it."""
    folder = tmp_path_factory.mktemp("nights")
    for price in (1.0, 2.0):
        in_another_second()
        titles = [f"red dress {n} at {price}" for n in range(ROWS)]
        assert run_titles(write_titles(folder / "c.parquet", titles), folder / "store", *ANY_NIGHT).exit_code == 0
    write_titles(folder / "tenth.parquet", [f"red dress {n} at 3" for n in range(ROWS // 10)])
    return folder


@pytest.fixture
def store(nights: Path, tmp_path: Path) -> Path:
    """A copy of that store. Each test damages its own."""
    return Path(shutil.copytree(nights / "store", tmp_path / "store"))


def drop(store: Path) -> None:
    shutil.rmtree(store / "publications")


def drop_notes_too(store: Path) -> None:
    drop(store)
    shutil.rmtree(store / "runs")


def last(store: Path) -> Path:
    return sorted((store / "publications").iterdir())[-1]


def empty(store: Path) -> None:
    last(store).write_bytes(b"")


def halve(store: Path) -> None:
    last(store).write_bytes(last(store).read_bytes()[:99])


def change(store: Path) -> None:
    last(store).write_bytes(last(store).read_bytes().replace(b"catalog", b"Catalog"))


def skip(store: Path) -> None:
    publish_by_hand(store, Store.open(str(store)).current() or "").rename(store / "publications" / "0000000004.json")


def skip_and_say_so(store: Path) -> None:
    fields = {"number": 4, "before": 3, "snapshot": Store.open(str(store)).current(), "reason": "a test"}
    (store / "publications" / "0000000004.json").write_text(json.dumps(fields))


def lose_the_one_before(store: Path) -> None:
    sorted((store / "publications").iterdir())[0].unlink()


def name_it_shortly(store: Path) -> None:
    publish_by_hand(store, Store.open(str(store)).current() or "").rename(store / "publications" / "3.json")


def name_nothing(store: Path) -> None:
    publish_by_hand(store, "20200101T000000Z-0123456789abcdef")


def drop_manifest(store: Path) -> None:
    (store / "snapshots" / f"{Store.open(str(store)).current()}.json").unlink()


def empty_current(store: Path) -> None:
    make_format_1(store)
    (store / "CURRENT").write_bytes(b"")


def drop_current(store: Path) -> None:
    make_format_1(store)
    (store / "CURRENT").unlink()


LOSSES = (
    drop, drop_notes_too, empty, halve, change, skip, skip_and_say_so, lose_the_one_before, name_it_shortly,
    name_nothing, drop_manifest, empty_current, drop_current,
)  # fmt: skip
BEFORE = (drop_manifest, empty, halve, change)  # after which the one before is the newest that is whole


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
def test_a_lost_pointer_is_told_by_every_command(lose: Callable[[Path], None], nights: Path, store: Path) -> None:
    """Run, search, inspect and verify exit 4, name the newest snapshot that is whole, and publish nothing; the rollback
    that they name and the file that they say to create serve it, and then the gates are at work.
    """
    published = Store.at(str(store)).snapshots()
    lose(store)
    left = Store.at(str(store)).snapshots()
    wanted = published[-2] if lose in BEFORE else left[-1]
    asked: list[Result] = [
        run_titles(nights / "tenth.parquet", store),
        vitrine("search", store, "--text", "red dress"),
        vitrine("inspect", store),
        vitrine("verify", store),
    ]
    for done in asked:
        assert (done.exit_code, done.stdout) == (4, "")
        _, came, fix = told(done.stderr)
        assert f"the newest snapshot that is whole: {wanted}" in came
        assert "--no-parent" in fix
    assert Store.at(str(store)).snapshots() == left
    assert vitrine("inspect", store, "--snapshot", wanted).exit_code == 0
    if back := re.findall(r"rollback STORE ([0-9]+) --why", fix):
        other = Path(shutil.copytree(store, store.with_name("other")))
        assert vitrine("rollback", other, back[0], "--why", "a test").exit_code == 0
        assert Store.open(str(other)).current() == wanted
    path, line = re.findall(r"create (\S+) with .*?(\{.*\});", fix)[0]
    (store / path).parent.mkdir(exist_ok=True)
    (store / path).write_text(line)
    assert Store.open(str(store)).current() == wanted
    assert vitrine("verify", store).exit_code == 0
    assert run_titles(nights / "tenth.parquet", store).exit_code == 3  # its gates


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
def test_starting_anew_is_said_on_purpose(lose: Callable[[Path], None], nights: Path, store: Path) -> None:
    """`run --no-parent` publishes a snapshot without a parent whatever was lost; not of one category alone."""
    lose(store)
    done = run_titles(nights / "tenth.parquet", store, "--no-parent")
    assert done.exit_code == 0, done.stderr
    assert (manifest_of(store).parent, manifest_of(store).rows) == (None, ROWS // 10)
    done = run_titles(nights / "tenth.parquet", store, "--no-parent", "--category", "all")
    assert (done.exit_code, done.stdout) == (2, "")


def test_starting_anew_forgets_nothing_that_is_held(nights: Path, store: Path) -> None:
    """What was gone back from stays held where the last publication is damaged."""
    assert vitrine("rollback", store, "--why", "a test").exit_code == 0
    held = Store.open(str(store)).publications()[-1].held
    publish_by_hand(store, "").write_bytes(b"{")
    assert run_titles(nights / "tenth.parquet", store, "--no-parent").exit_code == 0
    assert Store.open(str(store)).publications()[-1].held == held != ()


def test_the_newest_is_passed_over_when_it_is_damaged(store: Path) -> None:
    """A manifest that is cut is not offered; without a whole one the message says so."""
    drop(store)
    one, other = Store.open(str(store)).snapshots()
    (store / "snapshots" / f"{other}.json").write_bytes(b"{")
    assert f"the newest snapshot that is whole: {one}" in told(vitrine("verify", store).stderr)[1]
    (store / "snapshots" / f"{one}.json").write_bytes(b"{")
    done = vitrine("verify", store)
    assert (done.exit_code, "no file of snapshots/ is whole" in told(done.stderr)[1]) == (4, True)


def test_a_store_that_never_published_is_new(nights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that failed, also between the first manifest and its publication, leave a store that is new."""
    store = tmp_path / "store"
    done = run_titles(write_titles(tmp_path / "bad.parquet", ["red dress", None, None] * 10), store)
    assert done.exit_code == 3
    assert vitrine("search", store, "--text", "red").exit_code == 2  # nothing is published yet

    def full(self: FolderBackend, raw: bytes, name: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(FolderBackend, "create", full)
        assert run_titles(nights / "c.parquet", store).exit_code == 1
    assert len(Store.open(str(store)).snapshots()) == 1
    assert vitrine("search", store, "--text", "red").exit_code == 2
    (sorted((store / "runs").iterdir())[-1] / "run.json").unlink()  # killed, rather than ended
    assert run_titles(nights / "c.parquet", store).exit_code == 0
    drop(store)
    assert vitrine("search", store, "--text", "red").exit_code == 4


@pytest.mark.parametrize("kind", ["shards/", "indexes/"])
def test_damage_of_an_earlier_snapshot_is_found_when_all_are_looked_at(kind: str, store: Path) -> None:
    """A bit flipped in a file that only the earlier of two snapshots names: `verify` says whole, `verify --all` names
    the file, exit code 4.
    """
    opened = Store.open(str(store))
    before, now = opened.snapshots()
    old, new = ({file.path for file in opened.manifest(name).files()} for name in (before, now))
    path = sorted(name for name in old - new if name.startswith(kind))[0]
    assert vitrine("verify", store, "--all").exit_code == 0
    raw = bytearray((store / path).read_bytes())
    raw[len(raw) // 2] ^= 1
    (store / path).write_bytes(raw)
    assert vitrine("verify", store).exit_code == 0
    done = vitrine("verify", store, "--all")
    assert done.exit_code == 4
    assert path in told(done.stderr)[1]
