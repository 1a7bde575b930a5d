"""Two runs at once: each partition that is published is of the newest reading, whoever publishes first."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import lookup
from foundation.errors import IntegrityError, LockedError
from lookup.store.publications.publication import Publication
from lookup.store.store import Store
from pipeline import run as stages
from pipeline.config.load import Config
from pipeline.publish.verify import verify_store
from pipeline.report.run_report import RunReport
from tests.support.command import ANY_NIGHT, run, vitrine
from tests.support.folder_bucket import USE
from tests.support.forked_commands import Forked, forked
from tests.support.stores import digests, manifest_of
from tests.support.three_kinds import KINDS, LOOSE, Rows, accounted, texts_only, write

LIVE = ("catalog.image=null", "encoders.image=null", "catalog.text=[title]", "catalog.attributes=[title]")


def titles(store: Path) -> dict[str, str]:
    """Kind -> the last word of the title of its products, which says in which edition of the catalog they stood."""
    reader = lookup.open(str(store))
    found = {kind: reader.search(f"{kind} number", category=kind, k=40) for kind in KINDS}
    words = {kind: {hit.attributes["title"].split()[-1] for hit in hits} for kind, hits in found.items()}
    assert all(len(said) == 1 for said in words.values()), words
    return {kind: next(iter(said)) for kind, said in words.items()}


def edition(folder: Path, rows: Rows, word: str) -> None:
    """The catalog with that word in every title."""
    write(folder, [{**row, "title": f"{row['kind']} number {row['id']} {word}"} for row in rows])


@pytest.fixture
def shop(tmp_path: Path, rows: Rows, config: Callable[..., Config]) -> Callable[..., Config]:
    """Configs of runs on a store of the first edition; `folder` is where another catalog lies."""

    def made(*more: str, folder: Path = tmp_path) -> Config:
        catalog = f"catalog.path={folder}/catalog.parquet"
        return texts_only(config, "catalog.attributes=[title]", catalog, *ANY_NIGHT, *more)

    (tmp_path / "other").mkdir()
    edition(tmp_path, rows, "first")
    run(made())
    return made


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Has something done once, while the next run that comes so far is about to publish."""

    def once(do: Callable[[], object]) -> None:
        real = stages.refuse_another_catalog

        def first(*arguments: Any) -> None:
            real(*arguments)
            monkeypatch.setattr(stages, "refuse_another_catalog", real)
            do()

        monkeypatch.setattr(stages, "refuse_another_catalog", first)

    return once


# --- in processes of their own ---

# Waits before publishing, from when the plan stands, until its file is gone.
HELD = """
import pathlib, pipeline.run
real, held = pipeline.run.refuse_another_catalog, pathlib.Path({held!r})
def hold(*words):
    real(*words)
    held.touch()
    while held.exists():
        time.sleep(0.01)
pipeline.run.refuse_another_catalog = hold
"""


@pytest.fixture(scope="module")
def command() -> Iterator[Forked]:
    """Commands, forked from one process that has imported what a run imports."""
    with forked() as started:
        yield started


def words(folder: Path, *more: str) -> list[str]:
    """The command of a run in that folder."""
    fixed = (f"catalog.path={folder}/catalog.parquet", f"store.path={folder}/store", "catalog.partition=kind")
    return ["run", *fixed, "shards.unit_rows=10", *LIVE, *LOOSE, *ANY_NIGHT, *more]


def await_file(path: Path) -> None:
    """Wait until a held run has come so far."""
    for _ in range(6000):
        if path.exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"no {path}")


def test_a_full_run_and_two_category_runs_at_once(
    tmp_path: Path, shop: Callable[..., Config], rows: Rows, command: Forked
) -> None:
    """All three are about to publish before any does. The snapshot has both categories of the edition that they read
    and the third of the full run's; a second full run beside it is told who is at it.
    """
    store, other = tmp_path / "store", tmp_path / "other"
    edition(tmp_path, rows, "second")
    edition(other, rows, "third")
    started = []
    for folder, more in ((tmp_path, ()), (other, ("--category", "shoes")), (other, ("--category", "toys"))):
        held = tmp_path / f"held-{len(started)}"
        asked = words(tmp_path, f"catalog.path={folder}/catalog.parquet", *more)
        started.append((command.start(HELD.format(held=str(held)), *asked), held))
        await_file(held)
    code, said = command("", *words(tmp_path))
    assert (code, f"process {started[0][0]} on" in said) == (5, True), said
    for number, held in (started[1], started[0], started[2]):
        held.unlink()
        code, said = command.wait(number)
        assert code == 0, said
    assert titles(store) == {"fruit": "second", "shoes": "third", "toys": "third"}
    manifest = manifest_of(store)
    assert accounted(manifest, 40)
    verify_store(str(store))
    first, _, full, last = Store.open(str(store)).publications()
    assert full.reason == "a run of the whole catalog, merged over 2, of which shoes is newer"
    assert last.reason == "a run of category 'toys', merged over 2, 3"
    assert manifest.whole is not None
    assert manifest.whole.run == full.run != first.run


def test_a_run_that_was_stopped_publishes_nothing_over_newer_work(
    tmp_path: Path, shop: Callable[..., Config], rows: Rows, command: Forked
) -> None:
    """A category's run is stopped (SIGSTOP) before it publishes; a full run publishes a later edition. Woken, the first
    ends well, says what it gave way to, and has changed nothing; meanwhile nobody took its scratch.
    """
    store, held = tmp_path / "store", tmp_path / "held"
    edition(tmp_path / "other", rows, "second")
    asked = words(tmp_path, f"catalog.path={tmp_path}/other/catalog.parquet", "--category", "shoes")
    number = command.start(HELD.format(held=str(held)), *asked)
    await_file(held)
    os.kill(number, signal.SIGSTOP)
    try:
        held.unlink()
        locks = set((store / "tmp").glob("*.lock"))
        assert locks
        edition(tmp_path, rows, "third")
        assert run(shop()).status == "published"
        assert locks <= set((store / "tmp").glob("*.lock"))
        before = digests(store)
    finally:
        os.kill(number, signal.SIGCONT)
    code, said = command.wait(number)
    assert code == 0, said
    assert digests(store) == before
    assert titles(store) == dict.fromkeys(KINDS, "third")
    reports = [json.loads(path.read_text()) for path in store.glob("runs/*/run.json")]
    (ended,) = (one for one in reports if one["status"] == "superseded")
    latest = Store.open(str(store)).latest()
    assert latest is not None
    assert (ended["exit_code"], ended["snapshot"], ended["merged_over"]) == (0, latest.snapshot, [2])
    assert (ended["category"], ended["rows_in_snapshot"]) == ("shoes", 40)
    (told,) = (one for one in ended["notices"] if one["what"] == "published_meanwhile")
    assert told["examples"] == ["2: a run of the whole catalog"]
    assert list((store / "tmp").iterdir()) == []
    assert run(shop()).status == "unchanged"


# --- in this process ---


def test_a_night_after_a_merge_reads_its_catalog(
    tmp_path: Path, shop: Callable[..., Config], rows: Rows, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    """A full run merged with what a category's run read elsewhere; the same catalog again is not taken for all of the
    snapshot. Nothing is encoded.
    """
    edition(tmp_path / "other", rows, "third")
    edition(tmp_path, rows, "second")
    meanwhile(lambda: run(shop(folder=tmp_path / "other"), category="toys"))
    merged = run(shop())
    assert (merged.status, merged.merged_over) == ("published", (2,))
    assert titles(tmp_path / "store") == {"fruit": "second", "shoes": "second", "toys": "third"}
    again = run(shop())
    assert (again.status, again.texts_encoded, again.merged_over) == ("published", 0, ())
    assert titles(tmp_path / "store") == dict.fromkeys(KINDS, "second")
    assert run(shop()).status == "unchanged"


def test_what_cannot_stand_together_is_not_merged(
    tmp_path: Path, shop: Callable[..., Config], meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    """A full run with another encoder finds a category published that the old one encoded later: it ends with exit code
    5, publishes nothing, and goes through when it is run again.
    """
    store = tmp_path / "store"
    another = shop("encoders.text.dim=64")
    meanwhile(lambda: run(shop(), category="toys"))
    with pytest.raises(LockedError, match="what can stand beside this run's partitions") as caught:
        run(another)
    assert "text: " in caught.value.came
    assert len(Store.open(str(store)).publications()) == 2
    assert run(another).status == "published"


def test_a_product_that_moved_between_two_readings(
    tmp_path: Path, shop: Callable[..., Config], rows: Rows, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    """It would stand in two partitions: exit code 5, nothing published; the run after it has it once."""
    store = tmp_path / "store"
    edition(tmp_path, rows[1:], "second")
    run(shop())
    edition(tmp_path, rows, "third")  # with p00, which is fruit
    edition(tmp_path / "other", [{**rows[0], "kind": "toys"}, *rows[1:]], "fourth")
    meanwhile(lambda: run(shop(folder=tmp_path / "other"), category="toys"))
    with pytest.raises(LockedError, match="no product in two partitions"):
        run(shop())
    assert run(shop()).status == "published"
    assert accounted(manifest_of(store), 40)


@pytest.mark.parametrize(("hours", "code"), [(1, 5), (-48, 0)])
def test_files_that_were_collected_meanwhile(
    tmp_path: Path,
    shop: Callable[..., Config],
    rows: Rows,
    meanwhile: Callable[[Callable[[], object]], None],
    hours: int,
    code: int,
) -> None:
    """A run that began before the time up to which unnamed files were deleted publishes nothing; any other goes on."""
    store = Store.open(str(tmp_path / "store"))

    def collect() -> None:
        base, number = store.top()
        assert base is not None
        at = datetime.now(UTC) + timedelta(hours=hours)
        made = Publication(number=number, before=base.number, snapshot=base.snapshot, reason="gc", collected=at)
        store.publish_on(base, made.signed())

    edition(tmp_path, rows, "second")
    meanwhile(collect)
    if code:
        with pytest.raises(LockedError, match="a run that began after"):
            run(shop())
    else:
        assert run(shop()).status == "published"
    assert run(shop()).status == ("published" if code else "unchanged")


def test_a_file_that_another_partition_lost_meanwhile(
    tmp_path: Path, shop: Callable[..., Config], rows: Rows, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    """A category's run does not publish a snapshot of which a file is gone."""
    store = tmp_path / "store"
    edition(tmp_path, rows, "second")
    index = next(one.index for one in manifest_of(store).partitions if one.name == "fruit").files["index"]
    meanwhile((store / index.path).unlink)
    with pytest.raises(IntegrityError, match="no such file"):
        run(shop(), category="toys")
    assert len(Store.open(str(store)).publications()) == 1


def test_a_clock_that_was_set_back_a_year(
    tmp_path: Path, shop: Callable[..., Config], rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that follow one another are ordered by their publications, whatever the clock says: the last one counts, its
    run.json and its snapshot sort before all others, and what was encoded is used again.
    """

    class Earlier(datetime):
        """A year ago."""

        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) - timedelta(days=365)

    store = tmp_path / "store"
    for module in ("pipeline.run", "pipeline.publish.snapshot", "lookup.store.store"):
        monkeypatch.setattr(f"{module}.datetime", Earlier)
    for word, category in (("second", None), ("third", "shoes"), ("fourth", None)):
        edition(tmp_path, rows, word)
        report: RunReport = run(shop(), category=category)
        assert (report.status, titles(store)["shoes"]) == ("published", word)
    assert run(shop()).status == "unchanged"
    monkeypatch.undo()
    again = run(shop())
    assert (again.status, again.texts_encoded) == ("unchanged", 0)
    edition(tmp_path, rows, "fifth")
    assert run(shop()).status == "published"
    assert titles(store) == dict.fromkeys(KINDS, "fifth")
    assert [one.number for one in Store.open(str(store)).publications()] == [1, 2, 3, 4, 5]
    assert vitrine("verify", store, "--all").exit_code == 0


def test_a_run_on_a_bucket_that_is_killed_needs_nobody(
    tmp_path: Path, rows: Rows, command: Forked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After kill -9, with the objects that it shared still there, the next run publishes, and leaves none of them; so
    does one that publishes while another is at work.
    """
    monkeypatch.setenv("VITRINE_CACHE", str(tmp_path / "cache"))
    bucket, url = tmp_path / "bucket", "gs://shop/store"
    patch = f"os.environ['VITRINE_CACHE'] = {str(tmp_path / 'cache')!r}\n" + USE.format(folder=str(bucket))
    edition(tmp_path, rows, "first")
    asked = words(tmp_path, f"store.path={url}")
    assert command(patch, *asked)[0] == 0
    edition(tmp_path, rows, "second")
    killed = "\nimport signal\npipeline.build.transforms.started = lambda *_: os.kill(os.getpid(), signal.SIGKILL)"
    assert command(patch + killed, *asked)[0] == -signal.SIGKILL
    left = [path for path in (bucket / "shop/store/tmp").rglob("*") if path.is_file()]
    assert left
    (bucket / "shop/store/lock.json").write_text("{}")  # as one of an earlier version left it
    held = tmp_path / "held"
    number = command.start(patch + HELD.format(held=str(held)), *asked)
    await_file(held)
    (tmp_path / "other").mkdir()
    edition(tmp_path / "other", rows, "third")
    elsewhere = words(tmp_path, f"catalog.path={tmp_path}/other/catalog.parquet", f"store.path={url}")
    code, said = command(patch, *elsewhere, "--category", "toys")
    assert code == 0, said
    held.unlink()
    code, said = command.wait(number)
    assert code == 0, said
    assert not [path for path in (bucket / "shop/store/tmp").rglob("*") if path.is_file() and path.name != "now"]
    assert titles(bucket / "shop/store") == {"fruit": "second", "shoes": "second", "toys": "third"}
    verify_store(str(bucket / "shop/store"))
