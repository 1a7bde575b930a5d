"""What a run leaves behind: read back as a script, as Prometheus and as a browser would."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from foundation.reasons import Reason
from pipeline.report.notes import write_report
from pipeline.report.run_report import GateResult, PartitionRow, RunReport, Step, Steps

STARTED = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)


def report(**changes: Any) -> RunReport:
    fields: dict[str, Any] = {
        "run": "20261121T020000Z",
        "started_at": STARTED,
        "ended_at": STARTED + timedelta(seconds=200),
        "status": "published",
        "exit_code": 0,
        "snapshot": "20261121T020320Z-0123456789abcdef",
        "parent": None,
        "command": "vitrine run -c configs/nightly.yaml",
        "rows_in": 12_345,
        "rows_embedded": 12_300,
        "rows_rejected": 45,
        "rows_degraded": 7,
        "rows_in_snapshot": 12_300,
        "units": 8,
        "units_reused": 3,
        "indexes_reused": 0,
        "steps": [
            Step(name="plan", seconds=50, counts={}),
            Step(name="embed", seconds=150, counts={"rows": 12_300}),
        ],
        "gates": [gate()],
        "rejects": {"missing_id": 40, "image_not_found": 5},
        "degraded": {"image_undecodable": 7},
        "partitions": [partition()],
        "error": None,
    }
    return RunReport(**fields | changes)


def gate(**changes: Any) -> GateResult:
    fields: dict[str, Any] = {
        "name": "recall",
        "value": 0.97,
        "bound": 0.95,
        "op": ">=",
        "passed": True,
        "advice": "all",
    }
    return GateResult(**fields | changes)


def partition(**changes: Any) -> PartitionRow:
    fields: dict[str, Any] = {
        "name": "Dresses",
        "rows": 12_300,
        "index_type": "ivf_pq",
        "parameters": {"nlist": 64},
        "nprobe": 8,
        "refine_factor": 4,
        "recall": 0.97,
        "k": 10,
        "p50_ms": 1.5,
        "p99_ms": 4.0,
        "bytes": 1_200_000,
        "build_seconds": 20.0,
        "reused": False,
    }
    return PartitionRow(**fields | changes)


def metrics(folder: Path) -> dict[tuple[str, str], float]:
    """(metric name, its own label's value) -> value, by Prometheus' own parser."""
    families = text_string_to_metric_families((folder / "metrics.prom").read_text("utf-8"))
    samples = [one for family in families for one in family.samples]
    return {
        (
            one.name,
            "|".join(value for name, value in one.labels.items() if name not in ("store", "category")),
        ): one.value
        for one in samples
    }


class Rows(HTMLParser):
    """The table rows of a page, each as its class and its cells' words; `tags` are all tags."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.raw = (folder / "report.html").read_text("utf-8")
        self.rows: list[tuple[str | None, list[str]]] = []
        self.tags: set[str] = set()
        self._in_cell = False
        self.feed(self.raw)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append((dict(attrs).get("class"), []))
        elif tag in ("td", "th"):
            self.rows[-1][1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][1][-1] = (self.rows[-1][1][-1] + " " + data).strip()


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
counts = st.dictionaries(names, st.integers(0, 2**53), max_size=3)


@given(names, counts, st.lists(st.floats(allow_infinity=False), max_size=3))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_run_json_reads_back_as_it_was(tmp_path: Path, word: str, rows: dict[str, int], figures: list[float]) -> None:
    """Any names, counts and figures, also NaN, come back from run.json; the metrics parse and the page is written."""
    partitions = [partition(name=f"{word}{n}", recall=recall) for n, recall in enumerate(figures)]
    written = report(
        run=word, rejects=rows, error=word, steps=[Step(name=word, seconds=1, counts=rows)], partitions=partitions
    )
    write_report(tmp_path, written)
    read = RunReport.model_validate_json((tmp_path / "run.json").read_bytes())
    assert [row.name for row in read.partitions] == [row.name for row in partitions]
    np.testing.assert_array_equal([row.recall for row in read.partitions], figures)  # to which NaN equals NaN
    assert read.model_copy(update={"partitions": ()}) == written.model_copy(update={"partitions": ()})
    assert metrics(tmp_path)["vitrine_run_rows_in", ""] == 12_345
    assert "script" not in Rows(tmp_path).tags


def test_a_report_is_frozen_and_refuses_unknown_fields() -> None:
    """A misspelt field or status is an error where the report is made, not a gap in it."""
    with pytest.raises(ValidationError, match="frozen"):
        report().run = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="rows_inn"):
        report(rows_inn=1)
    with pytest.raises(ValidationError, match="status"):
        report(status="done")


def test_metrics_carry_the_figures_in_base_units(tmp_path: Path) -> None:
    """Counts, seconds, gates and partitions are there under vitrine_run_ names; milliseconds have become seconds."""
    write_report(tmp_path, report(gates=[gate(passed=False, value=0.5)]))
    found = metrics(tmp_path)
    assert found["vitrine_run_rows_rejected", ""] == 45
    assert found["vitrine_run_duration_seconds", ""] == 200
    assert found["vitrine_run_step_seconds", "embed"] == 150
    assert found["vitrine_run_rejects", "missing_id"] == 40
    assert found["vitrine_run_degraded", "image_undecodable"] == 7
    assert [found[f"vitrine_run_gate_{part}", "recall"] for part in ("passed", "value", "bound")] == [0, 0.5, 0.95]
    assert found["vitrine_run_partition_p99_seconds", "Dresses"] == pytest.approx(0.004)
    assert all(name.startswith("vitrine_run_") for name, _ in found)


@pytest.mark.parametrize(("status", "succeeded"), [("published", 1), ("unchanged", 1), ("refused", 0), ("failed", 0)])
def test_only_a_success_says_when_it_was(tmp_path: Path, status: str, succeeded: int) -> None:
    """The last-success timestamp is the run's end after a success and is absent otherwise."""
    write_report(tmp_path, report(status=status))
    stamps = [
        value for (name, _), value in metrics(tmp_path).items() if name.endswith("last_success_timestamp_seconds")
    ]
    assert stamps == [(STARTED + timedelta(seconds=200)).timestamp()] * succeeded


def test_a_failed_gate_stands_first_with_its_figure_and_bound(tmp_path: Path) -> None:
    """The failed gate is highlighted above those that passed, with figure, bound and advice."""
    failed = gate(name="reject_share", value=0.0312, bound=0.02, op="<=", passed=False, advice="look at <the> rejects")
    write_report(tmp_path, report(status="refused", exit_code=3, gates=[gate(), failed], error="expected: a\ncame: b"))
    page = Rows(tmp_path)
    gates = [(kind, cells) for kind, cells in page.rows if cells[0] in ("recall", "reject_share")]
    assert gates == [
        ("failed", ["reject_share", "failed", "0.0312", "≤ 0.02", "look at <the> rejects"]),
        (None, ["recall", "passed", "0.97", "≥ 0.95", "all"]),
    ]
    assert "expected: a\ncame: b" in page.raw


def test_steps_rejects_and_partitions_are_shown(tmp_path: Path) -> None:
    """Steps with time and counts, rejects by reason with most first, and each partition's index have a row."""
    write_report(
        tmp_path, report(partitions=[partition(), partition(name="红色", nprobe=0, refine_factor=0, reused=True)])
    )
    rows = [[" ".join(cell.split()) for cell in cells] for _, cells in Rows(tmp_path).rows]
    assert ["embed", "2 min 30 s", "rows 12,300", ""] in rows
    fixes = [Reason.MISSING_ID.fix, Reason.IMAGE_NOT_FOUND.fix]
    assert rows.index(["missing_id", "40", fixes[0]]) < rows.index(["image_not_found", "5", fixes[1]])
    middle = ["0.9700 @10", "1.50 ms", "4.00 ms", "1.2 MB"]
    assert ["Dresses", "12,300", "ivf_pq nlist 64", "8", "4", *middle, "20.0 s"] in rows
    assert ["红色", "12,300", "ivf_pq nlist 64", "-", "none", "exact", *middle[1:], "reused"] in rows


def test_the_bars_are_the_steps_share_of_the_time(tmp_path: Path) -> None:
    """A bar begins where the one before it ends and is as wide as its share, all in the style block."""
    write_report(tmp_path, report())
    raw = Rows(tmp_path).raw
    bars = re.findall(r"#bar(\d) { margin-left: ([\d.]+)%; width: ([\d.]+)%; }", raw)
    assert [tuple(map(float, bar)) for bar in bars] == [(1, 0, 25), (2, 25, 75)]
    assert raw.index("#bar2") < raw.index("</style>")
    assert " style=" not in raw


def test_a_run_that_failed_before_its_first_step_has_a_report(tmp_path: Path) -> None:
    """Empty lists, no snapshot and no time make all three files all the same."""
    empty: dict[str, Any] = dict.fromkeys(("steps", "gates", "partitions"), ())
    write_report(tmp_path / "new" / "run", report(status="failed", snapshot=None, ended_at=STARTED, **empty))
    assert sorted(path.name for path in (tmp_path / "new" / "run").iterdir()) == [
        "metrics.prom",
        "report.html",
        "run.json",
    ]
    assert "The run ended before the gates." in Rows(tmp_path / "new" / "run").raw


def _embed_and_fail(steps: Steps) -> None:
    with steps.step("embed") as counted:
        counted["rows"] = 5
        raise KeyError("worker lost")


def test_steps_are_timed_in_order_also_when_one_raises(caplog: pytest.LogCaptureFixture) -> None:
    """Each step is kept with what it counted until then, the raising one included, and its error passes through."""
    steps = Steps()
    caplog.set_level("INFO", "pipeline.report")
    with steps.step("plan") as counted:
        counted["units"] = np.int64(8)  # type: ignore[assignment]  # as numpy counts
    with pytest.raises(KeyError):
        _embed_and_fail(steps)
    assert [(step.name, step.counts) for step in steps.entries] == [("plan", {"units": 8}), ("embed", {"rows": 5})]
    assert all(math.isfinite(step.seconds) and step.seconds >= 0 for step in steps.entries)
    assert [record.message.split(":")[0] for record in caplog.records] == ["plan", "embed"]
