"""Progress: rows, also of units that are under way, and log lines that tell rate and time left."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from encoders.types.photo_descriptors import PhotoDescriptors
from pipeline.engine import meters, progress
from pipeline.run import Request, run
from tests.support.command import config_for


def test_lines_tell_rate_and_time_left(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The first count, one every ten seconds, later fewer, and the last; what stood before is no part of the rate."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    caplog.set_level("INFO")
    lines = meters.Lines()
    for second in range(0, 2001):
        clock[0] = float(second)
        lines("embed", 1000 + 5 * second, 11_000)
    lines("embed", 11_000, 11_000)
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "embed 1,000 of 11,000 rows"
    assert said[1] == "embed 1,050 of 11,000 rows, 300.0 a minute, 33 min 10 s left"
    assert said[2] == "embed 1,100 of 11,000 rows, 300.0 a minute, 33 min 00 s left"
    assert said[-1] == "embed 11,000 of 11,000 rows, 300.0 a minute"
    assert 30 < len(said) < 100
    assert len(set(said)) == len(said)


def test_a_unit_under_way_is_counted_by_its_rows(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of one unit shows rows before the unit is done, and all of them in the end."""
    seen, partly = list[int](), threading.Event()
    monkeypatch.setattr(progress, "_SECONDS", 0.01)
    forward = PhotoDescriptors.forward
    calls = [0]

    def told(step: str, done: int, total: int) -> None:
        if step == "embed":
            assert total == 120
            seen.append(done)
            if 0 < done < 120:
                partly.set()

    def waiting(self: PhotoDescriptors, prepared: Any) -> Any:
        calls[0] += 1
        if calls[0] > 1:  # one micro-batch is encoded
            assert partly.wait(60)
        return forward(self, prepared)

    monkeypatch.setattr(PhotoDescriptors, "forward", waiting)
    config = config_for(demo, tmp_path / "store", "shards.unit_rows=1000")
    run(Request(config, progress=told))
    assert seen[-1] == 120
    assert seen == sorted(seen)
