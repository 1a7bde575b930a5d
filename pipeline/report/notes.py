"""What a run leaves in `runs/<run id>/`, also when it failed: run.json for scripts, metrics.prom for Prometheus and
report.html for people; and the metrics once more where `run.metrics_path` says.
"""

from __future__ import annotations

from pathlib import Path

from foundation.disk import replace_file
from lookup.store.store import Store
from pipeline.report.earlier_runs import earlier_success
from pipeline.report.metrics import MetricsScope, last_success, metrics_of, put_metrics
from pipeline.report.run_page import page_of
from pipeline.report.run_report import RunReport


def write_report(folder: Path, report: RunReport, store: Store | None = None, metrics_path: str | None = None) -> None:
    """Write all of it, each file in one step. With the `store` tonight is shown beside the night before, and when a run
    last succeeded is known after a failure too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / "run.json", (report.model_dump_json(indent=1) + "\n").encode())
    before = None if store is None else earlier_success(store, report.run, report.category)
    scope = MetricsScope("" if store is None else store.root, report.category)
    success = before.ended_at.timestamp() if before else None
    if metrics_path is not None:  # runs of the store may have been deleted
        success = max((one for one in (success, last_success(scope.file(metrics_path), scope)) if one), default=None)
    metrics = metrics_of(report, scope, success)
    replace_file(folder / "metrics.prom", metrics)
    if metrics_path is not None:
        put_metrics(scope.file(metrics_path), metrics)
    replace_file(folder / "report.html", page_of(report, before))
