"""Tuning again with the training of another night: begun where that was tuned to, and as wide as it takes."""

from __future__ import annotations

import numpy as np
import pytest

from index_builders.base import BuilderSpec
from index_builders.measure import tune as tuning
from index_builders.measure.recall import HeldOut, held_out
from index_builders.measure.tune import tune, tune_again
from index_builders.settings import IndexSettings
from lookup.index.partition_index import PartitionIndex
from lookup.store.entries.index_record import CurvePoint
from tests.support.partitions import DIM, built, vectors_file

TARGET = 0.93


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[PartitionIndex, BuilderSpec, HeldOut, CurvePoint]:
    """An index of noise in 64 lists, many of which it takes to reach the target, and what it was tuned to."""
    xb = np.random.default_rng(3).standard_normal((2500, DIM)).astype(np.float16).astype(np.float32)
    chosen = IndexSettings(exact_below=512, held_out_queries=60, large={"type": "ivf_sq8", "nlist": 64})
    _, index = built(tmp_path_factory.mktemp("tuned"), xb, chosen)
    queries, spec = held_out(xb[:200], np.arange(200), vectors_file(xb), 10), chosen.choose(2500, DIM)
    assert spec is not None
    return index, spec, queries, tune(index, spec, queries, TARGET).point


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The nprobe of every measurement."""
    found, points = list[int](), tuning._points
    monkeypatch.setattr(tuning, "_points", lambda *words: found.append(words[4]) or points(*words))
    return found


def test_where_it_suffices_nothing_else_is_measured(
    tuned: tuple[PartitionIndex, BuilderSpec, HeldOut, CurvePoint], looked_at: list[int]
) -> None:
    """One measurement, at the setting of then, which gives what tuning everywhere gave."""
    *given, then = tuned
    again = tune_again(*given, TARGET, then)
    assert again is not None
    assert (again.point, looked_at) == (then, [then.nprobe])


def test_where_it_falls_short_it_is_widened(
    tuned: tuple[PartitionIndex, BuilderSpec, HeldOut, CurvePoint], looked_at: list[int]
) -> None:
    """In steps of an eighth until the target is reached; no setting beyond is measured."""
    *given, then = tuned
    narrow = then.model_copy(update={"nprobe": then.nprobe * 3 // 4})
    again = tune_again(*given, TARGET, narrow)
    assert again is not None
    assert again.point.recall >= TARGET
    assert narrow.nprobe < again.point.nprobe == looked_at[-1] < 2 * narrow.nprobe
    assert set(np.diff(looked_at)) == {max(1, narrow.nprobe // 8)}


def test_where_twice_as_wide_falls_short_nothing_is_chosen(
    tuned: tuple[PartitionIndex, BuilderSpec, HeldOut, CurvePoint], looked_at: list[int]
) -> None:
    """What was tuned to next to nothing has to be tuned as one that is new."""
    *given, then = tuned
    assert tune_again(*given, TARGET, then.model_copy(update={"nprobe": 1})) is None
    assert looked_at == [1, 2]
