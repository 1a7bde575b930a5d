"""What several test files need: a small drawn catalog, a config for it, and the real grocery catalog where it is
there.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from blake3 import blake3
from click.testing import CliRunner, Result
from hypothesis import settings

from encoders.types.hashed_text import HashedText
from foundation.arrays import Vectors
from index_builders.fill.threads import threads
from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.commands.cli import cli
from pipeline.config.load import Config, load_config
from pipeline.demo.catalog import DemoOptions, write_demo_catalog
from pipeline.report.run_report import RunReport

# A busy machine must not fail a test: examples may take as long as they take.
settings.register_profile("vitrine", deadline=None)
settings.load_profile("vitrine")

COMMIT = "a" * 40  # of the models of `hub`
GROCERY = Path(__file__).resolve().parents[2] / "shared" / "data" / "grocery"


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


def at_once(work: Callable[[Any], None], parts: Sequence[Any]) -> None:
    """`work` on each of `parts`, a thread for each, to its end."""
    each = [threading.Thread(target=work, args=(part,)) for part in parts]
    for thread in each:
        thread.start()
    for thread in each:
        thread.join()


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """TimeoutError where the body has not ended after so many seconds: it would never."""

    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not ended after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


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


def overrides(catalog: Path, store: Path, *more: str) -> list[str]:
    """Command-line overrides that run `configs/weightless.yaml` on a demo catalog in small units."""
    return [
        f"catalog.path={catalog / 'catalog'}",
        f"catalog.image_root={catalog}",
        f"store.path={store}",
        "shards.unit_rows=30",
        *more,
    ]


def config_for(catalog: Path, store: Path, *more: str, env: dict[str, Any] | None = None) -> Config:
    """The config that those overrides make."""
    return load_config("configs/weightless.yaml", overrides(catalog, store, *more), env or {}).config


@pytest.fixture(scope="session")
def published(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of one run on the demo catalog. Tests must not change it."""
    store = tmp_path_factory.mktemp("published") / "store"
    done = vitrine("run", "-c", "configs/weightless.yaml", *overrides(demo, store))
    assert done.exit_code == 0, done.stderr
    return store


# Overrides for a catalog of `write_titles`: texts only, one partition, small vectors.
TITLES_ONLY = (
    "catalog.image_root=null",
    "catalog.image=null",
    "catalog.text=[title]",
    "catalog.partition=null",
    "catalog.attributes=[title]",
    "encoders.image=null",
    "encoders.text.dim=32",
)


def write_titles(path: Path, titles: Sequence[str | None], row_group_rows: int = 1000, **more: Sequence[Any]) -> Path:
    """A catalog file of `titles` with ids P0, P1, ..., and of the columns `more`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"id": [f"P{number}" for number in range(len(titles))], "title": pa.array(titles, pa.string())}
    pq.write_table(pa.table({**columns, **more}), path, row_group_size=row_group_rows, write_page_checksum=True)
    return path


def vitrine(*arguments: object) -> Result:
    """The command, in this process: exit code, stdout and stderr. A failure that it does not foresee is raised here."""
    return CliRunner().invoke(cli, [str(word) for word in arguments], prog_name="vitrine", catch_exceptions=False)


def run_titles(catalog: Path | str, store: Path, *more: str) -> Result:
    """`vitrine run` on a catalog of `write_titles`."""
    where = (f"catalog.path={catalog}", f"store.path={store}")
    return vitrine("run", "-c", "configs/weightless.yaml", *TITLES_ONLY, *where, *more)


_POOLS: list[pa.MemoryPool] = []  # for as long as the process lives: what was allocated is given back to its pool


@contextmanager
def arrow_memory() -> Iterator[pa.MemoryPool]:
    """A pool that knows the most memory that Arrow held inside: `max_memory()`."""
    before = pa.default_memory_pool()
    _POOLS.append(pa.proxy_memory_pool(before))
    pa.set_memory_pool(_POOLS[-1])
    try:
        yield _POOLS[-1]
    finally:
        pa.set_memory_pool(before)


def told(stderr: str) -> tuple[str, str, str]:
    """The one error message in `stderr`: expected, came, to do."""
    assert stderr.count("error\nexpected: ") == 1, stderr
    assert "Traceback" not in stderr, stderr
    message = stderr.partition("error\nexpected: ")[2]
    expected, _, rest = message.partition("\ncame: ")
    came, _, fix = rest.rpartition("\nto do: ")
    assert all(part.strip() for part in (expected, came, fix)), stderr
    return expected, came, fix.strip()


def digests(store: Path) -> dict[str, str]:
    """blake3 of everything that readers may be sent to: CURRENT, manifests, shards and indexes."""
    kept = [store / "CURRENT", *(store / folder for folder in ("snapshots", "shards", "indexes"))]
    files = [file for place in kept for file in ([place] if place.is_file() else place.rglob("*")) if file.is_file()]
    return {str(file.relative_to(store)): blake3(file.read_bytes()).hexdigest() for file in sorted(files)}


def run(config: Config, *beam_arguments: str, category: str | None = None, no_parent: bool = False) -> RunReport:
    """A whole run in this process, as `vitrine run` does it."""
    from pipeline import run as stages

    return stages.run(stages.Request(config, category, beam_arguments, no_parent=no_parent))


def manifest_of(store: Path) -> Manifest:
    """The published manifest."""
    return Store.open(str(store)).published()[1]


def products(store: Path) -> dict[str, bytes]:
    """The bytes of every file under shards/ and indexes/; of index records, which hold timings, only the names."""
    found = {}
    for path in sorted(store.glob("shards/*")) + sorted(store.glob("indexes/*/*")):
        found[str(path.relative_to(store))] = b"" if path.name == "record.json" else path.read_bytes()
    return found


def everything(store: Path) -> dict[str, bytes]:
    """The bytes of all that readers may see: CURRENT, snapshots/, shards/ and indexes/."""
    seen = [store / "CURRENT", *store.glob("snapshots/*"), *store.glob("shards/*"), *store.glob("indexes/*/*")]
    return {str(path.relative_to(store)): path.read_bytes() for path in seen}


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that the text tower of this process has encoded, growing while the test runs."""
    texts: list[str] = []
    forward = HashedText.forward

    def counted(self: HashedText, chunk: Any, role: Any) -> Vectors:
        texts.extend(chunk)
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


def last_log(store: Path, name: str) -> str:
    """A file of what the last run of `store` left."""
    return (sorted((store / "runs").iterdir())[-1] / name).read_text(encoding="utf-8")
