"""What `vitrine plan` says a run will take, held against what it took; and the bound on its memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.metric import Metric
from index_builders.base import BuilderSpec, builder_types
from index_builders.choose.forecast import forecast
from index_builders.fill.fill import fill_index
from index_builders.rows.training_set import TrainingSet
from index_builders.settings import IndexSettings
from pipeline.build import stage as build_stage
from pipeline.embed import stage as embed_stage
from tests.support.command import TITLES_ONLY, run_titles, told, vitrine, write_titles
from tests.support.examples import index_examples, named
from tests.support.stores import manifest_of

WORDS = ("red", "blue", "green", "long", "short", "warm", "light", "soft", "dress", "coat", "shoe", "scarf", "hat")
SMALL = ("index.exact_below=512", "index.held_out_queries=100")


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3,000 titles of four words, two thirds of them of one kind."""
    rng = np.random.default_rng(0)
    rows = [" ".join(rng.choice(WORDS, 4, replace=False)) + f" {number}" for number in range(3000)]
    kinds = ["small" if number % 3 == 0 else "large" for number in range(3000)]
    return write_titles(tmp_path_factory.mktemp("titles") / "catalog.parquet", rows, kind=kinds)


def planned(catalog: Path, store: Path, *more: str) -> Any:
    """`vitrine plan --json`."""
    where = (f"catalog.path={catalog}", f"store.path={store}", "catalog.partition=kind")
    done = vitrine("plan", "-c", "configs/weightless.yaml", *TITLES_ONLY, *where, *SMALL, *more, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("dim", "spec"),
    [pytest.param(dim, spec, id=f"{dim}-{named(spec)}") for dim in (48, 160) for spec in index_examples(dim)],
)
def test_bytes_are_those_of_the_file(dim: int, spec: BuilderSpec) -> None:
    """What a type says that its rows and its learning take is what FAISS writes, within 2%."""
    x = np.random.default_rng(1).standard_normal((6000, dim)).astype(np.float32)
    index = fill_index(spec.empty(TrainingSet(x[:2000], Metric.INNER_PRODUCT), dim, Metric.INNER_PRODUCT), [x])
    written = len(faiss.serialize_index(index))
    assert len(x) * spec.vector_bytes(dim) + spec.shared_bytes(dim) == pytest.approx(written, rel=0.02)


FILLING = """
import sys, numpy as np
from index_builders.base import builder_spec
from index_builders.fill.fill import fill_index
from index_builders.rows.training_set import TrainingSet
from foundation.metric import Metric
from foundation.allocator import give_back

def held(what):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(what)) / 1000

spec, rows, dim = builder_spec(eval(sys.argv[1])), int(sys.argv[2]), 64
block = np.random.default_rng(0).standard_normal((4096, dim), dtype=np.float32)
index = spec.empty(TrainingSet(block, Metric.INNER_PRODUCT), dim, Metric.INNER_PRODUCT)
fill_index(index, [block])
index.reset()
give_back()
open("/proc/self/clear_refs", "w").write("5")
before = held("VmRSS")
fill_index(index, (block for _ in range(rows // 4096)), rows=rows)
print(held("VmHWM") - before, rows * spec.filling_bytes(dim) / 1e6)
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs a peak that can be set back: Linux")
@pytest.mark.parametrize("kind", ["flat", "ivf_flat", "ivf_sq8"])
def test_filling_takes_what_is_said(kind: str) -> None:
    """A little more rows than fill a doubled vector: the peak, while they are added, is within a fifth and 6 MB."""
    fields = {"type": kind} if kind == "flat" else {"type": kind, "nlist": 256}
    asked = [sys.executable, "-c", FILLING, repr(fields), str(5 * 65_536)]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    peak, said = map(float, done.stdout.split())
    assert 0.6 * said < peak < (1 if kind == "flat" else 1.2) * said + 6


def test_a_plan_says_what_the_run_then_takes(catalog: Path, tmp_path: Path) -> None:
    """Bytes of each index lie in the range that was said, shards within a half; encoding is timed once it is known."""
    store = tmp_path / "store"
    before = planned(catalog, store)
    assert before["encode_seconds"] is None
    assert run_titles(catalog, store, "catalog.partition=kind", *SMALL).exit_code == 0
    for partition in manifest_of(store).partitions:
        said = before["indexes"][partition.name]
        files = partition.index.files
        refine = sum(file.bytes for role, file in files.items() if role.startswith("refine"))
        assert 0.98 * said["least_bytes"] <= files["index"].bytes <= 1.02 * said["most_bytes"]
        assert files["index"].bytes + refine <= 1.02 * said["most_disk_bytes"]
    least, most = before["disk_bytes"]
    took = sum(file.bytes for file in manifest_of(store).files())
    assert 0.5 * least < took < 1.5 * most
    assert planned(catalog, store)["encode_seconds"] > 0
    other = planned(catalog, store, "encoders.text={type: hashed_text, dim: 64}")
    assert other["encode_seconds"] is None  # of another encoder nobody knows


@pytest.mark.parametrize(
    ("group_rows", "kind"),
    [
        *[(1000, kind) for kind in ("numbered", "random", "numbers")],
        (40, "random"),
        *[pytest.param(40, kind, marks=pytest.mark.nightly) for kind in ("numbered", "numbers")],
    ],
)
def test_ids_take_what_is_said(tmp_path: Path, group_rows: int, kind: str) -> None:
    """ids.parquet of each partition is within a tenth of what was planned, read whole or in some of 75 units; also of
    a partition of which no unit was looked at. The disk that is planned has them in it.
    """
    rng, rows = np.random.default_rng(0), 3000
    ids: dict[str, Any] = {
        "numbered": [f"shop-{number:08d}" for number in range(rows)],
        "random": [raw.hex() for raw in rng.integers(0, 2**63, (rows, 2)).astype(">u8").view("V16").ravel().tolist()],
        "numbers": np.arange(10_000_000, 10_000_000 + rows),
    }
    names = ["rare" if 41 <= number < 80 else "small" if number % 3 == 0 else "large" for number in range(rows)]
    table = pa.table({"id": ids[kind], "title": [f"red dress {number}" for number in range(rows)], "kind": names})
    pq.write_table(table, tmp_path / "c.parquet", row_group_size=group_rows)
    how = ("shards.unit_rows=40",) if group_rows == 40 else ()
    said = planned(tmp_path / "c.parquet", tmp_path / "store", *how)
    done = run_titles(tmp_path / "c.parquet", tmp_path / "store", "catalog.partition=kind", *SMALL, *how)
    assert done.exit_code == 0, done.stderr
    for partition in manifest_of(tmp_path / "store").partitions:
        size = partition.index.files["ids"].bytes
        off = 0.1 if partition.name != "rare" or not how else 0.2
        assert said["indexes"][partition.name]["ids_bytes"] == pytest.approx(size, rel=off)


def test_ids_are_in_the_disk_that_is_planned(tmp_path: Path) -> None:
    """Longer ids of the same titles need the more room, in shards and beside the index."""
    said = []
    for name, length in (("short", 0), ("long", 500)):
        ids = [raw.hex() for raw in map(np.random.default_rng(0).bytes, [8 + length] * 400)]
        catalog = pa.table({"id": ids, "title": ["red dress"] * 400, "kind": ["a"] * 400})
        pq.write_table(catalog, tmp_path / f"{name}.parquet", compression="none", use_dictionary=False)
        said.append(planned(tmp_path / f"{name}.parquet", tmp_path / "store"))
    more = said[1]["indexes"]["a"]["ids_bytes"] - said[0]["indexes"]["a"]["ids_bytes"]
    assert more == pytest.approx(400 * 500, rel=0.1)  # random hexadecimal digits, by zstd half of their 400 * 1,000
    grown = said[1]["disk_bytes"][0] - said[0]["disk_bytes"][0]
    assert grown == pytest.approx(400 * 1000 + more, rel=0.05)  # shards are said to be as compressed as the catalog


def test_snapshots_that_were_deleted_do_not_stop_a_plan(catalog: Path, tmp_path: Path) -> None:
    """Runs outlive their snapshots, and strange files may lie among them: then encoding was never timed."""
    store = tmp_path / "store"
    assert run_titles(catalog, store).exit_code == 0
    assert planned(catalog, store)["encode_seconds"] > 0
    (store / "runs" / "zzz.txt").write_text("a note")  # sorts behind every run
    assert planned(catalog, store)["encode_seconds"] > 0
    for gone in (*(store / "publications").iterdir(), *(store / "snapshots").iterdir()):
        gone.unlink()
    assert planned(catalog, store)["encode_seconds"] is None


def test_a_bound_that_cannot_hold_is_refused(catalog: Path, tmp_path: Path) -> None:
    """Exit code 2 before any work, by plan and by run, and the bound that it names is enough."""
    where = (f"catalog.path={catalog}", f"store.path={tmp_path}/s", "catalog.partition=kind", *SMALL)
    asked = ("-c", "configs/weightless.yaml", *TITLES_ONLY, *where)
    for command in ("plan", "run"):
        done = vitrine(command, *asked, "--memory", "50MB")
        assert done.exit_code == 2
        expected, came, fix = told(done.stderr)
        assert expected.startswith("run.memory of at least 0.")
        assert came == "50,000,000 bytes"
        assert "raise it, or" in fix
    assert not (tmp_path / "s" / "shards").exists()
    enough = expected.split("at least ")[1].split(" GB")[0]
    assert vitrine("plan", *asked, "--memory", f"{enough}GB").exit_code == 0
    done = vitrine("plan", *asked, "--memory", "much")
    assert done.exit_code == 2
    assert "run.memory\n    expected: a size, such as 4GB or 800MB" in done.stderr


def test_a_bound_changes_no_result(catalog: Path, tmp_path: Path) -> None:
    """With just enough memory less is done at once, and the same snapshot comes out."""
    free, bound = tmp_path / "free", tmp_path / "bound"
    usual = planned(catalog, free)
    least = usual["memory_bytes"] - 1_000_000
    fitted = planned(catalog, bound, f"run.memory={least}")
    assert fitted["memory_bytes"] <= least
    assert fitted["at_once"] != usual["at_once"]
    assert run_titles(catalog, free, "catalog.partition=kind", *SMALL).exit_code == 0
    done = run_titles(catalog, bound, "catalog.partition=kind", *SMALL, f"run.memory={least}")
    assert done.exit_code == 0, done.stderr
    assert [file.blake3 for file in manifest_of(free).files()] == [file.blake3 for file in manifest_of(bound).files()]


def test_no_more_threads_than_there_is_work(catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million workers are as many as there are units, then parts, in `plan` and for the runner; nothing else comes
    of it.
    """
    asked: list[int] = []
    for stage in (embed_stage, build_stage):
        monkeypatch.setattr(stage, "run_pipeline", noted(stage.run_pipeline, asked))
    found = planned(catalog, tmp_path / "plan", "run.workers=1000000")
    assert (found["at_once"]["embed_workers"], found["at_once"]["builds"]) == (3, 2)
    assert found["memory_bytes"] == planned(catalog, tmp_path / "plan", "run.workers=3")["memory_bytes"]
    for name, workers in (("few", 1), ("many", 1_000_000)):
        done = run_titles(catalog, tmp_path / name, "catalog.partition=kind", *SMALL, f"run.workers={workers}")
        assert done.exit_code == 0, done.stderr
    assert asked == [1, 1, 3, 2]
    few, many = (manifest_of(tmp_path / name).files() for name in ("few", "many"))
    assert [file.blake3 for file in few] == [file.blake3 for file in many]


def noted(pipeline: Callable[..., None], asked: list[int]) -> Callable[..., None]:
    """`pipeline` that notes how many workers it is asked for, and never has more than four."""

    def run_pipeline(arguments: Any, workers: int, *more: Any) -> None:
        asked.append(workers)
        pipeline(arguments, min(workers, 4), *more)

    return run_pipeline


def test_workers_that_a_bound_would_choose_are_refused_by_hand(catalog: Path, tmp_path: Path) -> None:
    """`--direct_num_workers` and a bound on memory would contradict each other."""
    where = (f"catalog.path={catalog}", f"store.path={tmp_path}/s")
    asked = ("run", "-c", "configs/weightless.yaml", *TITLES_ONLY, *where, "--memory", "4GB")
    done = vitrine(*asked, "--", "--direct_num_workers=2")
    assert done.exit_code == 2
    assert "run.memory" in done.stderr


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 5_000_000),
    dim=st.sampled_from([8, 64, 96, 512]),
    kind=st.sampled_from(["auto", *builder_types()]),
    threads=st.integers(1, 16),
)
def test_more_takes_more(rows: int, dim: int, kind: str, threads: int) -> None:
    """More rows or threads take no less memory, smaller parts no more; every figure is positive."""
    asked = IndexSettings(large={"type": kind})
    one = forecast(asked, rows, dim, threads, 262_144)
    assert min(one.least_bytes, one.memory_bytes, one.scratch_bytes) > 0
    assert one.seconds >= 0
    assert one.least_bytes <= one.most_bytes <= one.most_disk_bytes
    assert forecast(asked, rows, dim, threads + 1, 262_144).memory_bytes >= one.memory_bytes
    assert forecast(asked, rows, dim, threads, 65_536).memory_bytes <= one.memory_bytes
    assert forecast(asked, 4 * rows, dim, threads, 262_144).memory_bytes >= 0.95 * one.memory_bytes


def test_what_a_bound_excludes_is_not_forecast() -> None:
    """With a bound on bytes no larger index is expected, nor its memory; where nothing fits, all are."""
    free, bound, none = (
        forecast(IndexSettings(max_bytes_per_vector=most), 1_000_000, 256, 2, 262_144) for most in (None, 64, 1)
    )
    assert bound.most_bytes <= 1.05 * 64 * 1_000_000 < free.most_bytes
    assert bound.memory_bytes < free.memory_bytes
    assert bound.seconds < free.seconds
    assert none.most_bytes == free.most_bytes
