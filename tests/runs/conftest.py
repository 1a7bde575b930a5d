"""The small shop of tests/support/three_kinds.py, fresh for each test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pipeline.config.load import Config, load_config
from tests.support.three_kinds import KINDS, LOOSE, Rows


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """40 products of three kinds, each with a small photo of its own on the disk."""
    (tmp_path / "photos").mkdir()
    made = []
    for i in range(40):
        photo = f"photos/{i}.png"
        Image.new("RGB", (16, 16), (6 * i, 255 - 6 * i, 40)).save(tmp_path / photo)
        made.append({"id": f"p{i:02}", "title": f"{KINDS[i % 3]} number {i}", "kind": KINDS[i % 3], "photo": photo})
    return made


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Config]:
    """The config of the test's catalog, in units of ten rows."""

    def made(*more: str, store: str = "store") -> Config:
        fixed = [
            f"catalog.path={tmp_path}/catalog.parquet",
            f"store.path={tmp_path}/{store}",
            "catalog.text=[title]",
            "catalog.image=photo",
            "catalog.partition=kind",
            "shards.unit_rows=10",
        ]
        return load_config(None, [*fixed, *LOOSE, *more], {}).config

    return made
