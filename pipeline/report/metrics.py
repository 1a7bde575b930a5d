"""The metrics of a run for node_exporter's textfile collector: names and units follow
prometheus.io/docs/practices/naming.

Each has the labels `store` and `category` (empty: a run of the whole catalog), and its file is of that store and
category alone: a run of one category does not hide when the last night succeeded.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from blake3 import blake3

from foundation.disk import replace_file
from foundation.errors import VitrineError
from lookup.store.store import Store
from pipeline.report.notices import counted
from pipeline.report.run_report import GateResult, PhotoHost, RunReport, Step

_log = logging.getLogger(__name__)
_SUCCESS = "last_success_timestamp_seconds"
_ENDED = "end_timestamp_seconds"
_LONGEST = 150  # characters of a category in the name of a file
_HELP = {
    "start_timestamp_seconds": "When the run started.",
    _ENDED: "When the run ended.",
    "duration_seconds": "Wall-clock time of the run.",
    "exit_code": "The exit code of the command.",
    _SUCCESS: "When a run last ended with the catalog served.",
}
Figure = tuple[str, str, float]  # name, help, value
Labelled = tuple[str, str, str, dict[str, float]]  # name, help, label, its value -> value


@dataclass(frozen=True)
class MetricsScope:
    """What a file of metrics is of: a store, by its path, and a category; None: the whole catalog."""

    store: str
    category: str | None = None

    @property
    def labels(self) -> dict[str, str]:
        """On every metric."""
        return {"store": _one_line(self.store), "category": _one_line(self.category or "")}

    def file(self, path: str) -> Path:
        """Where the metrics go where `run.metrics_path` is `path`: of a category into a file of its own beside it."""
        whole = Path(path)
        if self.category is None:
            return whole
        name = quote(self.category, safe=" ")
        if len(name) > _LONGEST:
            name = name[:_LONGEST] + blake3(name.encode()).hexdigest()[:8]
        return whole.with_name(f"{whole.stem}.{name}{whole.suffix}")


def metrics_of(report: RunReport, scope: MetricsScope, last_success: float | None) -> bytes:
    """The file of a run, in Prometheus' text format. `last_success`, in seconds since 1970, is that of an earlier run:
    one that succeeded has its own end.
    """
    success = report.ended_at.timestamp() if report.succeeded else last_success
    known = [] if success is None else [(_SUCCESS, _HELP[_SUCCESS], success)]
    info = {"run": report.run, "status": report.status, "snapshot": report.snapshot or "", "version": report.vitrine}
    return _text(scope, [*_figures(report), *known], _labelled(report), info)


def put_metrics(path: Path, raw: bytes) -> None:
    """Write the file in one step. A night does not fail for it, but says so."""
    try:
        replace_file(path, raw)
    except OSError as err:
        _log.error("no metrics of this run: run.metrics_path=%s cannot be written (%s)", path, err)


def last_success(path: Path, scope: MetricsScope) -> float | None:
    """When a run last succeeded, in seconds since 1970, by the file of metrics at `path`; None where it is not said."""
    return _read(path, scope).get(_SUCCESS)


@contextmanager
def telling_refusals(path: str | None, store: str, category: str | None) -> Iterator[None]:
    """Around a run: where it ends by an error before it has a folder (another run is at work, the store cannot be
    written), the file at `run.metrics_path`, `path`, tells its exit code, and when a run last succeeded.
    """
    began = datetime.now(UTC).timestamp()
    try:
        yield
    except VitrineError as err:
        with suppress(VitrineError):  # of an address that no store has
            if path is not None:
                scope = MetricsScope(Store.at(store).root, category)
                before = _read(file := scope.file(path), scope)
                if before.get(_ENDED, 0) < began:
                    put_metrics(file, _refusal(scope, began, err.exit_code, before.get(_SUCCESS)))
        raise


def _refusal(scope: MetricsScope, began: float, exit_code: int, success: float | None) -> bytes:
    ended = datetime.now(UTC).timestamp()
    values = dict(zip(_HELP, (began, ended, ended - began, exit_code, success), strict=True))
    figures = [(name, _HELP[name], value) for name, value in values.items() if value is not None]
    return _text(scope, figures, [], {"run": "", "status": "failed", "snapshot": "", "version": ""})


def _read(path: Path, scope: MetricsScope) -> dict[str, float]:
    """Metric of one value -> value, of a file that is of `scope`; nothing where there is none such."""
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[str, float] = {}
    with suppress(OSError, ValueError):  # not there, or not what a run wrote
        for family in text_string_to_metric_families(path.read_text("utf-8")):
            found |= {
                one.name.removeprefix("vitrine_run_"): one.value for one in family.samples if one.labels == scope.labels
            }
    return found


def _text(
    scope: MetricsScope, figures: Sequence[Figure], labelled: Sequence[Labelled], info: Mapping[str, str]
) -> bytes:
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()  # its own: the library's default adds the process that wrote the file
    names = list(scope.labels)
    for name, what, value in figures:
        Gauge(f"vitrine_run_{name}", what, names, registry=registry).labels(**scope.labels).set(value)
    for name, what, label, values in labelled:
        gauge = Gauge(f"vitrine_run_{name}", what, [*names, label], registry=registry)
        for key, value in values.items():
            gauge.labels(**scope.labels, **{label: _one_line(key)}).set(value)
    # A gauge of 1, not the library's Info, which readers of the text format take for one all the same.
    told = Gauge("vitrine_run_info", "The run that wrote this file.", [*names, *info], registry=registry)
    told.labels(**scope.labels, **{name: _one_line(value) for name, value in info.items()}).set(1)
    return generate_latest(registry)


def _one_line(label: str) -> str:
    """A label value without line breaks and other control characters, at which readers of the format cut lines."""
    return "".join(character if character.isprintable() else " " for character in label)


def _figures(report: RunReport) -> list[Figure]:
    """The metrics that have one value."""
    times = (report.started_at.timestamp(), report.ended_at.timestamp(), report.seconds, report.exit_code)
    return [
        *((name, _HELP[name], value) for name, value in zip(_HELP, times, strict=False)),
        ("rows_in", "Catalog rows read.", report.rows_in),
        ("rows_embedded", "Rows embedded.", report.rows_embedded),
        ("rows_rejected", "Rows left out with a reason.", report.rows_rejected),
        ("rows_in_snapshot", "Rows that can be found after the run.", report.rows_in_snapshot),
        ("rows_degraded", "Rows embedded by one modality because the other was broken.", report.rows_degraded),
        ("photos", "Photos of the rows embedded.", report.photos),
        ("photos_lost", "Photos of the rows embedded that could not be read or encoded.", report.photos_lost),
        ("units", "Units of work of the catalog.", report.units),
        ("units_reused", "Units whose shard stood already.", report.units_reused),
        ("texts_encoded", "Products whose text was encoded.", report.texts_encoded),
        ("texts_copied", "Products whose text's vector an earlier shard had.", report.texts_copied),
        ("photos_encoded", "Products whose photos were encoded.", report.photos_encoded),
        ("photos_copied", "Products whose photos' vector an earlier shard had.", report.photos_copied),
        ("indexes_reused", "Partitions whose index stood already.", report.indexes_reused),
        ("bytes_added", "Bytes of files that the snapshot has and its parent has not.", report.bytes_added),
        ("snapshot_bytes", "Bytes of all files of the snapshot.", report.snapshot_bytes),
    ]


def _labelled(report: RunReport) -> list[Labelled]:
    """The metrics that have several."""
    gates, partitions = _by_gate(report.gates), report.partitions
    failed = [(name, one) for name, one in gates.items() if not one.passed]
    timed = [row for row in partitions if row.p50_ms]  # an exact index is not timed
    return [
        ("step_seconds", "Wall-clock time of a step.", "step", _summed(report.steps)),
        ("texts_encoded_for", "Products whose text had to be encoded, by reason.", "reason", _why(report, "text")),
        ("photos_encoded_for", "Products whose photos had to be encoded, by reason.", "reason", _why(report, "photo")),
        ("rejects", "Rows left out, by reason.", "reason", {**report.rejects}),
        ("degraded", "Rows embedded by one modality, by reason.", "reason", {**report.degraded}),
        ("notices", "What was left out or read otherwise, by kind.", "what", {**counted(report.notices)}),
        *_by_host(report.photo_hosts),
        ("gate_passed", "1 where the gate passed.", "gate", {name: float(one.passed) for name, one in gates.items()}),
        ("gate_accepted", "1 where it failed and was accepted.", "gate", {n: float(g.accepted) for n, g in failed}),
        ("gate_value", "The figure that the gate measured.", "gate", {name: one.value for name, one in gates.items()}),
        ("gate_bound", "The bound of that figure.", "gate", {name: one.bound for name, one in gates.items()}),
        ("partition_rows", "Rows of a partition.", "partition", {row.name: row.rows for row in partitions}),
        ("partition_recall", "Measured recall@k, 0 to 1.", "partition", {row.name: row.recall for row in partitions}),
        ("partition_p50_seconds", "Median query.", "partition", {row.name: row.p50_ms / 1e3 for row in timed}),
        ("partition_p99_seconds", "99th percentile query.", "partition", {row.name: row.p99_ms / 1e3 for row in timed}),
        ("partition_bytes", "Index files of a partition.", "partition", {row.name: row.bytes for row in partitions}),
    ]


def _by_host(hosts: Sequence[PhotoHost]) -> list[Labelled]:
    """Of photos by URL."""
    told = {
        "fetched": "Photos that a host sent.",
        "unchanged": "Photos that a host says are those of before.",
        "fresh": "Photos that a host was not asked for, because its last answer still counts.",
        "stale": "Photos of before, because their host gave none.",
        "requests": "Requests to a host.",
        "bytes": "Bytes of the photos that a host sent.",
    }
    found = [
        (f"photo_host_{what}", help_, "host", {one.host: float(getattr(one, what)) for one in hosts})
        for what, help_ in told.items()
    ]
    failed = {one.host: float(sum(one.failed.values())) for one in hosts}
    return [*found, ("photo_host_failed", "Photos that a host did not give.", "host", failed)]


def _why(report: RunReport, modality: str) -> dict[str, float]:
    return {one.reason: one.products for one in report.encoded if one.modality == modality}


def _by_gate(results: Sequence[GateResult]) -> dict[str, GateResult]:
    """Of each gate the result that says most: the first that stops, else the first that failed, else the first."""
    found: dict[str, GateResult] = {}
    for one in results:
        before = found.setdefault(one.name, one)
        if (one.stops, not one.passed) > (before.stops, not before.passed):
            found[one.name] = one
    return found


def _summed(steps: tuple[Step, ...]) -> dict[str, float]:
    """Step name -> seconds; a step that ran twice counts twice."""
    return {step.name: sum(other.seconds for other in steps if other.name == step.name) for step in steps}
