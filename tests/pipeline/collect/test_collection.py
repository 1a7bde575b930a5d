"""`vitrine gc`: what nobody needs goes, and nothing else, whoever is at work and wherever it dies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from click.testing import Result

import lookup
from foundation.errors import IntegrityError
from lookup.store.backends.scratch import held
from lookup.store.publications.publication import path_of
from lookup.store.store import Store
from pipeline.build.index_files import reusable_index
from pipeline.collect import collection
from pipeline.collect import survey as surveys
from tests.support.ages import DAY, make_older
from tests.support.command import ANY_NIGHT, run_titles, told, vitrine, write_titles
from tests.support.crashes import Crash, crashing
from tests.support.stores import (
    everything,
    in_another_second,
    make_format_1,
    manifest_of,
    publish_by_hand,
    publish_in_between,
)

ROWS = 30
WHY = ("--why", "wrong prices")
UNITS = ("shards.unit_rows=20", "index.text_queries=false")
STRICT = ("gates.max_reject_share=0", "gates.least_rows=1")


def night(catalog: Path, store: Path, *more: str) -> Result:
    """A run of a catalog that may have nothing to do with the night before."""
    return run_titles(catalog, store, *UNITS, *ANY_NIGHT, *more)


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `store`, of three nights that were 9, 6 and 3 days ago, and the catalogs 1 to 4. Tests must not
    change it.
    """
    folder = tmp_path_factory.mktemp("nights")
    for number in (1, 2, 3, 4):
        titles = [f"red dress {n} of night {number}" for n in range(ROWS)]
        write_titles(folder / f"{number}.parquet", [*titles, None], 10)  # one of them is rejected
    for number in (1, 2, 3):
        in_another_second()
        assert night(folder / f"{number}.parquet", folder / "store").exit_code == 0
        make_older(folder / "store", 3)
    return folder


@pytest.fixture
def store(nights: Path, tmp_path: Path) -> Path:
    """A copy of that store. Each test changes its own."""
    return Path(shutil.copytree(nights / "store", tmp_path / "store"))


def gc(store: object, *more: object, keep: int = 1) -> dict[str, Any]:
    done = vitrine("gc", store, "--keep", keep, *more, "--json")
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def night_of(store: Path) -> str:
    """The night whose titles a reader finds."""
    title = lookup.open(str(store)).search("red dress 7 of night", k=1)[0].attributes["title"]
    return str(title).rpartition(" ")[2]


def ids(store: Path) -> list[str]:
    return [one.snapshot for one in Store.open(str(store)).publications()]


def named(store: Path) -> set[str]:
    """The files that the snapshots of the store name."""
    opened = Store.open(str(store))
    return {file.path for one in opened.snapshots() for file in opened.manifest(one).files()}


def lying(store: Path) -> set[str]:
    """The Parquet files, indexes and refine vectors that lie there."""
    return {name for name in everything(store) if name.startswith(("shards", "indexes")) and not name.endswith("json")}


def test_what_only_old_snapshots_need_goes(store: Path) -> None:
    """Manifests, shards with rejects and records, indexes with what names them, and notes of runs: bytes are told by
    kind. What is kept is whole; publications stay, and the collection is one; again, there is nothing to delete.
    """
    before = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    done = vitrine("gc", store, "--keep", "1", "--older-than", "2d")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "1 snapshot is kept" in done.stdout
    _, _, third, collection = Store.open(str(store)).publications()
    assert (collection.snapshot, collection.run, collection.reason) == (
        third.snapshot, None, "gc --keep 1 --older-than 2d"
    )  # fmt: skip
    assert (collection.kept, collection.content) == ((third.snapshot,), third.content)
    assert Store.open(str(store)).snapshots() == [third.snapshot]
    assert lying(store) == named(store)
    assert len(list(store.glob("shards/*.json"))) == len(manifest_of(store).shards.entries)
    assert [path.name for path in store.glob("runs/*")] == [third.run]
    assert len(list(store.glob("indexes/*.json"))) == len(list(store.glob("indexes/*/"))) == 1
    assert vitrine("verify", store, "--all").exit_code == 0
    assert night_of(store) == "3"
    after = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    assert f"{(before - after + (store / path_of(4)).stat().st_size) / 1e6:,.1f} MB were deleted" in done.stdout
    assert gc(store)["publication"] is None
    assert "there is nothing to delete" in vitrine("gc", store).stdout


def test_a_dry_run_changes_nothing(store: Path) -> None:
    """It tells what would be deleted, by the same figures."""
    before = everything(store)
    told_of = gc(store, "--dry-run")
    assert everything(store) == before
    done = gc(store)
    assert (told_of["publication"], done["publication"]) == (None, 4)
    assert (told_of["deleted"], told_of["kept"], told_of["bytes"]) == (done["deleted"], done["kept"], done["bytes"])
    assert {kind: one["count"] for kind, one in done["deleted"].items()} == {
        "snapshots": 4, "shards": 8, "indexes": 4, "rankers": 0, "understanding": 0, "runs": 2
    }  # fmt: skip


def test_snapshots_that_were_served_within_the_age_are_kept(store: Path) -> None:
    """The second night was served until three days ago: four days back readers were sent to it, two days back none."""
    first, second, third = ids(store)
    assert gc(store, "--older-than", "4d", "--dry-run")["kept"] == [second, third]
    assert gc(store, "--older-than", "7d", "--dry-run")["kept"] == [first, second, third]
    assert gc(store, "--older-than", "8w", "--dry-run")["bytes"] == 0
    assert gc(store, "--older-than", "2d", "--dry-run", keep=2)["kept"] == [second, third]


def test_snapshots_are_counted_not_publications(store: Path) -> None:
    """Of what was published again and again each snapshot counts once."""
    first, second, third = ids(store)
    for number in (1, 3, 3):
        assert vitrine("rollback", store, number, *WHY).exit_code == 0
    make_older(store, 9)
    assert gc(store, keep=2)["kept"] == [first, third]
    assert ids(store)[:3] == [first, second, third]


def test_what_is_given_up_is_not_gone_back_to(store: Path) -> None:
    """From the moment that the collection stands, also before its files are deleted; what is kept is."""
    _, second, third = ids(store)
    kept = Path(shutil.copytree(store / "snapshots", store.with_name("snapshots")))
    assert gc(store, keep=2)["kept"] == [second, third]
    assert "given up by publication 4" in vitrine("rollback", store, 1, *WHY).stderr
    shutil.rmtree(store / "snapshots")
    shutil.copytree(kept, store / "snapshots")
    done = vitrine("rollback", store, 1, *WHY)
    assert (done.exit_code, "given up by publication 4" in told(done.stderr)[1]) == (2, True)
    assert vitrine("rollback", store, *WHY).exit_code == 0
    assert night_of(store) == "2"


def test_what_was_gone_back_from_stays_held(nights: Path, store: Path) -> None:
    """A collection publishes the served snapshot again, with what is held."""
    assert vitrine("rollback", store, *WHY).exit_code == 0
    make_older(store, 9)
    gc(store)
    assert (night_of(store), Store.open(str(store)).publications()[-1].number) == ("2", 5)
    assert night(nights / "3.parquet", store).exit_code == 3


def test_the_next_night_goes_on(nights: Path, store: Path) -> None:
    """With the parent's vectors, indexes and notes: a night of the same catalog is unchanged, another is published."""
    gc(store)
    same = json.loads(night(nights / "3.parquet", store, "--json").stdout)
    assert (same["status"], same["units_reused"]) == ("unchanged", same["units"])
    assert night(nights / "4.parquet", store).exit_code == 0
    assert vitrine("verify", store, "--all").exit_code == 0


# --- readers, runs and clocks ---


def test_a_reader_of_a_collected_snapshot_is_told_to_open_anew(store: Path) -> None:
    """Opened for longer than the age, it fails at the first hit of a shard that is gone, by a message that says so."""
    reader, other = (lookup.open(str(store)) for _ in range(2))
    assert other.search("red dress")
    third = ids(store)[2]
    publish_by_hand(store, ids(store)[0])
    make_older(store, 5)
    assert third not in gc(store)["kept"]
    assert other.search("red dress")  # of what it read before
    for one in (reader, other):
        with pytest.raises(IntegrityError) as raised:
            one.search("red dress", where=("title != blue",))
        assert third in raised.value.expected
        assert "open the store anew" in raised.value.fix
    assert night_of(store) == "1"


def test_shards_of_a_run_that_published_nothing_are_kept_while_it_is_young(nights: Path, store: Path) -> None:
    """The next run goes on from its marks, however old the files; when it is old too they go."""
    refused = night(nights / "4.parquet", store, *STRICT)
    assert refused.exit_code == 3
    shards = lying(store) - named(store)
    make_older(store, 9, "shards/*", "indexes/*", "indexes/*/*")
    gc(store)
    left = lying(store) - named(store)
    assert left == {name for name in shards if name.startswith("shards")}
    report = json.loads(night(nights / "4.parquet", store, "--json").stdout)
    assert (report["status"], report["texts_encoded"]) == ("published", 0)
    assert night(nights / "1.parquet", store, *STRICT).exit_code == 3
    make_older(store, 9)
    assert vitrine("rollback", store, 5, *WHY).exit_code == 0
    gc(store)
    assert lying(store) == named(store)


def test_what_is_young_is_kept_whoever_it_is_of(store: Path) -> None:
    """Files that a run wrote and has not yet marked, and a snapshot that it has not yet published."""
    one = next(store.glob("shards/*.parquet"))
    left = [store / "shards" / f"{'a' * 32}.parquet", store / "indexes" / ("b" * 64) / "index.faiss"]
    left += [store / "snapshots" / f"20261201T000000Z-{'c' * 16}.json", store / "indexes" / f"{'b' * 64}.json"]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        shutil.copyfile(one, path)
    notes = store / "shards" / "notes.txt"
    notes.write_text("not ours")
    gc(store)
    assert all(path.exists() for path in left)
    make_older(store, 3)
    gc(store)
    assert not any(path.exists() for path in left)
    assert notes.exists()


def test_what_a_run_at_work_needs_is_kept(store: Path) -> None:
    """A run that began when the first night was served may publish on top of that: it is kept, and told."""
    first, second, third = ids(store)
    run = "20261121T000000Z-000001"
    (store / "runs" / run).mkdir()
    (store / "runs" / run / "plan.json").write_text("{}")
    make_older(store, 6.5, f"runs/{run}/*")
    with held(store / "tmp", run):
        done = vitrine("gc", store, "--keep", "1")
        assert f"run {run} is at work" in done.stdout
        assert gc(store)["kept"] == [first, second, third]
    assert gc(store)["kept"] == [third]


def test_a_run_at_work_publishes_what_it_made(nights: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collection meanwhile takes nothing that it needs: it publishes on top of that."""
    from pipeline import run as stages

    real = stages.refuse_another_catalog

    def meanwhile(*arguments: Any) -> None:
        monkeypatch.setattr(stages, "refuse_another_catalog", real)
        assert gc(store)["deleted"]["snapshots"]["count"] == 4
        real(*arguments)

    monkeypatch.setattr(stages, "refuse_another_catalog", meanwhile)
    codes = [night(nights / "4.parquet", store).exit_code for _ in range(2)]
    assert codes == [0, 0]
    assert night_of(store) == "4"
    assert vitrine("verify", store, "--all").exit_code == 0


def test_an_old_index_that_a_run_takes_up_is_young_again(nights: Path, store: Path) -> None:
    """What says of what it was made is written anew, so that no collection takes it from under the run."""
    assert night(nights / "1.parquet", store).exit_code == 0
    young = [
        path
        for path in store.glob("indexes/*.json")
        if path.stat().st_mtime > manifest_of(store).created_at.timestamp() - DAY
    ]
    assert len(young) == 1
    assert json.loads(young[0].read_bytes().splitlines()[0])["index"] == manifest_of(store).partitions[0].index.name


def after_the_survey(monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> None:
    """Let a collection's first look at what it deletes be followed by what another process does."""
    real, left = collection.survey, [do]

    def look(*arguments: Any) -> surveys.Survey:
        found = real(*arguments)
        if len(arguments) > 3 and left:
            left.pop()()
        return found

    monkeypatch.setattr(collection, "survey", look)


def test_what_is_published_between_survey_and_deletion_is_kept(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that found old files whole may publish at any moment: before each deletion it is asked who has."""
    first, _, third = ids(store)
    after_the_survey(monkeypatch, lambda: publish_by_hand(store, first))
    gc(store)
    assert Store.open(str(store)).snapshots() == [first, third]
    assert night_of(store) == "1"
    assert vitrine("verify", store, "--all").exit_code == 0


def test_an_index_that_is_taken_up_between_survey_and_deletion_is_kept(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run wrote anew, to say that it needs an old index, is looked at before the index is deleted."""
    opened = Store.open(str(store))
    index = opened.manifest(ids(store)[0]).partitions[0].index
    after_the_survey(monkeypatch, lambda: reusable_index(opened, index.inputs))
    gc(store)
    assert reusable_index(opened, index.inputs) == index
    assert len(list(store.glob("indexes/*/"))) == 2


def test_a_clock_that_was_set_back_deletes_nothing(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither now, when all files are of the future, nor later for publications that were written meanwhile."""
    with monkeypatch.context() as patch:
        patch.setattr(surveys, "clock", lambda backend: store.stat().st_mtime - 365 * DAY)
        assert gc(store)["bytes"] == 0
    make_older(store, 365, "publications/0000000003.json")
    assert gc(store, "--older-than", "7d", "--dry-run")["kept"] == ids(store)


def test_what_was_published_before_a_damaged_one_counts(store: Path) -> None:
    """Where the history began anew, snapshots of before are kept as others are; of the damaged one nobody knows."""
    first, second, third = ids(store)
    (store / path_of(3)).write_bytes(b"{")
    assert vitrine("rollback", store, 1, *WHY).exit_code == 0
    assert gc(store)["kept"] == [second, first]
    assert third not in Store.open(str(store)).snapshots()
    assert vitrine("verify", store, "--all").exit_code == 0


def test_a_store_of_before_publications_is_collected(store: Path) -> None:
    """The one that CURRENT names is kept, whole; the history begins with it."""
    kept = make_format_1(store)
    make_older(store, 9)
    assert gc(store)["kept"] == [kept]
    assert [one.snapshot for one in Store.open(str(store)).publications()] == [kept, kept]
    assert lying(store) == named(store)
    assert vitrine("verify", store, "--all").exit_code == 0
    assert night_of(store) == "3"


# --- what goes wrong ---


@pytest.mark.parametrize(
    "words", [["--keep", "0"], *(["--older-than", age] for age in ("2", "2x", "-1d", "d", "", "1e3d", "9" * 30 + "w"))]
)
def test_wrong_options_are_refused(store: Path, words: list[str]) -> None:
    """Each is told before anything is looked at."""
    done = vitrine("gc", store, *words)
    assert done.exit_code == 2
    assert words[0] in " ".join(told(done.stderr))


@pytest.mark.parametrize("damaged", ["snapshots/{}.json", "snapshots/{}.segments", "publications/0000000002.json"])
def test_nothing_is_deleted_where_nobody_knows_what_is_needed(store: Path, damaged: str) -> None:
    """A damaged manifest of a snapshot that is kept, or a damaged publication, ends it with exit code 4."""
    path = store / damaged.format(ids(store)[2])
    path.write_bytes(path.read_bytes()[:-3])
    before = everything(store)
    assert vitrine("gc", store).exit_code == 4
    assert everything(store) == before


def test_a_store_of_nothing_is_told(tmp_path: Path) -> None:
    """Before the first night there is nothing to collect."""
    (tmp_path / "store" / "runs" / "1").mkdir(parents=True)
    assert vitrine("gc", tmp_path / "store").exit_code == 2


@pytest.mark.parametrize(("times", "code"), [(1, 0), (99, 5)])
def test_who_publishes_that_moment_is_waited_for(
    store: Path, monkeypatch: pytest.MonkeyPatch, times: int, code: int
) -> None:
    """A number that is taken is tried again, a few times; nothing is deleted before it stands."""
    publish_in_between(monkeypatch, store, times)
    done = vitrine("gc", store, "--keep", "1")
    assert done.exit_code == code, done.stderr
    assert len(Store.open(str(store)).snapshots()) == (1 if code == 0 else 3)


@pytest.mark.parametrize("done_first", [False, True])
def test_a_collection_that_dies_anywhere_is_finished_by_the_next(store: Path, done_first: bool) -> None:
    """At each call of the backend, before it or after it: readers see a whole snapshot, what is kept is whole, and the
    next collection leaves what an undisturbed one leaves.
    """
    whole = Path(shutil.copytree(store, store.with_name("undisturbed")))
    with crashing(None) as kind:
        gc(whole)
    wanted = {name for name in everything(whole) if "publications" not in name}
    changes = kind.changes
    assert len(changes) > 15
    for at in changes:
        one = Path(shutil.copytree(store, store.with_name(str(at))))
        with crashing(at, done_first), pytest.raises(Crash):
            vitrine("gc", one, "--keep", "1")
        assert night_of(one) == "3"
        assert vitrine("verify", one, "--all").exit_code == 0
        gc(one)
        assert {name for name in everything(one) if "publications" not in name} == wanted
        shutil.rmtree(one)


# --- in a bucket ---


@pytest.fixture
def bucket(nights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same store in a bucket, of 3, 2 and no days ago, and the local copies of a reader."""
    monkeypatch.setenv("VITRINE_CACHE", str(tmp_path / "cache"))
    memory, url = fsspec.filesystem("memory"), "memory://gc/store"
    for path in (nights / "store").rglob("*"):
        if path.is_file() and "tmp" not in path.relative_to(nights / "store").parts:
            name = f"/gc/store/{path.relative_to(nights / 'store')}"
            memory.pipe_file(name, path.read_bytes())
            memory.store[name].created = memory.store[name].created.fromtimestamp(path.stat().st_mtime).astimezone()
    yield url
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


def test_in_a_bucket_copies_of_this_machine_go_too(bucket: str, tmp_path: Path) -> None:
    """Objects go by the clock of the service, in the same order; and so do the copies in the cache."""
    opened = Store.open(bucket)
    first, third = (opened.manifest(opened.publications()[number].snapshot).files() for number in (0, 2))
    copied = [opened.verified(file) for file in first if file not in third]
    assert all(path.is_file() for path in copied)
    done = gc(bucket)
    assert {kind: one["count"] for kind, one in done["deleted"].items()} == {
        "snapshots": 4, "shards": 8, "indexes": 4, "rankers": 0, "understanding": 0, "runs": 2
    }  # fmt: skip
    assert not any(path.exists() for path in copied)
    assert vitrine("verify", bucket, "--all").exit_code == 0
    assert gc(bucket)["publication"] is None


def test_in_a_bucket_one_object_goes_back(bucket: str) -> None:
    """As in a folder; and what is given up is not gone back to."""
    assert vitrine("rollback", bucket, *WHY).exit_code == 0
    first, second, third, made = Store.open(bucket).publications()
    assert (made.snapshot, made.held) == (second.snapshot, (third.content,))
    assert gc(bucket, "--older-than", "4d")["kept"] == [third.snapshot, second.snapshot]
    assert vitrine("rollback", bucket, 1, *WHY).exit_code == 2
    assert json.loads(vitrine("snapshots", bucket, "--json").stdout)["publications"][0]["standing"] is False
    assert first.snapshot not in Store.open(bucket).snapshots()
