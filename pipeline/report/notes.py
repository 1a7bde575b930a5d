"""What a run leaves in `runs/<run id>/`, also when it failed: run.json for scripts, metrics.prom for Prometheus and
report.html for people; and the metrics once more where `run.metrics_path` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from foundation.disk import replace_file
from lookup.query import photo_limits
from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.report.earlier_runs import earlier_golden, earlier_success, golden_of
from pipeline.report.golden_rows import golden_rows
from pipeline.report.metrics import MetricsScope, last_success, metrics_of, put_metrics
from pipeline.report.page_photos import Products, Thumbnails, reject_examples
from pipeline.report.run_page import Beside, page_of
from pipeline.report.run_report import RunReport


@dataclass(frozen=True)
class Surroundings:
    """What a report is made with beside the run itself: its store, where metrics go, and what the run made, published
    or not, with the products that it was made of; both None: it came to none.
    """

    store: Store
    metrics_path: str | None
    manifest: Manifest | None
    products: Products | None


def write_report(folder: Path, report: RunReport, around: Surroundings | None = None) -> None:
    """Write all of it, each file in one step. With what is around it tonight is shown beside the night before, and when
    a run last succeeded is known after a failure too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / "run.json", (report.model_dump_json(indent=1) + "\n").encode())
    before = None if around is None else earlier_success(around.store, report.run, report.category)
    _write_metrics(folder, report, before, around)
    beside = Beside() if around is None else _beside(folder, report, before, around)
    replace_file(folder / "report.html", page_of(report, beside))


def _write_metrics(folder: Path, report: RunReport, before: RunReport | None, around: Surroundings | None) -> None:
    path = None if around is None else around.metrics_path
    scope = MetricsScope("" if around is None else around.store.root, report.category)
    success = before.ended_at.timestamp() if before else None
    if path is not None:  # runs of the store may have been deleted
        success = max((one for one in (success, last_success(scope.file(path), scope)) if one), default=None)
    metrics = metrics_of(report, scope, success)
    replace_file(folder / "metrics.prom", metrics)
    if path is not None:
        put_metrics(scope.file(path), metrics)


def _beside(folder: Path, report: RunReport, before: RunReport | None, around: Surroundings) -> Beside:
    manifest, products = around.manifest, around.products
    if manifest is None or products is None:
        return Beside(before)
    photos = Thumbnails(products, photo_limits(manifest))
    golden = golden_rows(golden_of(around.store, report.run), earlier_golden(around.store, report.run), photos)
    return Beside(before, reject_examples(around.store, manifest, report.details, photos), golden)
