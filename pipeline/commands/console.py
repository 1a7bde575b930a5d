"""What the command prints: results on stdout, as tables or as one JSON document; progress, logs and errors on
stderr.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.engine.printing import document, echo, printable, table
from pipeline.report.log_lines import JsonLines, TextLines

if TYPE_CHECKING:
    from types import TracebackType

    from encoders.training.fusion_trainer import TrainedFusion
    from encoders.training.trainer import Trained
    from lookup.store.manifest import Manifest
    from pipeline.commands.doctor import Check
    from pipeline.compare.planned_cost import PlannedCost
    from pipeline.compare.planned_rows import PlannedRows
    from pipeline.config.load import Row
    from pipeline.config.run_section import LogFormat
    from pipeline.evaluate.evaluation import Evaluation
    from pipeline.preflight.check import Checked
    from pipeline.publish.verify import Verified
    from pipeline.report.notices import Notice
    from pipeline.report.run_report import RunReport

_log = logging.getLogger(__name__)
_MOST_LOSSES = 5  # kinds of losses; the report has more


def result(value: Any, as_json: bool, line: str) -> None:
    """A result of one line."""
    if as_json:
        document(value)
    else:
        echo(line)


def logs(level: str, form: LogFormat = "text") -> None:
    """Send our log lines to stderr, and other libraries' from WARNING on. As JSON, also what Python itself would print
    there: warnings, and the traceback of a fault that nobody foresaw.
    """
    handlers = logging.getLogger().handlers
    handler = next((one for one in handlers if isinstance(one, _Stderr)), _Stderr())
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    if not handlers:
        handler.addFilter(_for_people)
        logging.basicConfig(level=logging.WARNING, handlers=[handler])
    if form == "json":
        logging.captureWarnings(True)
        sys.excepthook = _log_fault
    for package in ("pipeline", "encoders", "index_builders", "lookup", "foundation"):
        logging.getLogger(package).setLevel(level)


def _log_fault(kind: type[BaseException], err: BaseException, at: TracebackType | None) -> None:
    _log.critical("a fault of the program: report it", exc_info=(kind, err, at))


def _for_people(record: logging.LogRecord) -> bool:
    """Whether a line is for the user. The run's log.txt has the others too."""
    if record.name.startswith("apache_beam") and record.levelno >= logging.ERROR:
        return False  # the traceback of a failed worker, several times; the command ends by telling what it was
    # Beam announces a client for Google's cloud that is not installed each time that it is imported.
    return "apitools not found" not in record.getMessage()


class _Stderr(logging.StreamHandler[Any]):
    """Writes to what sys.stderr is now: while a bar is shown, rich stands there and prints lines above it."""

    @property
    def stream(self) -> Any:
        """The present stderr."""
        return sys.stderr

    @stream.setter
    def stream(self, _: Any) -> None:
        """StreamHandler's __init__ sets one; it is not kept."""


def plan(
    checked: Checked,
    encode_seconds: float | None,
    measures: bool,
    rows: tuple[PlannedRows, PlannedCost] | None,
    as_json: bool,
) -> None:
    """A plan, what looks like a mistake in it, and what it will take: totals, then partitions, then its rows."""
    from pipeline.commands import rows_page
    from pipeline.commands.plan_page import forecast_lines, forecast_table

    planned, found = checked.plan, checked.taken
    largest = max((unit.size for unit in planned.units), default=0)
    totals = {
        "rows": planned.rows,
        "units": len(planned.units),
        "duplicates": planned.duplicates,
        "bytes": planned.size,
        "largest_unit_bytes": largest,
        "notices": [one.model_dump() for one in planned.notices],
        "warnings": [one.parts() for one in checked.warnings],
    }
    if as_json:
        taken = {"memory_bytes": found.memory, "disk_bytes": found.disk, "scratch_bytes": found.scratch}
        seconds = {"encode_seconds": encode_seconds, "build_seconds": found.build_seconds, "measures": measures}
        names = {name: one.rows for name, one in found.partitions.items()}
        indexes = {name: {**asdict(one), "ids_bytes": found.ids[name]} for name, one in found.partitions.items()}
        at_once = asdict(found.at_once)
        compared = {} if rows is None else {"compared": rows_page.as_document(*rows)}
        planned_to = {"partitions": names, **taken, **seconds, "at_once": at_once, "indexes": indexes}
        document({**totals, **planned_to, **compared})
        return
    echo(
        f"{planned.rows:,} rows in {len(planned.units):,} units, {planned.duplicates:,} repeated ids; "
        f"the catalog's files have {planned.size / 1e6:,.1f} MB, "
        f"the largest unit about {largest / 1e6:,.1f} MB once read"
    )
    _notices(planned.notices)
    for one in checked.warnings:
        echo(printable(f"warning: {one.line()}"))
    for line in forecast_lines(found, encode_seconds, measures):
        echo(line)
    table(*forecast_table(found))
    if rows is not None:
        rows_page.print_rows(*rows)


def report(run: RunReport, store: str, as_json: bool) -> None:
    """What a run did. Where stdout does not take it, that is told, and is no failure: the snapshot stands."""
    try:
        _report(run, store, as_json)
    except OSError as err:
        where = f"{store.rstrip('/')}/runs/{run.run}/run.json"
        _log.warning("the result could not be printed (%s): it is in %s", err, where)


def _report(run: RunReport, store: str, as_json: bool) -> None:
    if as_json:
        document(run.model_dump(mode="json"))
        return
    table(
        ["step", "seconds", "counts"],
        [[s.name, f"{s.seconds:.1f}", ", ".join(f"{k} {v:,}" for k, v in s.counts.items())] for s in run.steps],
    )
    _partitions(run.partitions)
    if run.rejects:
        table(["rejected for", "rows"], [[reason, f"{rows:,}"] for reason, rows in run.rejects.items()])
    if run.degraded:
        table(
            ["indexed without one modality for", "rows"],
            [[reason, f"{rows:,}"] for reason, rows in run.degraded.items()],
        )
    if run.details:
        table(
            ["most often", "because", "rows", "such as"],
            [
                [one.outcome.replace("_", " "), one.detail, f"{one.rows:,}", one.example]
                for one in run.details[:_MOST_LOSSES]
            ],
        )
    _notices(run.notices)
    for gate in run.gates:
        if gate.accepted:
            echo(printable(f"accepted: {gate.place} is {gate.value:g}, {gate.op} {gate.bound:g} was asked"))
    if run.photos_lost:
        echo(f"{run.photos_lost:,} of {run.photos:,} photos of the rows embedded are lost")
    echo(
        f"{run.rows_in:,} rows read: {run.rows_embedded:,} embedded, {run.rows_rejected:,} rejected; "
        f"{run.rows_in_snapshot:,} in the snapshot"
    )
    echo(f"{run.status}: {run.snapshot}; report: {store.rstrip('/')}/runs/{run.run}/report.html")


def trained(result: Trained, left_out: dict[str, int], as_json: bool) -> None:
    """What a training made, and what of the catalog it could not use."""
    if as_json:
        document({**asdict(result), "left_out": left_out})
        return
    if left_out:
        table(["not learned from", "rows or photos"], [[reason, f"{count:,}"] for reason, count in left_out.items()])
    of = "text-to-photo " if result.clicks is None else "query-to-product "
    recall = "nothing was held out" if result.recall is None else f"held-out {of}recall {result.recall:.3f}"
    echo(
        f"{result.folder}: {result.pairs:,} pairs learned in {result.steps:,} steps and "
        f"{result.seconds / 60:.1f} minutes; {recall}, best at step {result.best_step:,}"
    )


def trained_fusion(result: TrainedFusion, left_out: dict[str, int], as_json: bool) -> None:
    """What a training of a fusion made, and what of the catalog it could not use."""
    if as_json:
        document({**asdict(result), "left_out": left_out})
        return
    if left_out:
        table(["not learned from", "rows"], [[reason, f"{count:,}"] for reason, count in left_out.items()])
    recall = "nothing was held out" if result.recall is None else f"held-out recall {result.recall:.3f}"
    # a bare name is one of models.lock
    model = str(result.folder) if "/" in str(result.folder) else f"./{result.folder}"
    echo(
        f"{result.folder}: {result.products:,} products learned in {result.steps:,} steps and "
        f"{result.seconds / 60:.1f} minutes; {recall}, best at step {result.best_step:,}; "
        f"use it as fusion.model={model}"
    )


def evaluation(measured: Evaluation, html: Any, as_json: bool) -> None:
    """What an evaluation measured: first how good, then where it is lost."""
    from pipeline.evaluate.page import counted, loss_table, quality_table

    if as_json:
        document(asdict(measured))
        return
    for line in counted(measured):
        echo(line)
    table(*quality_table(measured))
    if measured.losses:
        table(*loss_table(measured))
    if html is not None:
        echo(f"page with the plot: {html}")


def snapshot(name: str, manifest: Manifest, html: Any, as_json: bool) -> None:
    """A snapshot in short, or with --json its whole manifest."""
    from pipeline.report import index_page, words_page

    if as_json:
        document(
            {
                "snapshot": name,
                "rows": manifest.rows,
                "rejects": manifest.rejects(),
                "manifest": manifest.model_dump(mode="json"),
            }
        )
        return
    echo(
        f"snapshot {name}, made {manifest.created_at:%Y-%m-%d %H:%M:%S} UTC by run {manifest.run}"
        f", parent {manifest.parent}"
    )
    echo(
        f"{manifest.rows:,} products in {len(manifest.partitions)} partitions and "
        f"{len(manifest.shards.entries)} shards, {manifest.dim} dimensions"
    )
    for modality, encoder in (("text", manifest.text), ("image", manifest.image)):
        if encoder is not None:
            echo(f"{modality}: {encoder.fields['type']}, {encoder.dim} dimensions, identity {encoder.identity[:16]}")
    attributes = ", ".join(map(partial(_typed, manifest.attribute_types), manifest.attributes))
    echo(f"fusion: {manifest.fusion['type']}; attributes: {attributes or 'none'}")
    table(*index_page.index_table(manifest))
    for make in (
        index_page.accepted_table,
        index_page.notes_table,
        index_page.training_table,
        index_page.missing_table,
        index_page.ranker_table,
        index_page.categories_table,
        words_page.weight_table,
        words_page.words_table,
        index_page.identity_table,
    ):
        columns, rows = make(manifest)
        if rows:
            table(columns, rows)
    rejects = sorted(manifest.rejects().items())
    if rejects:
        table(["rejected for", "rows"], [[reason, f"{count:,}"] for reason, count in rejects])
    if html is not None:
        echo(f"page with the plots: {html}")


def verified(found: Verified, as_json: bool) -> None:
    """That a snapshot is whole."""
    what = f"snapshot {found.snapshot} is" if found.snapshots == 1 else f"all {found.snapshots} snapshots are"
    result(asdict(found), as_json, f"{what} whole: {found.files} files, {found.bytes / 1e6:,.1f} MB")
    for one in found.models if not as_json else ():
        echo(printable(f"model {one.model}, of {one.snapshots}: {one.state}{f', {one.detail}' if one.detail else ''}"))


def checks(done: Sequence[Check], as_json: bool) -> None:
    """What the doctor found."""
    if as_json:
        document([asdict(check) for check in done])
        return
    table(
        ["", "check", "found", "to do"],
        [["ok" if c.ok else "NO", c.name, c.found, "" if c.ok else c.fix] for c in done],
    )


def config(rows: Sequence[Row], as_json: bool) -> None:
    """The effective config with origins."""
    if as_json:
        document({row.key: {"value": row.value, "origin": row.origin} for row in rows})
        return
    width = max(len(row.key) for row in rows)
    for row in rows:
        echo(f"{row.key:{width}}  {json.dumps(row.value, ensure_ascii=False)}  # {row.origin}")


def _notices(notices: Iterable[Notice]) -> None:
    for one in notices:
        for line in one.lines():
            echo(printable(line))


def _partitions(rows: Iterable[Any]) -> None:
    listed = [
        [
            r.name,
            f"{r.rows:,}",
            r.index_type,
            str(r.nprobe or "-"),
            f"@{r.k} {r.recall:.3f}" if r.nprobe else "exact",
            "kept" if r.reused else f"{r.build_seconds:.1f} s",
        ]
        for r in rows
    ]
    table(["partition", "rows", "index", "nprobe", "recall", "built in"], listed)


def _typed(types: dict[str, str], name: str) -> str:
    """An attribute and its type, where that is not plain text."""
    kind = types.get(name, "string")
    return name if kind == "string" else f"{name} ({kind})"
