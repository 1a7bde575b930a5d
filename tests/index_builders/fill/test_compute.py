"""`index.device`: a GPU does what the CPU does or is refused. None is needed: FAISS's GPU calls are stood in for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from foundation.errors import InputError, VitrineError
from foundation.metric import Metric
from index_builders.base import BuilderSpec
from index_builders.fill.compute import CPU, compute_of
from index_builders.fill.fill import fill_index, finding_lists, write_index
from index_builders.rows.training_set import TrainingSet
from index_builders.settings import IndexSettings
from tests.support.command import run_titles, told, write_titles
from tests.support.examples import index_examples, named, with_lists
from tests.support.stores import publications

DIM = 32
SPECS = [with_lists(spec, 16) for spec in index_examples(DIM) if spec.lists]


class Card:
    """A GPU made of the CPU: it counts what was copied to it, and may err."""

    def __init__(self, error: float = 0) -> None:
        self.copied, self.error = 0, error

    def copy(self, resources: object, number: int, index: Any) -> Any:
        """What FAISS's index_cpu_to_gpu does; with an error, of other centroids."""
        self.copied += 1
        there = faiss.clone_index(index)
        if self.error and index.ntotal:
            x = index.reconstruct_n(0, index.ntotal)
            there.reset()
            there.add(x[::-1].copy())
        return there


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[Card]:
    """One GPU that computes as the CPU does."""
    made = Card()
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", made.copy, raising=False)
    compute_of.cache_clear()
    yield made
    compute_of.cache_clear()


def rows(n: int = 3000) -> np.ndarray:
    """(n, DIM) float32 of unit length."""
    x = np.random.default_rng(0).standard_normal((n, DIM)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("metric", [Metric.INNER_PRODUCT, Metric.L2])
@pytest.mark.parametrize("spec", SPECS, ids=named)
def test_a_card_that_computes_alike_gives_the_same_file(
    spec: BuilderSpec, metric: Metric, card: Card, tmp_path: Path
) -> None:
    """Trained and filled there, the index holds the same, and its own quantizer again."""
    x = rows()
    for name, compute in (("cpu", CPU), ("gpu", compute_of("cuda"))):
        index = fill_index(
            spec.empty(TrainingSet(x[:2000], metric, compute), DIM, metric), [x], compute=finding_lists(spec, compute)
        )
        write_index(index, tmp_path / name)
    assert (tmp_path / "cpu").read_bytes() == (tmp_path / "gpu").read_bytes()
    assert card.copied > 2


def test_a_card_that_errs_is_refused(card: Card) -> None:
    """Rows that go to the wrong lists cost recall, and the self-test sees it."""
    card.error = 1.0
    with pytest.raises(VitrineError, match="cluster as the CPU does") as refused:
        compute_of("cuda:0")
    assert "index.device=cpu" in refused.value.fix


def test_a_second_card_that_is_not_there_is_refused(card: Card) -> None:
    """There is one."""
    with pytest.raises(InputError, match=r"index\.device=cuda:1"):
        compute_of("cuda:1")
    assert card.copied == 0


@pytest.mark.skipif(hasattr(faiss, "StandardGpuResources"), reason="this FAISS is built for GPUs")
def test_without_a_card_a_run_ends(tmp_path: Path) -> None:
    """Exit code 2, never a build on the CPU; and a device that is none is a wrong config."""
    titles = write_titles(tmp_path / "c.parquet", [f"red dress {number}" for number in range(700)])
    small = ("index.exact_below=512", "index.held_out_queries=50")
    done = run_titles(titles, tmp_path / "store", *small, "index.device=cuda")
    assert done.exit_code == 2
    expected, came, fix = told(done.stderr)
    assert "index.device=cuda" in expected
    assert came == "0 of them"
    assert "gpu" in fix
    assert not publications(tmp_path / "store")
    assert run_titles(titles, tmp_path / "store", "index.device=tpu").exit_code == 2


def test_another_device_is_another_index() -> None:
    """A GPU rounds otherwise; partitions of exact indexes, and all of yesterday's, keep their names."""
    cpu, gpu = IndexSettings(), IndexSettings(device="cuda")
    assert cpu.identity(50_000, 64) != gpu.identity(50_000, 64)
    assert cpu.identity(500, 64) == gpu.identity(500, 64)
