"""`index.retrain: auto`: trainings of the parent snapshot serve while they fit, and each bound can decide otherwise."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow.parquet as pq
import pytest

from foundation.metric import Metric
from index_builders.base import BuilderSpec
from index_builders.choose.training_reuse import emptied, why_anew
from index_builders.fill.fill import fill_index, write_index
from index_builders.rows.training_set import TrainingSet
from index_builders.settings import IndexSettings
from lookup.store.entries.index_record import TrainingFigures
from lookup.store.manifest import Manifest
from tests.support.command import vitrine
from tests.support.examples import index_examples, named
from tests.support.nights import AUTO, LARGE, OTHER, SMALL, file_of, index_of, last_run, night, titles, training_of
from tests.support.partitions import clustered
from tests.support.stores import manifest_of, publish_by_hand


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of one run on 1,500 titles. Tests must not change it."""
    folder = tmp_path_factory.mktemp("first")
    assert night(folder, titles(1500)).exit_code == 0
    return folder


@pytest.fixture
def parent(first: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(first, tmp_path / "parent"))


# --- the trained part of a file ---

TRAINED = [spec for spec in index_examples(16) if spec.trained]


def test_there_are_types_that_learn() -> None:
    """The walk below has some; what has lists learns these."""
    assert len(TRAINED) > 4
    assert all(spec.trained for spec in index_examples(16) if spec.lists)


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("spec", TRAINED, ids=named)
def test_an_emptied_index_is_what_was_learned(tmp_path: Path, spec: BuilderSpec, metric: Metric) -> None:
    """Filled with the same rows it has the bytes of the file that it came from, and with others those of a new one."""
    xb = metric.stored(clustered(900))
    learn = spec.empty
    sample = TrainingSet(xb[:600], metric)
    write_index(fill_index(learn(sample, 16, metric), [xb]), tmp_path / "first")
    assert emptied(tmp_path / "first").ntotal == 0
    write_index(fill_index(emptied(tmp_path / "first"), [xb]), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "first").read_bytes()
    write_index(fill_index(emptied(tmp_path / "first"), [xb[:333]]), tmp_path / "fewer")
    write_index(fill_index(learn(sample, 16, metric), [xb[:333]]), tmp_path / "new")
    assert (tmp_path / "fewer").read_bytes() == (tmp_path / "new").read_bytes()


# --- used again ---


def test_a_training_is_used_again(parent: Path) -> None:
    """Fewer rows: the centroids are the parent's, the rows are the new ones, and the figures equal brute force."""
    assert night(parent, titles(1450)).exit_code == 0
    before, index = manifest_of(first_store(parent)), index_of(parent)
    training = training_of(parent)
    assert training.reused
    assert training.then is not None
    assert training.now is not None
    assert (training.trained_by, training.then.rows) == (before.partitions[0].index.inputs, 1500)
    assert index.inputs not in (training.trained_by, training.content)
    was, now = faiss_index(before, parent), faiss_index(manifest_of(parent / "store"), parent)
    np.testing.assert_array_equal(centroids_of(was), centroids_of(now))
    assert (was.ntotal, now.ntotal) == (1500, 1450)
    check_figures(parent, training.now)
    check_figures(parent, training.then, before)
    assert index.train_rows == before.partitions[0].index.train_rows


def test_it_is_told_where_the_training_is_from(parent: Path) -> None:
    """In the log, the report, run.json, `inspect` and its page: that it was used again, and both figures."""
    done = night(parent, titles(1450))
    reason = training_of(parent).reason
    assert reason.startswith("within the bounds: assignment error ")
    assert done.exit_code == 0
    run = last_run(parent)
    assert f"index of all: training used again: {reason}" in (run / "log.txt").read_text()
    assert reason in (run / "report.html").read_text()
    [partition] = json.loads((run / "run.json").read_text())["partitions"]
    assert partition["training"] == f"training used again: {reason}"
    shown = vitrine("inspect", parent / "store", "--html", parent / "page.html")
    assert f"of {training_of(parent).trained_by[:12]}" in shown.stdout
    assert reason in shown.stdout
    assert reason in (parent / "page.html").read_text()


def test_drift_is_measured_from_the_training(parent: Path) -> None:
    """Three nights of small changes: each is held against the figures of the first, whose training all have."""
    trained = index_of(parent)
    assert trained.training is not None
    for rows in (1470, 1450, 1480):
        assert night(parent, titles(rows)).exit_code == 0
        training = training_of(parent)
        assert (training.reused, training.trained_by, training.then) == (True, trained.inputs, trained.training.then)
        assert training.now is not None
        assert training.now.rows == rows


def test_a_choice_is_kept_with_its_training(tmp_path: Path) -> None:
    """With `type: auto` the parent's index type is taken without weighing others, while the settings are the same."""
    options = (*SMALL, "index.max_bytes_per_vector=100")  # so that it is not flat
    assert night(tmp_path, titles(1500), *options).exit_code == 0
    chosen = index_of(tmp_path)
    assert len(chosen.considered) > 1
    assert night(tmp_path, titles(1450), *options).exit_code == 0
    again = index_of(tmp_path)
    assert (again.type, again.parameters, again.considered) == (chosen.type, chosen.parameters, ())
    assert again.recall >= 0.95
    assert night(tmp_path, titles(1460), *options, "index.target_recall=0.9").exit_code == 0
    assert len(index_of(tmp_path).considered) > 1
    assert training_of(tmp_path).reason.startswith("other settings")


# --- each bound decides once ---

WIDE = ("index.retrain_max_error=100", "index.retrain_max_imbalance=100", "index.retrain_max_recall_loss=1")


@pytest.mark.parametrize(
    ("rows", "more", "reason"),
    [
        (titles(1500, OTHER), WIDE[1:], r"assignment error ([\d.]+), more than 1.1 times ([\d.]+) when trained"),
        (
            titles(900) + ["warm red dress"] * 600,
            (WIDE[0], WIDE[2]),
            r"imbalance ([\d.]+), more than 1.25 times ([\d.]+) when trained",
        ),
        (
            titles(1500, OTHER),
            WIDE[:2],
            r"recall ([\d.]+), more than 0.01 below ([\d.]+) when trained, at nprobe \d+",
        ),
        (titles(3000), (), r"nlist: (\d+) by rule for 3,000 rows, (\d+) for 1,500 when trained"),
    ],
    ids=["error", "imbalance", "recall", "nlist"],
)
def test_a_bound_decides(parent: Path, rows: list[str], more: tuple[str, ...], reason: str) -> None:
    """What is out of its bound is told with both figures, and the index is the one that `always` builds."""
    done = night(parent, rows, *AUTO, LARGE, *more)
    assert done.exit_code == 0, done.stderr
    training = training_of(parent)
    assert not training.reused
    told_by = re.fullmatch(reason, training.reason)
    assert told_by, training.reason
    assert told_by[1] != told_by[2]
    assert f"index of all: trained on its own rows: {training.reason}" in (last_run(parent) / "log.txt").read_text()
    assert night(parent, rows, *SMALL, LARGE, store="always").exit_code == 0
    always = manifest_of(parent / "always").partitions[0].index
    assert training.content == always.inputs
    assert training.trained_by == index_of(parent).inputs
    ours, theirs = (path.read_bytes() for path in (file_of(parent, "store"), file_of(parent, "always")))
    assert ours == theirs


def test_bytes_out_of_bounds_decide(tmp_path: Path) -> None:
    """Where fewer rows share the centroids, so that the parent's choice no longer fits, others are weighed again."""
    night(tmp_path, titles(1600), *AUTO, "index.max_bytes_per_vector=100")  # so that it is not flat
    chosen = index_of(tmp_path)
    assert chosen.proof is not None
    bound = f"index.max_bytes_per_vector={chosen.proof.memory_bytes + 0.05}"
    assert night(tmp_path, titles(1600), *AUTO, bound, store="bound").exit_code == 0
    assert night(tmp_path, titles(1400), *AUTO, bound, store="bound").exit_code == 0
    index = manifest_of(tmp_path / "bound").partitions[0].index
    assert index.training is not None
    assert index.training.reason.startswith("bytes: ")
    assert len(index.considered) > 1
    assert index.type != chosen.type


def test_a_target_out_of_reach_decides(tmp_path: Path) -> None:
    """Codebooks that cannot reach the target on other rows, as they did on theirs, are learned anew."""
    codes = "index.large={type: ivf_pq, m: 8, refine: none}"
    assert night(tmp_path, titles(1500), *AUTO, codes, "index.target_recall=0").exit_code == 0
    best = max(point.recall for point in index_of(tmp_path).curve)
    options = (*AUTO, codes, f"index.target_recall={best}", *WIDE)
    assert night(tmp_path, titles(1500), *options, store="store2").exit_code == 0
    assert night(tmp_path, titles(1500, OTHER), *options, store="store2").exit_code == 0
    training = manifest_of(tmp_path / "store2").partitions[0].index.training
    assert training is not None
    assert training.reason.startswith("target recall "), training.reason


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (("index.large={type: ivf_sq8, nlist: 16}",), "the parent's index, ivf_sq8, is not what the settings name"),
        ((LARGE, "index.seed=5"), "other settings"),
        ((LARGE, "index.metric=l2"), "the parent's index is of 32 dimensions and inner_product"),
        ((LARGE, "encoders.text.seed=3"), "the parent's rows were embedded by other encoders"),
        (("index.large={type: flat}",), "flat learns nothing"),
    ],
    ids=["fields", "seed", "metric", "encoder", "flat"],
)
def test_what_is_not_comparable_is_trained_anew(parent: Path, more: tuple[str, ...], reason: str) -> None:
    """A training of another index, metric, seed or encoder is not offered, and the record says why."""
    assert night(parent, titles(1450), *AUTO, *more).exit_code == 0
    index = index_of(parent)
    training = training_of(parent)
    assert not training.reused
    assert training.reason.startswith(reason)
    assert index.inputs == training.content


@pytest.mark.parametrize("other", [{"type": "gone"}, {"parameters": {"nlist": 16, "strange": 1}}])
def test_a_type_that_is_not_known_any_more_is_trained_anew(parent: Path, other: dict[str, Any]) -> None:
    """An index type whose file was taken away, or whose parameters changed, stops no run."""
    asked = IndexSettings(exact_below=512, large={"type": "ivf_sq8"})
    reason = why_anew(index_of(parent).model_copy(update=other), asked, 1450, 32, None)
    assert reason is not None
    assert "not known here" in reason


# --- what is looked at ---


def first_store(parent: Path) -> Path:
    """A store that publishes the snapshot before the published one of `parent`."""
    older = Path(shutil.copytree(parent / "store", parent / "older"))
    publish_by_hand(older, manifest_of(parent / "store").parent or "")
    return older


def faiss_index(manifest: Manifest, folder: Path) -> Any:
    """FAISS's index of the only partition."""
    return faiss.read_index(str(folder / "store" / manifest.partitions[0].index.files["index"].path))


def centroids_of(index: Any) -> np.ndarray:
    """(nlist, d) float32."""
    ivf = faiss.extract_index_ivf(index)
    return np.asarray(ivf.quantizer.reconstruct_n(0, ivf.nlist))


def rows_of(manifest: Manifest, folder: Path) -> np.ndarray:
    """(n, d) float64 embeddings of the only partition, in the order of its positions."""
    parts = []
    for shard in manifest.shards.entries:
        assert shard.file is not None
        table = pq.read_table(folder / "store" / shard.file.path, columns=["embedding"])
        parts += table.column("embedding").to_pylist()
    return np.array(parts, dtype=np.float64)


def check_figures(folder: Path, said: TrainingFigures, manifest: Manifest | None = None) -> None:
    """Error and imbalance of all rows, and recall of the queries that the build held out, by numpy alone."""
    manifest = manifest or manifest_of(folder / "store")
    x, index = rows_of(manifest, folder), faiss_index(manifest, folder)
    centroids = centroids_of(index).astype(np.float64)
    lists = (x @ centroids.T).argmax(axis=1)
    error = ((x - centroids[lists]) ** 2).sum(axis=1).mean()
    sizes = np.bincount(lists, minlength=len(centroids))
    assert said.rows == len(x)
    assert said.assignment_error == pytest.approx(error, rel=1e-5)
    assert said.imbalance == pytest.approx(len(sizes) * (sizes**2).sum() / len(x) ** 2, rel=1e-9)
    index.nprobe = said.nprobe
    found = index.search(x.astype(np.float32), 11)[1]
    scores = x @ x.T
    np.fill_diagonal(scores, -np.inf)
    tenth = -np.sort(-scores, axis=1)[:, 9]
    hits = [[scores[q, p] >= tenth[q] - 1e-6 for p in at if p != q][:10] for q, at in enumerate(found.tolist())]
    recall = np.array([sum(one) / 10 for one in hits])
    assert said.recall == pytest.approx(recall.mean(), abs=0.03)  # of 100 of the rows
