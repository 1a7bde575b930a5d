"""What several test files need: a small drawn catalog, a config for it, and the real grocery catalog where it is
there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Config, load_config
from pipeline.demo.catalog import DemoOptions, write_demo_catalog

GROCERY = Path(__file__).resolve().parents[2] / "shared" / "data" / "grocery"


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean demo catalog: 120 products in 4 row groups of one file, photos as files. Tests must not change it."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    write_demo_catalog(folder, DemoOptions(products=120, row_group_rows=30))
    return folder


@pytest.fixture(scope="session")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dirty demo catalog: 60 good products and what real feeds have. Tests must not change it."""
    folder = tmp_path_factory.mktemp("dirty") / "demo"
    write_demo_catalog(folder, DemoOptions(products=60, row_group_rows=25, dirty=True))
    return folder


@pytest.fixture(scope="session")
def grocery() -> Path:
    """The real catalog beside the checkout."""
    if not GROCERY.is_dir():
        pytest.skip("needs ../shared/data/grocery beside the checkout: a real catalog that is not part of it")
    return GROCERY


def overrides(catalog: Path, store: Path, *more: str) -> list[str]:
    """Command-line overrides that run `configs/demo.yaml` on a demo catalog in small units."""
    return [
        f"catalog.path={catalog / 'catalog'}",
        f"catalog.image_root={catalog}",
        f"store.path={store}",
        "shards.unit_rows=30",
        *more,
    ]


def config_for(catalog: Path, store: Path, *more: str, env: dict[str, Any] | None = None) -> Config:
    """The config that those overrides make."""
    return load_config("configs/demo.yaml", overrides(catalog, store, *more), env or {}).config
