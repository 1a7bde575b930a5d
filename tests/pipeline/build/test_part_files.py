"""How long an index took that is built as parts: all its steps count."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from index_builders.choose import choice as choose
from pipeline.build import part_files as index_parts
from tests.support.command import run_titles
from tests.support.parted import PARTS, SMALL, index_of, small_blocks, write_catalog

COUNT = 4  # parts of at most 700 of 2,500 rows
LEARNING, FILLING, MERGING = 100.0, 10.0, 5.0  # seconds, by the clock below


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
    """Steps of fixed length."""
    clock = Clock()
    monkeypatch.setattr(index_parts, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    for name, seconds in (("learn", LEARNING), ("fill", FILLING), ("finish", MERGING)):
        monkeypatch.setattr(index_parts, name, clock.passing(getattr(index_parts, name), seconds))
    with small_blocks(monkeypatch):
        yield


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_catalog(tmp_path_factory.mktemp("titles"))


def test_all_steps_of_an_index_count(catalog: Path, tmp_path: Path) -> None:
    """Learning, every part and merging: in the manifest and in the report."""
    done = run_titles(catalog, tmp_path / "store", *SMALL, *PARTS, "index.large={type: ivf_sq8}", "run.workers=2")
    assert done.exit_code == 0, done.stderr
    expected = LEARNING + COUNT * FILLING + MERGING
    assert index_of(tmp_path / "store").build_seconds == expected
    assert f"{expected:.1f} s" in done.stdout
    run = sorted((tmp_path / "store" / "runs").iterdir())[-1]
    assert json.loads((run / "run.json").read_text())["partitions"][0]["build_seconds"] == expected


def test_a_round_that_fell_short_counts_too(catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another index has to be built of all rows, both rounds are what the one that is published took."""
    monkeypatch.setattr(choose, "CHOOSE_ROWS", 1000)
    real = choose.Choice.found
    monkeypatch.setattr(choose.Choice, "found", lambda self, given: len(self.tried) > 1 and real(self, given))
    done = run_titles(catalog, tmp_path / "store", *SMALL, *PARTS)
    assert done.exit_code == 0, done.stderr
    index = index_of(tmp_path / "store")
    assert index.build_seconds == 2 * (LEARNING + COUNT * FILLING + MERGING)
