"""What earlier runs of a store took: the only honest guess at how fast encoders are here."""

from __future__ import annotations

from pydantic import ValidationError

from foundation.errors import VitrineError
from lookup.store.store import Store
from pipeline.config.sections import EncodersConfig
from pipeline.report.run_report import RunReport

_LOOKED_AT = 30  # runs, the newest first: nights on which nothing changed say nothing


def encode_seconds(path: str, encoders: EncodersConfig, rows: int) -> float | None:
    """About how long embedding `rows` takes, by the newest run of the store at `path` that encoded most of its units
    with these encoders.

    None where there is none.
    """
    try:
        store = Store.open(path)
        names = store.names("runs")
    except VitrineError:
        return None
    for name in sorted(names, reverse=True)[:_LOOKED_AT]:
        report = _report(store, name)
        if report is None:
            continue
        took = next((step for step in report.steps if step.name == "embed"), None)
        encoded = report.units - report.units_reused
        # Manifests are large, so last: nights on which little changed are passed over without one.
        if took is not None and 2 * encoded > report.units and report.rows_in and _alike(store, report, encoders):
            return took.seconds * report.units / encoded * rows / report.rows_in
    return None


def _report(store: Store, name: str) -> RunReport | None:
    try:
        return RunReport.model_validate_json(store.read(f"runs/{name}/run.json"))
    except (FileNotFoundError, NotADirectoryError, ValidationError):  # killed, of another version, or no run at all
        return None


def _alike(store: Store, report: RunReport, encoders: EncodersConfig) -> bool:
    """Whether a run published what these encoders made; not if that is gone: operations, Deleting."""
    try:
        manifest = None if report.snapshot is None else store.manifest(report.snapshot)
    except VitrineError:
        return False
    if manifest is None:
        return False
    specs = (encoders.text, encoders.image)
    made_by = [None if entry is None else entry.identity for entry in (manifest.text, manifest.image)]
    return made_by == [None if spec is None else spec.identity for spec in specs]
