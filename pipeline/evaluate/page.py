"""An evaluation for people: tables for the terminal, and one offline page with the plot and the same tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

from lookup.page import put_page, render
from pipeline.evaluate.evaluation import KINDS, Evaluation, Interval, Loss, Quality

Table = tuple[list[str], list[list[str]]]


def quality_table(evaluation: Evaluation) -> Table:
    """(columns, rows) of every way's figures: `mean low-high`."""
    rows = [
        [one.kind, _category(one.category), one.way, f"{one.queries:,}", *map(mean_cell, one.figures.values())]
        for one in evaluation.quality
    ]
    return ["query", "category", "answered by", "n", *figure_names(evaluation.quality[0].figures)], rows


def loss_table(evaluation: Evaluation) -> Table:
    """(columns, rows) of what fusion and index cost: `mean low..high`, positive where something is lost."""
    rows = [
        [one.kind, _category(one.category), _step(one), *map(difference_cell, one.figures.values())]
        for one in evaluation.losses
    ]
    return ["query", "category", "lost by", *figure_names(evaluation.losses[0].figures)], rows


def counted(evaluation: Evaluation) -> list[str]:
    """What was evaluated and what was left out, in sentences."""
    counts = evaluation.counts
    left = {
        "without judgments": counts.unjudged,
        "with nothing relevant in reach": counts.unanswerable,
        "of other categories": counts.other_category,
    }
    lost = {"name products that are not in the store": counts.not_in_store}
    lost["name products outside the category asked in"] = counts.outside_category
    return [
        f"snapshot {evaluation.snapshot}: {counts.evaluated:,} of {counts.queries:,} queries evaluated{_listed(left)}",
        f"{counts.judgments:,} judgments{_listed(lost)}",
        _how(evaluation),
        *evaluation.notes,
    ]


def _how(measured: Evaluation) -> str:
    drawn = f"{measured.resamples:,} resamples, seed {measured.seed}"
    return f"means over queries, with 95% bootstrap intervals ({drawn})"


def write_report(path: Path, evaluation: Evaluation) -> None:
    """Write the page to `path`, in one step also where one stands; InputError where it cannot be written."""
    html = render(
        "pipeline/evaluate/evaluation.html",
        ["lookup/page.css", "pipeline/report/report.css", "pipeline/report/plots.css"],
        heading="Search quality",
        note=counted(evaluation),
        plots=_plots(evaluation),
        quality=quality_table(evaluation),
        losses=loss_table(evaluation),
    )
    put_page(path, html, "figures")


# --- the plot: for each kind of query a panel per figure, in it a line per way with its interval ---


def _plots(evaluation: Evaluation) -> list[dict[str, Any]]:
    plots = []
    for kind in KINDS:
        lines = [one for one in evaluation.quality if one.kind == kind and one.category is None]
        if lines:
            plots.append({"kind": kind, "queries": lines[0].queries, "panels": _panels(lines)})
    return plots


def _panels(lines: Sequence[Quality]) -> list[dict[str, Any]]:
    names = list(lines[0].figures)
    return [{"name": name, "lines": [{"way": one.way, **asdict(one.figures[name])} for one in lines]} for name in names]


# --- cells ---


_SPELLED = {"mrr": "MRR", "ndcg": "nDCG", "f1": "F1"}


def figure_names(figures: Mapping[str, object]) -> list[str]:
    """The figures' names as papers write them."""
    parts = (name.split("@") for name in figures)
    return [f"{_SPELLED.get(figure, figure)}@{k}" for figure, k in parts]


def mean_cell(figure: Interval) -> str:
    """`mean low-high`."""
    return f"{figure.mean:.3f} {figure.low:.2f}-{figure.high:.2f}"


def difference_cell(figure: Interval) -> str:
    """`mean low..high`."""
    mean, low, high = (round(value, digits) + 0.0 for value, digits in zip(astuple(figure), (3, 2, 2), strict=True))
    return f"{mean:.3f} {low:.2f}..{high:.2f}"  # + 0.0: no minus before a zero


def _step(loss: Loss) -> str:
    """The part; for fusion of text and photo with the tower that it is held against."""
    return f"fusion ({loss.before.split()[0]})" if loss.part == "fusion" and loss.kind == "both" else loss.part


def _category(name: str | None) -> str:
    return "all" if name is None else name


def _listed(counts: Mapping[str, int]) -> str:
    said = [f"{number:,} {what}" for what, number in counts.items() if number]
    return f"; {', '.join(said)}" if said else ""
