"""Metrics as node_exporter's textfile collector reads them, night after night, from one stable path."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import Result
from prometheus_client.parser import text_string_to_metric_families

from tests.support.command import run_titles, write_titles
from tests.support.stores import last_log

KINDS = "catalog.partition=kind"
SUCCESS = "vitrine_run_last_success_timestamp_seconds"
REFUSED = ("gates.max_reject_share=0", "gates.least_rows=1")


def samples(path: Path) -> dict[str, dict[str, float]]:
    """Metric -> its labels but `store`, joined -> value."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(path.read_text("utf-8")):
        for one in family.samples:
            labels = "|".join(value for name, value in one.labels.items() if name != "store")
            found.setdefault(one.name, {})[labels] = one.value
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a catalog of which a row is rejected, after a night that succeeded."""
    write_titles(tmp_path / "c.parquet", ["red dress", "blue shoe", None], kind=["Dress", "Shoe", "Shoe"])
    assert night(tmp_path).exit_code == 0
    return tmp_path


def night(place: Path, *more: str) -> Result:
    where = f"run.metrics_path={place / 'vitrine.prom'}"
    return run_titles(place / "c.parquet", place / "store", KINDS, where, *more)


def test_the_last_success_survives_a_failure(place: Path) -> None:
    """After a refused night the path has its exit code and the end of the night before; labels are those of that."""
    before = samples(place / "vitrine.prom")
    assert before["vitrine_run_exit_code"][""] == 0
    assert night(place, *REFUSED).exit_code == 3
    after = samples(place / "vitrine.prom")
    assert after["vitrine_run_exit_code"][""] == 3
    assert after[SUCCESS] == before[SUCCESS] == before["vitrine_run_end_timestamp_seconds"]
    assert after["vitrine_run_end_timestamp_seconds"][""] > after[SUCCESS][""]
    assert after["vitrine_run_partition_rows"] == before["vitrine_run_partition_rows"]
    assert (place / "vitrine.prom").read_text() == last_log(place / "store", "metrics.prom")


@pytest.mark.parametrize("lost", ["store/runs", "vitrine.prom"])
def test_the_last_success_is_known_by_either_of_two(lost: str, place: Path) -> None:
    """It survives the deletion of runs, by the file that is there, and of that file, by the runs of the store."""
    known = samples(place / "vitrine.prom")[SUCCESS]
    shutil.rmtree(place / lost) if lost == "store/runs" else (place / lost).unlink()
    assert night(place, *REFUSED).exit_code == 3
    assert samples(place / "vitrine.prom")[SUCCESS] == known


def test_a_run_that_never_began_is_told(place: Path) -> None:
    """A run that is refused before it has a folder leaves its exit code there, and when a run last succeeded."""
    known = samples(place / "vitrine.prom")[SUCCESS]
    assert night(place, "--measure", "--category", "Dress").exit_code == 2
    own = samples(place / "vitrine.Dress.prom")
    assert own["vitrine_run_exit_code"] == {"Dress": 2}
    assert SUCCESS not in own
    assert night(place, "run.memory=4GB", "--", "--direct_num_workers=2").exit_code == 2
    told = samples(place / "vitrine.prom")
    assert (told["vitrine_run_exit_code"], told[SUCCESS]) == ({"": 2}, known)


def test_a_category_has_a_file_and_a_label_of_its_own(place: Path) -> None:
    """A run of one category leaves the night's file as it is: beside it, its own says of each metric which category."""
    before = (place / "vitrine.prom").read_bytes()
    assert night(place, "--category", "Shoe").exit_code == 0
    assert (place / "vitrine.prom").read_bytes() == before
    own = samples(place / "vitrine.Shoe.prom")
    assert own["vitrine_run_rows_in"] == {"Shoe": 2}
    assert set(own["vitrine_run_rejects"]) == {"Shoe|no_modality"}


def test_a_path_that_cannot_be_written_is_said_and_fails_no_night(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The night is published, and the log names run.metrics_path."""
    where = f"run.metrics_path={place / 'nowhere' / 'vitrine.prom'}"
    assert run_titles(place / "c.parquet", place / "store", KINDS, where).exit_code == 0
    assert [one for one in caplog.messages if "run.metrics_path=" in one and "cannot be written" in one]


def test_a_file_of_another_store_is_not_believed(place: Path) -> None:
    """Where two stores are given one path, neither takes the other's success for its own."""
    where = f"run.metrics_path={place / 'vitrine.prom'}"
    assert run_titles(place / "c.parquet", place / "other", KINDS, where, *REFUSED).exit_code == 3
    assert SUCCESS not in samples(place / "vitrine.prom")
