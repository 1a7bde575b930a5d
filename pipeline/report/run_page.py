"""The page of a run for people, `report.html`: what happened, what to do, then tonight beside the night before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from foundation.reasons import fix_of
from lookup.page import duration, not_shown, render
from pipeline.report.golden_rows import GoldenRow
from pipeline.report.index_page import plot_of
from pipeline.report.page_photos import Example
from pipeline.report.run_report import Loss, PartitionRow, RunReport, Step

_MOST_PLOTS = 24  # of the largest partitions


@dataclass(frozen=True)
class Beside:
    """What a page shows beside the run itself, as far as it is known: the night before, examples of what was rejected,
    by (reason, detail), and golden queries of both nights.
    """

    before: RunReport | None = None
    examples: Mapping[tuple[str, str], Sequence[Example]] = field(default_factory=dict)
    golden: Sequence[GoldenRow] = ()


def page_of(report: RunReport, beside: Beside | None = None) -> bytes:
    """The page, one HTML file that needs nothing beside it."""
    beside = beside or Beside()
    before = beside.before
    return render(
        "pipeline/report/report.html",
        ["lookup/page.css", "pipeline/report/plots.css", "pipeline/report/report.css"],
        extra_style=_bars(report.steps),
        heading=f"Run {report.run}",
        report=report,
        beside=beside,
        happened=_happened(report, before),
        todo=_todo(report),
        nights=_nights(report, before) if before and report.partitions else [],
        gates_before={} if before is None else {(one.name, one.partition): one.value for one in before.gates},
        losses_before={} if before is None else {_kind(one): one.rows for one in before.details},
        partitions_before={} if before is None else {one.name: one for one in before.partitions},
        kind_of=_kind,
        not_shown=not_shown(photo for row in beside.golden for photo in row.photos),
        plots=[_plot(one) for one in sorted(report.partitions, key=lambda one: -one.rows)[:_MOST_PLOTS] if one.curve],
        duration_of=duration,
        fix_of=fix_of,
        figure=_figure,
        change=_change,
        size=_size,
    )


# --- what happened, and what to do ---


def _happened(report: RunReport, before: RunReport | None) -> str:
    """In one sentence."""
    of = f"category {report.category}: " if report.category is not None else ""
    if report.status == "published":
        more = "" if before is None else f", {_change(report.rows_in_snapshot, before.rows_in_snapshot)}"
        return f"{of}Published. {report.rows_in_snapshot:,} products can be found{more}."
    if report.status == "unchanged":
        return f"{of}Nothing changed. {report.rows_in_snapshot:,} products can be found, as before."
    if report.status == "superseded":
        return f"{of}Not needed. Another run published newer work meanwhile, which is served."
    served = f"snapshot {report.parent} is served, as before" if report.parent else "nothing is served yet"
    ended = "A gate refused it" if report.status == "refused" else f"It failed, exit code {report.exit_code}"
    return f"{of}Not published. {ended}; {served}."


def _todo(report: RunReport) -> list[str]:
    """What a person has to do, the most urgent first; empty: nothing."""
    stopped = [f"{one.place}: {one.advice}" for one in report.gates if one.stops]
    if stopped:
        return [*stopped, "Then run again. What was encoded and built is used again."]
    if not report.succeeded:
        fix = (report.error or "").rpartition("to do: ")[2].strip()
        return [fix or "Read log.txt beside this page."]
    accepted = [f"{one.place} was accepted although it failed: {one.advice}" for one in report.gates if one.accepted]
    return [*accepted, *(f"{one.key}: {one.fix}" for one in report.warnings)]


# --- beside the night before ---


def _nights(report: RunReport, before: RunReport) -> list[tuple[str, str, str, str]]:
    """(what, tonight, the night before, change)"""
    counts = [
        ("products that can be found", "rows_in_snapshot"),
        ("rows read", "rows_in"),
        ("rows embedded", "rows_embedded"),
        ("rows rejected", "rows_rejected"),
        ("rows degraded", "rows_degraded"),
        ("photos", "photos"),
        ("photos lost", "photos_lost"),
        ("texts encoded", "texts_encoded"),
        ("photos encoded", "photos_encoded"),
    ]
    rows = []
    for said, name in counts:
        mine, theirs = getattr(report, name), getattr(before, name)
        rows.append((said, f"{mine:,}", f"{theirs:,}", _change(mine, theirs)))
    sizes = [("bytes of the snapshot", "snapshot_bytes"), ("bytes added to the store", "bytes_added")]
    for said, name in sizes:
        mine, theirs = getattr(report, name), getattr(before, name)
        rows.append((said, _size(mine), _size(theirs), _size(mine - theirs, signed=True)))
    took = duration(report.seconds), duration(before.seconds)
    return [*rows, ("time", *took, _share(report.seconds, before.seconds))]


def _kind(loss: Loss) -> tuple[str, str, str]:
    return loss.outcome, loss.reason, loss.detail


def _plot(row: PartitionRow) -> dict[str, Any]:
    return plot_of(f"{row.name} ({row.index_type})", row.k, (row.nprobe, row.refine_factor), row.curve)


def _bars(steps: tuple[Step, ...]) -> str:
    """CSS, because the page's policy allows no style attributes: each bar begins where the one before it ends."""
    total = sum(step.seconds for step in steps) or 1.0
    begin, rules = 0.0, []
    for position, step in enumerate(steps, start=1):
        left, width = 100 * begin / total, 100 * step.seconds / total
        rules.append(f"#bar{position} {{ margin-left: {left:.3f}%; width: {width:.3f}%; }}\n")
        begin += step.seconds
    return "".join(rules)


# --- figures for people ---


def _change(mine: float, theirs: float) -> str:
    """`+12 (+0.4%)`, or `as before`."""
    if mine == theirs:
        return "as before"
    return f"{mine - theirs:+,.6g} ({_share(mine, theirs)})" if theirs else f"{mine - theirs:+,.6g}"


def _share(mine: float, theirs: float) -> str:
    return f"{100 * (mine - theirs) / theirs:+.1f}%" if theirs else "-"


def _figure(value: float) -> str:
    """A number for people, precise enough that a failed figure does not look like its bound."""
    return f"{value:,.0f}" if abs(value) >= 1000 and value == round(value) else f"{value:.6g}"


def _size(n: int, signed: bool = False) -> str:
    """Bytes for people: `14.2 MB`."""
    size, sign = float(abs(n)), "-" if n < 0 else "+" if signed else ""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{sign}{size:.3g} {unit}"
        size /= 1000
    return f"{sign}{size:.3g} TB"
