"""Large partitions built as parts: the same index as in one go, whatever the parts, the workers and what goes wrong."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from click.testing import Result

from index_builders import build, choose, kept
from index_builders.base import builder_types
from index_builders.parts import Partition, SoFar, fill, finish, learn, parts_of
from index_builders.sizing import IndexSettings
from index_builders.threads import threads
from lookup.manifest import FileRef, IndexRecord
from lookup.metric import Metric
from lookup.store import Store
from pipeline import index_parts, transforms
from pipeline.index_parts import Filled, Part, Task
from tests.conftest import TITLES_ONLY, manifest_of, run_titles, told, write_titles
from tests.test_index_builders import clustered, segments_of

WORDS = ("red", "blue", "green", "long", "short", "warm", "light", "soft", "dress", "coat", "shoe", "scarf", "hat")
ROWS, BLOCK = 2500, 350
SMALL = ("index.exact_below=512", "index.held_out_queries=60", "gates.min_recall=0", "shards.unit_rows=900")
RABITQ, SQ8 = "index.large={type: ivf_rabitq}", "index.large={type: ivf_sq8}"
PARTS = ("run.part_rows=700",)
TIMES = {"p50_ms", "p99_ms", "build_seconds", "curve"}


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Blocks of 350 rows, so that parts of 700 are whole blocks: real ones take longer. And FAISS on one thread."""
    monkeypatch.setattr(kept, "ROWS", BLOCK)
    with threads(1):
        yield


def titles(first: int = 0) -> list[str]:
    rng = np.random.default_rng(first)
    return [" ".join(rng.choice(WORDS, 4, replace=False)) + f" {number}" for number in range(first, first + ROWS)]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,500 titles, which become segments of 1,000, 1,000 and 500 rows: parts begin and end inside of them."""
    return write_titles(tmp_path_factory.mktemp("titles") / "catalog.parquet", titles())


def index_of(store: Path) -> IndexRecord:
    """The index of the only partition."""
    return manifest_of(store).partitions[0].index


def proved(store: Path) -> dict[str, Any]:
    """All that the record says, but what a clock said: file digests, settings, figures, and what was considered."""
    return index_of(store).model_dump(mode="json", exclude=TIMES)


@pytest.fixture
def filled(monkeypatch: pytest.MonkeyPatch) -> list[range]:
    """The rows of each part that gets filled."""
    seen, real = list[range](), transforms.filled_part

    def watched(store: Store, part: Part, metric: Metric) -> Filled:
        seen.append(range(part.first, part.end))
        return real(store, part, metric)

    monkeypatch.setattr(transforms, "filled_part", watched)
    return seen


def check_ended_well(done: Result, store: Path) -> None:
    """Exit 0, and no part is left."""
    assert done.exit_code == 0, done.stderr
    assert not (store / "parts").exists()
    assert list((store / "tmp").iterdir()) == []


# --- the same index ---


@pytest.mark.parametrize("kind", builder_types())
def test_parts_make_the_index_of_one_go(catalog: Path, tmp_path: Path, kind: str, filled: list[range]) -> None:
    """Every type gives the same files and figures; all but hnsw, which cannot be merged, by way of parts."""
    large = f"index.large={{type: {kind}}}"
    for name, rows in (("one", 10**6), ("parts", 700)):
        check_ended_well(run_titles(catalog, tmp_path / name, *SMALL, large, f"run.part_rows={rows}"), tmp_path / name)
    assert proved(tmp_path / "parts") == proved(tmp_path / "one")
    assert index_of(tmp_path / "one").type == kind
    expected = [range(at, min(at + 700, ROWS)) for at in range(0, ROWS, 700)] if kind != "hnsw" else []
    assert sorted(filled, key=lambda rows: rows.start) == expected


@pytest.mark.parametrize(("rows", "workers", "metric"), [(1, 1, "cosine"), (1000, 3, "l2"), (2499, 2, "cosine")])
def test_any_parts_and_workers_make_it(
    catalog: Path, tmp_path: Path, rows: int, workers: int, metric: str, filled: list[range]
) -> None:
    """Parts of one block or of nearly all rows, filled by one worker or three, in whatever order: the same index."""
    how = (*SMALL, "index.large={type: ivf_pq, fast_scan: true, opq: true, refine: sq8}", f"index.metric={metric}")
    check_ended_well(run_titles(catalog, tmp_path / "one", *how), tmp_path / "one")
    given = (f"run.part_rows={rows}", f"run.workers={workers}")
    check_ended_well(run_titles(catalog, tmp_path / "parts", *how, *given), tmp_path / "parts")
    assert proved(tmp_path / "parts") == proved(tmp_path / "one")
    assert len(filled) == -(-ROWS // (-(-rows // BLOCK) * BLOCK))


def test_parts_of_the_real_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 16,384 rows, parts of two of them: the files of one go, of codes that show the last bit."""
    monkeypatch.setattr(kept, "ROWS", 16_384)
    chosen = IndexSettings(held_out_queries=20, large={"type": "ivf_rabitq", "nlist": 64}, retrain="always")
    segments = segments_of(tmp_path / "shards", clustered(40_000), per=15_000)
    one, many = tmp_path / "one", tmp_path / "many"
    one.mkdir()
    many.mkdir()
    build.build(segments, 16, chosen, one)
    partition = Partition(segments, 16, chosen, None, None)
    rows = parts_of(partition, 20_000)
    assert rows == [range(32_768), range(32_768, 40_000)]
    learning, empty = learn(partition, SoFar(), tmp_path)
    parts = [tmp_path / f"part{number}" for number in range(2)]
    for part, inside in zip(parts, rows, strict=True):
        fill(learn(partition, SoFar(), tmp_path)[1], segments, 0, inside, chosen, part)
    found = finish(partition, learning, empty, parts, many)
    assert isinstance(found, build.BuiltIndex)
    for name in found.files.values():
        assert (one / name).read_bytes() == (many / name).read_bytes()


def test_a_bucket_gets_the_same_index(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filled: list[range]
) -> None:
    """A store under an fsspec URL: the same index, and no part is left there or in the cache."""
    monkeypatch.setenv("VITRINE_CACHE", str(tmp_path / "cache"))
    check_ended_well(run_titles(catalog, tmp_path / "one", *SMALL, RABITQ), tmp_path / "one")
    url = "memory://parts/store"
    done = run_titles(catalog, Path("unused"), *SMALL, RABITQ, *PARTS, f"store.path={url}", "run.workers=1")
    assert done.exit_code == 0, done.stderr
    assert len(filled) == 4
    store = Store.open(url)
    there = store.published()[1].partitions[0].index
    assert there.model_dump(mode="json", exclude=TIMES) == proved(tmp_path / "one")
    assert store.names("parts") == []
    assert not list((tmp_path / "cache").rglob("parts"))
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


@pytest.mark.nightly
@pytest.mark.parametrize(
    "beam",
    [
        ("--direct_running_mode=multi_processing", "--direct_num_workers=2"),
        ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"),
    ],
    ids=["processes", "portable"],
)
def test_other_runners_make_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beam: tuple[str, ...]) -> None:
    """Worker processes, to which elements come as Beam's own types, and the portable runner: the same index."""
    monkeypatch.setattr(kept, "ROWS", 16_384)  # what worker processes have
    rows = [f"{' '.join(WORDS[n % 13 :])} {n}" for n in range(17_000)]
    catalog = write_titles(tmp_path / "catalog.parquet", rows, row_group_rows=9000)
    where = (f"catalog.path={catalog}", SQ8, "gates.min_recall=0", "run.part_rows=16384")
    one, parts = tmp_path / "one", tmp_path / "parts"
    check_ended_well(run_titles(catalog, one, *where, "run.part_rows=1000000"), one)
    check_ended_well(run_titles(catalog, parts, *where, "--", *beam), parts)
    assert proved(parts) == proved(one)


def test_elements_of_other_types_will_do(catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps read an element's fields and nothing else: in worker processes it has a type that Beam made of these."""

    def foreign(element: Any) -> Any:
        return namedtuple("Foreign", element._fields)(*element)

    fill_one, merge_all = transforms.FillPart.process, transforms.MergeParts.process
    begin = transforms.BuildIndex.process

    def begun(self: transforms.BuildIndex, task: Task) -> Iterator[Any]:
        yield from begin(self, foreign(task))

    def filled(self: transforms.FillPart, part: Part) -> Iterator[tuple[Task, Filled]]:
        yield from fill_one(self, foreign(part))

    def merged(self: transforms.MergeParts, filled: tuple[Task, Iterable[Filled]]) -> Iterator[transforms.Done]:
        yield from merge_all(self, (foreign(filled[0]), [foreign(one) for one in filled[1]]))

    monkeypatch.setattr(transforms.BuildIndex, "process", begun)
    monkeypatch.setattr(transforms.FillPart, "process", filled)
    monkeypatch.setattr(transforms.MergeParts, "process", merged)
    check_ended_well(run_titles(catalog, tmp_path / "store", *SMALL, RABITQ, *PARTS), tmp_path / "store")


# --- rounds ---


def test_who_falls_short_of_all_rows_is_followed_by_the_next(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filled: list[range]
) -> None:
    """Chosen by a sample, the first falls short on all rows, and another round builds the second; as in one go."""
    monkeypatch.setattr(choose, "CHOOSE_ROWS", 1000)
    real = choose._shortfalls
    monkeypatch.setattr(
        choose,
        "_shortfalls",
        lambda one, settings: real(one, settings) or (["recall 0"] if one.rows == ROWS and one.spec == first() else []),
    )

    def first() -> Any:
        return winners[0] if winners else None

    winners = list[Any]()
    check_ended_well(run_titles(catalog, tmp_path / "first", *SMALL), tmp_path / "first")
    winner = index_of(tmp_path / "first")
    winners.append(choose.builder_spec({"type": winner.type, **winner.parameters}))
    for name, rows in (("one", 10**6), ("parts", 700)):
        check_ended_well(run_titles(catalog, tmp_path / name, *SMALL, f"run.part_rows={rows}"), tmp_path / name)
    assert proved(tmp_path / "parts") == proved(tmp_path / "one")
    assert [one.verdict for one in index_of(tmp_path / "parts").considered[-2:]] == [
        "short on all rows: recall 0",
        "chosen",
    ]
    assert len(filled) == 8


def test_all_that_fall_short_are_a_refusal(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filled: list[range]
) -> None:
    """Where nobody meets the bounds on all rows, exit 3 with the words of one go, after as many rounds as passed."""
    monkeypatch.setattr(choose, "CHOOSE_ROWS", 1000)
    real = choose._shortfalls
    short = ["recall 0"]
    monkeypatch.setattr(
        choose, "_shortfalls", lambda one, given: real(one, given) + (short if one.rows == ROWS else [])
    )
    said = []
    for name, rows in (("one", 10**6), ("parts", 700)):
        done = run_titles(catalog, tmp_path / name, *SMALL, f"run.part_rows={rows}")
        assert done.exit_code == 3
        said.append(told(done.stderr))
        assert not (tmp_path / name / "parts").exists()
    assert said[0] == said[1]
    assert len(filled) >= 8
    assert len(filled) % 4 == 0


@pytest.mark.parametrize("loss", [1, 0])
def test_an_earlier_training_serves_or_not_as_in_one_go(
    catalog: Path, tmp_path: Path, loss: int, filled: list[range]
) -> None:
    """The parent's training is used again for parts too; where it turns out not to fit all rows, they train anew."""
    how = (*SMALL, SQ8, "index.retrain=auto", "gates.max_row_drop=1", f"index.retrain_max_recall_loss={loss}")
    bounds = ("index.retrain_max_error=100", f"index.retrain_max_imbalance={100 if loss else 1}")
    assert run_titles(catalog, tmp_path / "one", *how, *bounds).exit_code == 0
    shutil.copytree(tmp_path / "one", tmp_path / "parts")
    changed = write_titles(tmp_path / "changed.parquet", titles(100)[:1900])
    for name, rows in (("one", 10**6), ("parts", 700)):
        store = tmp_path / name
        check_ended_well(run_titles(changed, store, *how, *bounds, f"run.part_rows={rows}"), store)
    assert proved(tmp_path / "parts") == proved(tmp_path / "one")
    training = index_of(tmp_path / "parts").training
    assert training is not None
    assert training.reused == bool(loss)
    assert len(filled) == (3 if loss else 6)


# --- what goes wrong ---


def test_a_damaged_part_is_refused(catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is altered before it is merged ends the run with exit 4; the next run ends in the right bytes."""
    check_ended_well(run_titles(catalog, tmp_path / "one", *SMALL, RABITQ), tmp_path / "one")
    real, store = transforms.filled_part, tmp_path / "parts"

    def damaging(into: Store, part: Part, metric: Metric) -> Filled:
        done = real(into, part, metric)
        raw = bytearray(into.path(done.path).read_bytes())
        raw[-1] ^= 1
        into.path(done.path).write_bytes(raw)
        return done

    with monkeypatch.context() as patch:
        patch.setattr(transforms, "filled_part", damaging)
        done = run_titles(catalog, store, *SMALL, RABITQ, *PARTS)
    assert done.exit_code == 4
    assert "blake3" in told(done.stderr)[0]
    assert not (store / "parts").exists()
    assert not (store / "CURRENT").exists()
    check_ended_well(run_titles(catalog, store, *SMALL, RABITQ, *PARTS), store)
    assert proved(store) == proved(tmp_path / "one")


def test_an_altered_segment_is_refused(catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are not those recorded are told by whoever fills a part, before it is used."""
    real = index_parts.read_rows

    def altered(store: Store, path: str, rows: range) -> tuple[int, list[Any]]:
        first, segments = real(store, path, rows)
        return first, [type(one)(**{**vars(one), "digest": "0" * 64}) for one in segments]

    monkeypatch.setattr(index_parts, "read_rows", altered)
    done = run_titles(catalog, tmp_path / "store", *SMALL, RABITQ, *PARTS)
    assert done.exit_code == 4
    assert "recorded as 0000" in told(done.stderr)[1]


def test_a_disk_that_fills_at_every_file_of_parts(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever file of parts the disk does not take, or the merged one: exit 1, nothing is left, the next run ends."""
    real, before = Store.put, tmp_path / "before"
    assert run_titles(catalog, before, *SMALL, "index.exact_below=100000").exit_code == 0
    failing = ""

    def put(self: Store, source: Path, name: str, rows: int) -> FileRef:
        if name.endswith(failing):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source))
        return real(self, source, name, rows)

    how = (*SMALL, RABITQ, *PARTS, "index.retrain=always")
    for failing in ("learned.faiss", "learned.json", "000002.faiss", "index.faiss"):
        store = Path(shutil.copytree(before, tmp_path / failing))
        current = (store / "CURRENT").read_text()
        with monkeypatch.context() as patch:
            patch.setattr(Store, "put", put)
            done = run_titles(catalog, store, *how)
        assert (done.exit_code, done.stdout) == (1, "")
        assert "No space left on device" in told(done.stderr)[1]
        assert (store / "CURRENT").read_text() == current
        assert not (store / "parts").exists()
    check_ended_well(run_titles(catalog, store, *how), store)


def test_a_merge_that_finds_the_disk_full(catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills while the merged file is written is said to be full, with the folder; nothing is published."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("index_builders.parts.merge", full)
    done = run_titles(catalog, tmp_path / "store", *SMALL, RABITQ, *PARTS)
    assert done.exit_code == 1
    expected, came, fix = told(done.stderr)
    assert "to write an index into" in expected
    assert "No space left on device" in came
    assert "free space" in fix


def test_what_a_killed_run_left_is_dropped(catalog: Path, tmp_path: Path) -> None:
    """kill -9 with parts in the store: the next run drops them, and ends in the bytes of one go."""
    check_ended_well(run_titles(catalog, tmp_path / "one", *SMALL, RABITQ), tmp_path / "one")
    store, code = (
        tmp_path / "parts",
        "from index_builders import kept; kept.ROWS = 350; from pipeline.cli import cli; cli()",
    )
    given = (*TITLES_ONLY, f"catalog.path={catalog}", f"store.path={store}", *SMALL, RABITQ, *PARTS)
    command = [sys.executable, "-c", code, "run", "-c", "configs/weightless.yaml", *given]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(store.glob("parts/*/0/*.faiss")):
            time.sleep(0.002)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert list(store.glob("parts/*/0/*.faiss"))
    check_ended_well(run_titles(catalog, store, *SMALL, RABITQ, *PARTS), store)
    assert proved(store) == proved(tmp_path / "one")
    (store / "parts" / "ab" / "0").mkdir(parents=True)
    check_ended_well(run_titles(catalog, store, *SMALL, RABITQ, *PARTS), store)  # which builds nothing


@pytest.mark.parametrize("short", [False, True])
def test_what_a_runner_repeats_is_not_done_twice(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: bool, filled: list[range]
) -> None:
    """A merge that a runner asks for again when it was done finds the index, or the next round's file."""
    monkeypatch.setattr(choose, "CHOOSE_ROWS", 1000)
    if short:
        real = choose.Choice.found
        monkeypatch.setattr(choose.Choice, "found", lambda self, given: len(self.tried) > 1 and real(self, given))
    twice = list[object]()
    merged: Callable[..., IndexRecord | None] = transforms.merged

    def again(store: Store, task: Task, parts: Iterable[Filled], *more: Any) -> IndexRecord | None:
        some = list(parts)
        first, second = (merged(store, task, iter(some), *more) for _ in range(2))
        assert first == second
        twice.append(first)
        return second

    monkeypatch.setattr(transforms, "merged", again)
    check_ended_well(run_titles(catalog, tmp_path / "store", *SMALL, *PARTS), tmp_path / "store")
    assert [one is None for one in twice] == ([True, False] if short else [False])
    assert len(filled) == 4 * len(twice)


def test_the_size_of_parts_names_no_index(catalog: Path, tmp_path: Path) -> None:
    """Another `run.part_rows` on the same rows builds nothing: the index stands."""
    store = tmp_path / "store"
    check_ended_well(run_titles(catalog, store, *SMALL, RABITQ, *PARTS), store)
    check_ended_well(run_titles(catalog, store, *SMALL, RABITQ, "run.part_rows=1000"), store)
    report = json.loads((sorted((store / "runs").iterdir())[-1] / "run.json").read_text())
    assert report["status"] == "unchanged"
    assert report["indexes_reused"] == 1
