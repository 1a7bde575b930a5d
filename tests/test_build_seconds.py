"""How long an index took that is built as parts: all its steps count."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from index_builders import choose, kept
from index_builders.threads import threads
from pipeline import index_parts
from tests.conftest import manifest_of, run_titles, write_titles

ROWS, PARTS, BLOCK = 2500, 4, 350
LEARNING, FILLING, MERGING = 100.0, 10.0, 5.0  # seconds, by the clock below
SMALL = ("index.exact_below=512", "index.held_out_queries=60", "gates.min_recall=0", "run.part_rows=700")


class Clock(threading.local):
    """Stands still but for what a step lets pass; each thread has its own, since parts are filled side by side."""

    now = 0.0

    def passing(self, step: Callable[..., Any], seconds: float) -> Callable[..., Any]:
        def done(*arguments: Any) -> Any:
            self.now += seconds
            return step(*arguments)

        return done


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Blocks of 350 rows, so that 2,500 rows are 4 parts of 700 or less; steps of fixed length; FAISS on one thread."""
    clock = Clock()
    monkeypatch.setattr(kept, "ROWS", BLOCK)
    monkeypatch.setattr(index_parts, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    for name, seconds in (("learn", LEARNING), ("fill", FILLING), ("finish", MERGING)):
        monkeypatch.setattr(index_parts, name, clock.passing(getattr(index_parts, name), seconds))
    with threads(1):
        yield


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,500 titles."""
    titles = [f"{colour} {kind} {n}" for n in range(ROWS // 10) for colour in ("red", "blue") for kind in "abcde"]
    return write_titles(tmp_path_factory.mktemp("titles") / "catalog.parquet", titles)


def test_all_steps_of_an_index_count(catalog: Path, tmp_path: Path) -> None:
    """Learning, every part and merging: in the manifest and in the report."""
    done = run_titles(catalog, tmp_path / "store", *SMALL, "index.large={type: ivf_sq8}", "run.workers=2")
    assert done.exit_code == 0, done.stderr
    expected = LEARNING + PARTS * FILLING + MERGING
    assert manifest_of(tmp_path / "store").partitions[0].index.build_seconds == expected
    assert f"{expected:.1f} s" in done.stdout
    run = sorted((tmp_path / "store" / "runs").iterdir())[-1]
    assert json.loads((run / "run.json").read_text())["partitions"][0]["build_seconds"] == expected


def test_a_round_that_fell_short_counts_too(catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another index has to be built of all rows, both rounds are what the one that is published took."""
    monkeypatch.setattr(choose, "CHOOSE_ROWS", 1000)
    real = choose.Choice.found
    monkeypatch.setattr(choose.Choice, "found", lambda self, given: len(self.tried) > 1 and real(self, given))
    done = run_titles(catalog, tmp_path / "store", *SMALL)
    assert done.exit_code == 0, done.stderr
    index = manifest_of(tmp_path / "store").partitions[0].index
    assert index.build_seconds == 2 * (LEARNING + PARTS * FILLING + MERGING)
