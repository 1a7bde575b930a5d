"""What a run leaves in `runs/<run id>/`, also when it failed.

run.json is for scripts, report.html for people, metrics.prom for Prometheus:
node_exporter's textfile collector reads it; names and units follow prometheus.io/docs/practices/naming.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict

from foundation.disk import replace_file
from foundation.reasons import fix_of
from lookup.page import duration, render
from lookup.store.fields import Record
from lookup.store.index_record import describe_training
from lookup.store.manifest import Manifest
from lookup.store.shard_record import OTHERS, DetailCount
from pipeline.report.notices import Notice, counted

log = logging.getLogger(__name__)
_MOST_LOSSES = 50  # kinds of losses that a report shows


class Step(Record):
    """One step of the run, its wall-clock seconds and what it counted."""

    name: str
    seconds: float
    counts: dict[str, int]


class GateResult(Record):
    """One figure held against its bound, of the whole or of one `partition`. `advice` says where the figure comes from
    and, where it failed, what to do. One that failed and is `accepted` stops nothing.
    """

    name: str
    value: float
    bound: float
    op: Literal["<=", ">="]
    passed: bool
    advice: str
    partition: str | None = None
    accepted: bool = False

    @property
    def stops(self) -> bool:
        """Whether nothing may be published."""
        return not self.passed and not self.accepted

    @property
    def verdict(self) -> str:
        """passed, failed or accepted."""
        return "passed" if self.passed else "accepted" if self.accepted else "failed"

    @property
    def place(self) -> str:
        """Gate, or gate:partition: what `--accept` takes."""
        return self.name if self.partition is None else f"{self.name}:{self.partition}"


class Warned(Record):
    """What looked like a mistake before anything was encoded, and stopped nothing."""

    key: str
    came: str
    expected: str
    fix: str


class PartitionRow(Record):
    """One partition of the snapshot; recall is recall@k in 0..1, latencies are per query with one thread, 0 where an
    exact index was not timed.
    """

    # A recall that could not be measured is NaN; plain JSON would turn it into null.
    model_config = ConfigDict(ser_json_inf_nan="strings")

    name: str
    rows: int
    index_type: str
    parameters: dict[str, Any]
    nprobe: int
    refine_factor: int
    recall: float
    k: int
    p50_ms: float
    p99_ms: float
    bytes: int
    build_seconds: float
    reused: bool
    note: str = ""  # why the index is not what the settings ask for
    training: str = ""  # whose training a new index has, and what decided; empty where it stood before


class Loss(Record):
    """Rows that are rejected, degraded or short of photos, whose details are of one kind; `example` is one of them."""

    outcome: str  # rejected, degraded or photos_lost
    reason: str
    detail: str
    rows: int
    example: str


class RunReport(Record):
    """One run, whatever became of it."""

    format: int = 1
    run: str
    started_at: datetime
    ended_at: datetime
    status: Literal["published", "unchanged", "refused", "failed"]
    exit_code: int
    snapshot: str | None
    parent: str | None
    command: str
    rows_in: int  # this and the next three: of the run's category, where it had one
    rows_embedded: int
    rows_rejected: int
    rows_degraded: int
    rows_in_snapshot: int
    photos: int = 0  # of the rows embedded
    photos_lost: int = 0  # of these, not read or not encoded
    units: int
    units_reused: int
    texts_encoded: int = 0  # of units whose shard did not stand; this and the next three count products
    texts_copied: int = 0  # from earlier shards
    photos_encoded: int = 0
    photos_copied: int = 0
    indexes_reused: int
    steps: tuple[Step, ...]
    gates: tuple[GateResult, ...]
    rejects: dict[str, int]  # reason -> rows
    degraded: dict[str, int]  # reason -> rows
    details: tuple[Loss, ...] = ()  # what was lost, by what its details have in common, the most frequent first
    partitions: tuple[PartitionRow, ...]
    error: str | None
    notices: tuple[Notice, ...] = ()  # what was left out of the catalog, or read otherwise than it is written
    warnings: tuple[Warned, ...] = ()

    @property
    def seconds(self) -> float:
        """Wall-clock seconds from start to end."""
        return (self.ended_at - self.started_at).total_seconds()

    @property
    def succeeded(self) -> bool:
        """Whether readers are served what the catalog holds now."""
        return self.status in ("published", "unchanged")


def losses(details: Sequence[DetailCount]) -> tuple[Loss, ...]:
    """The most frequent of them as a report shows them, then the others, summed by their reason."""
    named = [one for one in details if one.detail != OTHERS][:_MOST_LOSSES]
    others: dict[tuple[str, str], DetailCount] = {}
    for one in details:
        if one not in named:
            before = others.setdefault((one.outcome, one.reason), one.model_copy(update={"detail": OTHERS, "rows": 0}))
            others[one.outcome, one.reason] = before.model_copy(update={"rows": before.rows + one.rows})
    return tuple(Loss(**one.model_dump(exclude={"partition"})) for one in (*named, *others.values()))


class Steps:
    """Times the steps of a run, one after the other; a step that raises is kept too."""

    def __init__(self) -> None:
        self.entries: list[Step] = []

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, int]]:
        """Time the body; what it puts into the dict is the step's counts."""
        counts: dict[str, int] = {}
        started = time.perf_counter()
        try:
            yield counts
        finally:
            seconds = time.perf_counter() - started
            # int(): numpy's and Arrow's integers are counts as well
            entry = Step(name=name, seconds=seconds, counts={what: int(n) for what, n in counts.items()})
            self.entries.append(entry)
            counted = "".join(f", {what} {n:,}" for what, n in entry.counts.items())
            log.info("%s: %s%s", name, duration(seconds), counted)


def write_report(folder: Path, report: RunReport) -> None:
    """Write run.json, metrics.prom and report.html into `folder`, each in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / "run.json", (report.model_dump_json(indent=1) + "\n").encode())
    _write_metrics(folder / "metrics.prom", report)
    replace_file(folder / "report.html", _html(report))


def _write_metrics(path: Path, report: RunReport) -> None:
    from prometheus_client import CollectorRegistry, Gauge, Info, write_to_textfile

    registry = CollectorRegistry()  # its own: the library's default adds the process that wrote the file
    for name, what, value in _figures(report):
        Gauge(f"vitrine_run_{name}", what, registry=registry).set(value)
    for name, what, label, values in _labelled(report):
        gauge = Gauge(f"vitrine_run_{name}", what, [label], registry=registry)
        for key, value in values.items():
            gauge.labels(_one_line(key)).set(value)
    names = {"run": _one_line(report.run), "status": report.status, "snapshot": report.snapshot or ""}
    Info("vitrine_run", "The run that wrote this file.", registry=registry).info(names)
    write_to_textfile(str(path), registry)


def _one_line(label: str) -> str:
    """A label value without line breaks and other control characters, at which readers of the format cut lines."""
    return "".join(character if character.isprintable() else " " for character in label)


def _figures(report: RunReport) -> list[tuple[str, str, float]]:
    """(name, help, value) of the metrics that have one value."""
    ended = report.ended_at.timestamp()
    figures: list[tuple[str, str, float]] = [
        ("start_timestamp_seconds", "When the run started.", report.started_at.timestamp()),
        ("end_timestamp_seconds", "When the run ended.", ended),
        ("duration_seconds", "Wall-clock time of the run.", report.seconds),
        ("exit_code", "The exit code of the command.", report.exit_code),
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
    ]
    # Absent after a failure: an alert on its age then sees the last good run, or none at all.
    success = ("last_success_timestamp_seconds", "When a run last ended with the catalog served.", ended)
    return [*figures, success] if report.succeeded else figures


def _labelled(report: RunReport) -> list[tuple[str, str, str, dict[str, float]]]:
    """(name, help, label, label value -> value) of the metrics that have several."""
    gates, partitions = _by_gate(report.gates), report.partitions
    failed = [(name, one) for name, one in gates.items() if not one.passed]
    timed = [row for row in partitions if row.p50_ms]  # an exact index is not timed
    return [
        ("step_seconds", "Wall-clock time of a step.", "step", _summed(report.steps)),
        ("rejects", "Rows left out, by reason.", "reason", {**report.rejects}),
        ("degraded", "Rows embedded by one modality, by reason.", "reason", {**report.degraded}),
        ("notices", "What was left out or read otherwise, by kind.", "what", {**counted(report.notices)}),
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


def _html(report: RunReport) -> bytes:
    return render(
        "pipeline/report/report.html",
        ["lookup/page.css", "pipeline/report/report.css"],
        extra_style=_bars(report.steps),
        heading=f"Run {report.run}",
        report=report,
        duration_of=duration,
        fix_of=fix_of,
        figure=_figure,
        size=_size,
    )


def _bars(steps: tuple[Step, ...]) -> str:
    """CSS, because the page's policy allows no style attributes: each bar begins where the one before it ends."""
    total = sum(step.seconds for step in steps) or 1.0
    begin, rules = 0.0, []
    for position, step in enumerate(steps, start=1):
        left, width = 100 * begin / total, 100 * step.seconds / total
        rules.append(f"#bar{position} {{ margin-left: {left:.3f}%; width: {width:.3f}%; }}\n")
        begin += step.seconds
    return "".join(rules)


def _figure(value: float) -> str:
    """A number for people, precise enough that a failed figure does not look like its bound."""
    return f"{value:,.0f}" if abs(value) >= 1000 and value == round(value) else f"{value:.6g}"


def _size(n: int) -> str:
    """Bytes for people: `14.2 MB`."""
    size = float(n)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def unread_attributes(manifest: Manifest, scope: frozenset[str] | None) -> Iterator[Notice]:
    """What of attributes could not be read, for each of them."""
    for name, rows in sorted(manifest.unread(scope).items()):
        have = f"{rows:,} of {manifest.rows_in(scope):,} products have a {name} that is"
        if manifest.attribute_types.get(name, "price") == "price":
            yield Notice(what="prices_unread", count=rows, told=f"{have} no price: filters take it for null")
        else:
            told = f"{have} not UTF-8, and null in hits and filters: write the export in UTF-8"
            yield Notice(what="attributes_not_utf8", count=rows, told=told)


def partition_rows(manifest: Manifest, reused: set[str]) -> Iterator[PartitionRow]:
    """A row for each partition; `reused` are those whose index stood before."""
    for partition in manifest.partitions:
        index = partition.index
        yield PartitionRow(
            name=partition.name,
            rows=partition.rows,
            index_type=index.type,
            parameters=index.parameters,
            nprobe=index.nprobe,
            refine_factor=index.refine_factor,
            recall=index.recall,
            k=index.k,
            p50_ms=index.p50_ms,
            p99_ms=index.p99_ms,
            bytes=sum(file.bytes for file in index.files.values()),
            build_seconds=index.build_seconds,
            reused=partition.name in reused,
            note=index.note,
            training=describe_training(index) if partition.name not in reused else "",
        )
