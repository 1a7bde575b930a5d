"""Whatever a writer or a damaged disk makes of a catalog file, the command ends: with a snapshot, or with an error in
three parts.
"""

from __future__ import annotations

import gc
import json
import resource
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.demo.catalog import DemoOptions, write_demo_catalog
from tests.support.bounded import within
from tests.support.command import overrides, told, vitrine
from tests.support.mutated_catalogs import mutated

OPEN = ("gates.max_reject_share=1", "gates.max_degraded_share=1", "catalog.partition=product_type", "run.workers=1")
MOST_SECONDS = 120  # of one run: far more than any takes
MOST_GROWTH = 1_500  # MB, over all of them
ENDED_THE_PROCESS = (1954,)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo catalog of 16 products. Tests must not change it."""
    folder = tmp_path_factory.mktemp("small") / "demo"
    write_demo_catalog(folder, DemoOptions(products=16, row_group_rows=8))
    return folder


def table_of(folder: Path) -> pa.Table:
    return pq.read_table(folder / "catalog")


def hold(small: Path, place: Path, seed: int) -> int:
    """Run the command on the catalog that `seed` makes; its exit code, after all that must hold did."""
    raw, mutations = mutated(table_of(small), seed)
    said = f"seed {seed}: {', '.join(mutations)}"
    catalog, store = place / "catalog", place / "store"
    catalog.mkdir(parents=True)
    (catalog / "a.parquet").write_bytes(raw)
    options = [*overrides(small, store), f"catalog.path={catalog}", *OPEN]
    try:
        with within(MOST_SECONDS):
            done = vitrine("run", "-c", "configs/weightless.yaml", *options, "--json")
    except BaseException as err:
        err.add_note(said)
        raise
    assert done.exit_code in (0, 1, 2, 3), f"{said}: exit {done.exit_code}\n{done.stderr}"
    assert "Traceback" not in done.stderr, f"{said}\n{done.stderr}"
    if done.exit_code:
        assert all(told(done.stderr)), said
    else:
        report = json.loads(done.stdout)
        assert report["rows_in"] == report["rows_embedded"] + report["rows_rejected"], said
        assert report["rows_embedded"] == report["rows_in_snapshot"], said
    shutil.rmtree(place)
    return done.exit_code


def peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def test_a_few_mutated_catalogs(small: Path, tmp_path: Path) -> None:
    """Twelve mutated files end with a snapshot or an error in three parts, and some with each."""
    assert len({hold(small, tmp_path / str(seed), seed) for seed in range(12)}) > 1


@pytest.mark.parametrize("seed", ENDED_THE_PROCESS)
def test_seeds_that_ended_the_process(small: Path, tmp_path: Path, seed: int) -> None:
    """Damage that pyarrow does not survive: see test_damaged_footers.py."""
    assert hold(small, tmp_path / str(seed), seed) == 2


@pytest.mark.nightly
def test_two_thousand_mutated_catalogs(small: Path, tmp_path: Path) -> None:
    """2,000 mutated files in one process: no hang, no traceback, no row lost, and memory does not grow."""
    assert hold(small, tmp_path / "warm", 0) in (0, 1, 2, 3)
    before, codes = peak_mb(), set()
    for seed in range(1, 2_000):
        codes.add(hold(small, tmp_path / str(seed), seed))
        gc.collect(1)
    assert {0, 2} <= codes
    assert peak_mb() - before < MOST_GROWTH
