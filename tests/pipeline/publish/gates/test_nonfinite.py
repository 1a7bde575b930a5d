"""Vectors that are no unit rows are not published."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoders.types.hashed_text import HashedText
from tests.support.command import run_titles, told, write_titles

TITLES = [f"red lamp number {n}" for n in range(30)]


def test_an_encoder_whose_rows_are_too_long_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one hundredth, in the shard that is new, whatever the parent's are: refused, naming the partition; no word of
    anybody's publishes it.
    """
    kinds = ["a"] * 10 + ["b"] * 20
    more = ("catalog.partition=kind", "shards.unit_rows=10")
    catalog = write_titles(tmp_path / "c.parquet", TITLES, 10, kind=kinds)
    assert run_titles(catalog, tmp_path / "store", *more).exit_code == 0
    real = HashedText.forward
    monkeypatch.setattr(HashedText, "forward", lambda self, chunk, role: 1.01 * real(self, chunk, role))
    write_titles(catalog, [*TITLES[:-1], "a green coat"], 10, kind=kinds)
    done = run_titles(catalog, tmp_path / "store", *more)
    assert done.exit_code == 3
    expected, came, _ = told(done.stderr)
    assert "nonfinite <= 0" in expected
    assert "vectors that are not finite or not of unit length, of partitions: b;" in came
    done = run_titles(catalog, tmp_path / "store", *more, "--accept", "nonfinite")
    assert done.exit_code == 2
