"""The page of a run for people: `report.html`."""

from __future__ import annotations

from foundation.reasons import fix_of
from lookup.page import duration, render
from pipeline.report.run_report import RunReport, Step


def page_of(report: RunReport, before: RunReport | None = None) -> bytes:
    """The page, one HTML file that needs nothing beside it; `before` is the night before."""
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
