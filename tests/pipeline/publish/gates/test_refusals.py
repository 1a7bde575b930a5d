"""Gates in a real run: exit 3, the failed figure and its bound told and reported, and nothing published."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import run_titles, told, vitrine, write_titles
from tests.support.stores import digests, publications

TITLES = [f"{colour} {kind} {n}" for n in range(60) for colour in ("red", "blue") for kind in ("dress", "shoe", "lamp")]
TITLES = [*TITLES, *(f"{word} thing" for word in TITLES)][:600]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a catalog of 600 titles and the store of its run. Tests must not change it."""
    folder = tmp_path_factory.mktemp("first")
    write_titles(folder / "c.parquet", TITLES, 300)
    assert run_titles(folder / "c.parquet", folder / "store").exit_code == 0
    return folder


def refused(catalog: Path, store: Path, *more: str) -> tuple[str, str, dict[str, Any], str]:
    """(expected, came, run.json, report.html) of a run that a gate refused."""
    before = digests(store)
    done = run_titles(catalog, store, *more)
    assert (done.exit_code, done.stdout) == (3, "")
    expected, came, fix = told(done.stderr)
    after = digests(store)
    assert {name: after[name] for name in before} == before
    assert vitrine("verify", store).exit_code == 0
    folder = sorted((store / "runs").iterdir())[-1]
    assert f"runs/{folder.name}/report.html" in fix
    report = json.loads((folder / "run.json").read_text())
    assert (report["status"], report["exit_code"], report["snapshot"]) == ("refused", 3, None)
    assert report["error"] == f"expected: {expected}\ncame: {came}\nto do: {fix}"
    return expected, came, report, (folder / "report.html").read_text()


def failed_gates(report: dict[str, Any]) -> list[str]:
    return [gate["name"] for gate in report["gates"] if not gate["passed"]]


def test_more_rejects_than_the_budget(first: Path, tmp_path: Path) -> None:
    """60 empty titles of 600 are a share of 0.1: refused at 0.05, published at 0.1."""
    store = Path(shutil.copytree(first / "store", tmp_path / "store"))
    holes = [None if number % 10 == 0 else title for number, title in enumerate(TITLES)]
    catalog = write_titles(tmp_path / "c.parquet", holes, 300)
    expected, came, report, page = refused(catalog, store)
    assert expected == "reject_share <= 0.05; reject_rise <= 0.03"
    assert came.startswith("reject_share 0.1 (60 rows rejected, most for no_modality (60)")
    assert failed_gates(report) == ["reject_share", "reject_rise"]
    assert report["rejects"] == {"no_modality": 60}
    assert all(word in page for word in ("reject_share", "0.05", "no_modality"))
    assert run_titles(catalog, store, "gates.max_reject_share=0.1", "gates.max_reject_rise=0.1").exit_code == 0


def test_recall_below_its_bound(first: Path, tmp_path: Path) -> None:
    """An index tuned for less recall than the gate asks is measured, reported and not published."""
    store = Path(shutil.copytree(first / "store", tmp_path / "store"))
    coarse = ("index.exact_below=512", "index.target_recall=0.01", "index.large={type: ivf_pq, nlist: 16, nbits: 4}")
    bound = "gates.min_recall=0.999"
    expected, came, report, page = refused(first / "c.parquet", store, *coarse, bound, "index.large.refine=none")
    assert expected == "recall >= 0.999"
    assert "worst partition: all" in came
    (gate,) = [gate for gate in report["gates"] if gate["name"] == "recall"]
    assert failed_gates(report) == ["recall"]
    assert gate["value"] < gate["bound"] == 0.999
    assert gate["value"] == report["partitions"][0]["recall"]
    assert "0.999" in page


def test_a_catalog_that_was_cut(first: Path, tmp_path: Path) -> None:
    """Half of the rows gone is refused, naming both counts, and published where it is allowed."""
    store = Path(shutil.copytree(first / "store", tmp_path / "store"))
    catalog = write_titles(tmp_path / "c.parquet", TITLES[:300], 300)
    expected, came, report, page = refused(catalog, store)
    assert "row_drop <= 0.3" in expected
    assert "row_drop 0.5 (300 rows, 600 in the parent" in came
    assert failed_gates(report) == ["row_drop", "ids_kept", "partition_row_drop"]
    assert "row_drop" in page
    assert run_titles(catalog, store, "gates.max_row_drop=1", "gates.min_ids_kept=0").exit_code == 0
    assert json.loads(vitrine("inspect", store, "--json").stdout)["rows"] == 300


def test_a_first_run_that_is_refused_publishes_nothing(tmp_path: Path) -> None:
    """Where nothing was published before, nothing is after; the report is there, and what was made is used again."""
    catalog = write_titles(tmp_path / "c.parquet", ["red dress", None, None])
    assert run_titles(catalog, tmp_path / "store").exit_code == 3
    assert not publications(tmp_path / "store")
    assert vitrine("verify", tmp_path / "store").exit_code == 2
    done = run_titles(catalog, tmp_path / "store", "gates.max_reject_share=0.7", "--json")
    found = json.loads(done.stdout)
    assert (found["status"], found["units_reused"], found["indexes_reused"]) == ("published", 1, 1)
