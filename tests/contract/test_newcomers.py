"""Adding a type is adding one file: in a copy of the tree, a new encoder, fusion and index type run, are tested and
stand in the documents, with no other edit.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import write_titles
from tests.support.places import ROOT

NEW = {
    "letter_counts": "encoders/types",
    "photo_first": "encoders/fusion",
    "ivf_sq4": "index_builders/types",
}
COPIED = ("foundation", "encoders", "lookup", "index_builders", "pipeline", "tests", "configs", "docs")
WALKS = (
    "tests/contract/test_encoders.py",
    "tests/contract/test_fusions.py",
    "tests/contract/test_index_builders.py",
    "tests/index_builders/fill/test_merge.py",
    "tests/index_builders/fill/test_compute.py",
    "tests/index_builders/choose/test_training_reuse.py",
    "tests/lookup/index/test_subset.py",
    "tests/pipeline/plan/test_forecast.py",
)
SLOW = ("another_process", "threads_share", "what_is_said")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with three files more."""
    root = tmp_path_factory.mktemp("copy")
    for name in COPIED:
        shutil.copytree(ROOT / name, root / name)  # with the time of each file: what is compiled stays so
    shutil.copy(ROOT / "pyproject.toml", root)
    for name, folder in NEW.items():
        shutil.copy(ROOT / "tests" / "support" / "newcomers" / f"{name}.py", root / folder)
    return root


def python(copy: Path, *arguments: object) -> str:
    """What a module of the copy prints."""
    env = {**os.environ, "PYTHONPATH": str(copy)}
    asked = [sys.executable, "-m", *map(str, arguments)]
    done = subprocess.run(asked, cwd=copy, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_newcomers_run(copy: Path, demo: Path, tmp_path: Path) -> None:
    """The command indexes with all three and finds what was asked for; `auto` weighs the new index type."""
    photo = sorted(map(str, demo.rglob("*.jpg")))[0]
    root = (f"catalog.image_root={demo}", "index.exact_below=512")
    titles = [f"{colour} dress {number}" for number in range(200) for colour in ("red", "blue", "green")]
    photos = [photo if not at % 50 else None for at in range(600)]
    catalog = write_titles(tmp_path / "c.parquet", titles, image_link=photos)
    store, large = tmp_path / "store", "index.large={type: ivf_sq4}"
    columns = ("catalog.text=[title]", "catalog.partition=null", "catalog.attributes=[title]", "catalog.prices=[]")
    types = ("encoders.text={type: letter_counts}", "fusion={type: photo_first}", "index.held_out_queries=50", large)
    gates = ("gates.max_degraded_share=1", "gates.min_recall=0.5")
    where = (f"catalog.path={catalog}", f"store.path={store}")
    python(copy, "pipeline", "run", "-c", "configs/weightless.yaml", *where, *columns, *root, *types, *gates)
    assert "green dress 7" in python(copy, "pipeline", "search", store, "--text", "green dress 7", "-k", 3)
    assert "ivf_sq4" in python(copy, "pipeline", "inspect", store)


def test_newcomers_are_tested(copy: Path) -> None:
    """The tests that walk the folders see them: each type by name, shape, bytes, decoding, parts, filters."""
    asked = f"({' or '.join(NEW)}) and not {' and not '.join(SLOW)}"
    found = python(copy, "pytest", "-q", "-p", "no:cacheprovider", "-rA", "-k", asked, *WALKS)
    passed = [line for line in found.splitlines() if line.startswith("PASSED")]
    for name, least in (("letter_counts", 8), ("photo_first", 12), ("ivf_sq4", 20)):
        assert sum(name in line for line in passed) >= least, name
    for walk in WALKS:
        assert any(walk in line for line in passed), walk


def test_newcomers_are_documented(copy: Path) -> None:
    """The tables of the config are written anew, and hold them."""
    python(copy, "tests.support.config_tables")
    page = (copy / "docs" / "reference" / "config.md").read_text()
    assert [name for name in NEW if f"### type: {name}\n" not in page] == []
    assert "| `text_weight` | `0.2` | of a query of text and photo; the photo has the rest |" in page
