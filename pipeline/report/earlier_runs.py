"""What earlier runs of a store said of themselves: what tonight is compared with, and when a run last succeeded."""

from __future__ import annotations

import json

from pydantic import ValidationError

from foundation.errors import VitrineError
from lookup.store.store import Store
from pipeline.report.run_report import RunReport

_LOOKED_AT = 40  # runs, the newest first


def read_report(store: Store, run: str) -> RunReport | None:
    """What a run said of itself; None where it says nothing: killed, of a later version, or no run at all."""
    try:
        return RunReport.model_validate_json(store.read(f"runs/{run}/run.json"))
    except (OSError, ValidationError):
        return None


def earlier_success(store: Store, run: str, category: str | None) -> RunReport | None:
    """The last run before `run`, of the whole catalog or of the same `category`, after which readers were served what
    the catalog held; None where none is known. Files of runs may have been deleted, and a store may not be readable.
    """
    try:
        names = [name for name in store.names("runs") if name < run]
    except (OSError, VitrineError):
        return None
    for name in reversed(names[-_LOOKED_AT:]):
        report = read_report(store, name)
        if report is not None and report.succeeded and _category(report) == category:
            return report
    return None


def golden_of(store: Store, run: str) -> object:
    """What the golden queries of a run found, as its golden.json has it; None where there is none."""
    try:
        found: object = json.loads(store.read(f"runs/{run}/golden.json"))
    except (OSError, ValueError):
        return None
    return found


def earlier_golden(store: Store, run: str) -> object:
    """The same of the last run before `run` that asked them and succeeded."""
    try:
        names = [name for name in store.names("runs") if name < run]
    except (OSError, VitrineError):
        return None
    for name in reversed(names[-_LOOKED_AT:]):
        golden = golden_of(store, name)
        if golden is not None and (report := read_report(store, name)) is not None and report.succeeded:
            return golden
    return None


def _category(report: RunReport) -> str | None:
    """Of a run of before this was kept, whether it had one: which, its words tell, quoted or not."""
    if report.format == 1 and " --category" in report.command:
        return report.category or ""
    return report.category
