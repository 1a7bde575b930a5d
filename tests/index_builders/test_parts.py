"""Large partitions built as parts: the same index as in one go, whatever the parts, the workers and what goes wrong."""

from __future__ import annotations

import shutil
from collections import namedtuple
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from index_builders import build
from index_builders.base import builder_class, builder_spec, builder_types
from index_builders.build import Partition
from index_builders.choose import choice as choose
from index_builders.parts import EarlierRounds, fill, finish, learn, parts_of
from index_builders.rows import vectors_file
from index_builders.settings import IndexSettings
from lookup.store.store import Store
from pipeline.build import transforms
from pipeline.build.part_files import Part, PartFile, Task
from pipeline.engine.elements import Done
from tests.support.command import ANY_NIGHT, run_titles, told, write_titles
from tests.support.nights import WORDS, titles
from tests.support.parted import (
    BLOCK,
    PARTS,
    RABITQ,
    ROWS,
    SMALL,
    SQ8,
    TIMES,
    check_ended_well,
    index_of,
    proved,
    small_blocks,
    watched_parts,
    write_catalog,
)
from tests.support.partitions import clustered, segments_of


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with small_blocks(monkeypatch):
        yield


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_catalog(tmp_path_factory.mktemp("titles"))


@pytest.fixture
def filled(monkeypatch: pytest.MonkeyPatch) -> list[range]:
    return watched_parts(monkeypatch)


# --- the same index ---


@pytest.mark.parametrize("kind", builder_types())
def test_parts_make_the_index_of_one_go(catalog: Path, tmp_path: Path, kind: str, filled: list[range]) -> None:
    """Every type gives the same files and figures; those that can be merged, by way of parts."""
    large = f"index.large={{type: {kind}}}"
    for name, rows in (("one", 10**6), ("parts", 700)):
        check_ended_well(run_titles(catalog, tmp_path / name, *SMALL, large, f"run.part_rows={rows}"), tmp_path / name)
    assert proved(tmp_path / "parts") == proved(tmp_path / "one")
    assert index_of(tmp_path / "one").type == kind
    expected = [range(at, min(at + 700, ROWS)) for at in range(0, ROWS, 700)] if builder_class(kind).mergeable else []
    assert sorted(filled, key=lambda rows: rows.start) == expected


@pytest.mark.parametrize(
    ("rows", "workers", "metric", "rotation"),
    [(1, 1, "cosine", "opq: true"), (1000, 3, "l2", "pca: 16"), (2499, 2, "cosine", "pca: 16")],
)
def test_any_parts_and_workers_make_it(
    catalog: Path, tmp_path: Path, rows: int, workers: int, metric: str, rotation: str, filled: list[range]
) -> None:
    """Parts of one block or of nearly all rows, filled by one worker or three, in whatever order: the same index."""
    how = (*SMALL, f"index.large={{type: ivf_pq, fast_scan: true, {rotation}, refine: sq8}}", f"index.metric={metric}")
    check_ended_well(run_titles(catalog, tmp_path / "one", *how), tmp_path / "one")
    given = (f"run.part_rows={rows}", f"run.workers={workers}")
    check_ended_well(run_titles(catalog, tmp_path / "parts", *how, *given), tmp_path / "parts")
    assert proved(tmp_path / "parts") == proved(tmp_path / "one")
    assert len(filled) == -(-ROWS // (-(-rows // BLOCK) * BLOCK))


def test_parts_of_the_real_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 16,384 rows, parts of two of them: the files of one go, of codes that show the last bit."""
    monkeypatch.setattr(vectors_file, "ROWS", 16_384)
    chosen = IndexSettings(held_out_queries=20, large={"type": "ivf_rabitq", "nlist": 64}, retrain="always")
    segments = segments_of(tmp_path / "shards", clustered(40_000), per=15_000)
    one, many = tmp_path / "one", tmp_path / "many"
    one.mkdir()
    many.mkdir()
    build.build(segments, 16, chosen, one)
    partition = Partition(segments, 16, chosen, None, None)
    rows = parts_of(partition, 20_000)
    assert rows == [range(32_768), range(32_768, 40_000)]
    learning, empty = learn(partition, EarlierRounds(), tmp_path)
    parts = [tmp_path / f"part{number}" for number in range(2)]
    for part, inside in zip(parts, rows, strict=True):
        again, other = learn(partition, EarlierRounds(), tmp_path)
        fill((again.spec, other), segments, 0, inside, chosen, part)
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
    assert store.names("tmp") == []
    assert not list((tmp_path / "cache").glob("*/tmp/*"))
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
    monkeypatch.setattr(vectors_file, "ROWS", 16_384)  # what worker processes have
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

    def filled(self: transforms.FillPart, part: Part) -> Iterator[tuple[Task, PartFile]]:
        yield from fill_one(self, foreign(part))

    def merged(self: transforms.MergeParts, filled: tuple[Task, Iterable[PartFile]]) -> Iterator[Done]:
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
    winners.append(builder_spec({"type": winner.type, **winner.parameters}))
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
        assert not list((tmp_path / name).glob("tmp/*"))
    assert said[0] == said[1]
    assert len(filled) >= 8
    assert len(filled) % 4 == 0


@pytest.mark.parametrize("loss", [1, 0])
def test_an_earlier_training_serves_or_not_as_in_one_go(
    catalog: Path, tmp_path: Path, loss: int, filled: list[range]
) -> None:
    """The parent's training is used again for parts too; where it turns out not to fit all rows, they train anew."""
    how = (*SMALL, SQ8, "index.retrain=auto", *ANY_NIGHT, f"index.retrain_max_recall_loss={loss}")
    bounds = ("index.retrain_max_error=100", f"index.retrain_max_imbalance={100 if loss else 1}")
    assert run_titles(catalog, tmp_path / "one", *how, *bounds).exit_code == 0
    shutil.copytree(tmp_path / "one", tmp_path / "parts")
    changed = write_titles(tmp_path / "changed.parquet", titles(1900, first=100))
    for name, rows in (("one", 10**6), ("parts", 700)):
        store = tmp_path / name
        check_ended_well(run_titles(changed, store, *how, *bounds, f"run.part_rows={rows}"), store)
    assert proved(tmp_path / "parts") == proved(tmp_path / "one")
    training = index_of(tmp_path / "parts").training
    assert training is not None
    assert training.reused == bool(loss)
    assert len(filled) == (3 if loss else 6)
