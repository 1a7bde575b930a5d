"""`vitrine eval --sessions`: what a shopper's history gains, in a table and in one JSON document."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from foundation.errors import InputError
from pipeline.engine.printing import document, echo, printable, table
from pipeline.evaluate.page import difference_cell, figure_names, mean_cell
from pipeline.evaluate.sessions import (
    ALONE,
    FIRST,
    MIXES,
    Gained,
    SessionsMeasured,
    SessionsRequest,
    measure_sessions,
)


def evaluate_sessions(
    store: str,
    sessions: Path,
    since: datetime.date | None,
    mixes: Sequence[float],
    others: Mapping[str, Any],
    as_json: bool,
) -> None:
    """Measure and print; InputError where an option of `others` is given that is one of judged queries."""
    taken = [f"--{name}" for name in ("queries", "qrels", "late", "html") if others[name]]
    if taken:
        raise InputError("--sessions, or judged queries", f"both: {', '.join(taken)}", "leave one out")
    tried = sorted(set(mixes)) or MIXES
    found = measure_sessions(SessionsRequest(store, sessions, others["k"], others["category"], since, tried))
    if as_json:
        document({**asdict(found), "rows": [{**asdict(row), "verdict": row.verdict} for row in found.rows]})
        return
    for line in _lines(found):
        echo(printable(line))
    names = figure_names(found.rows[0].figures)
    columns = ["asked by", "days", "mix", "counted", "n", *names, f"gain in {figure_names({FIRST: 0})[0]}", ""]
    table(columns, [_cells(row) for row in found.rows])
    for line in _verdicts(found):
        echo(line)


def _lines(found: SessionsMeasured) -> list[str]:
    left = ", ".join(f"{count:,} {why.replace('_', ' ')}" for why, count in found.left_out.items())
    split = "all are of one day: nothing is held out"
    if found.held_out_since is not None:
        split = f"held out: sessions that end on {found.held_out_since} or later"
    return [
        f"snapshot {found.snapshot}: {found.asked:,} of {found.sessions:,} sessions asked{f'; {left}' if left else ''}",
        f"{split}; 95% bootstrap intervals over sessions ({found.resamples:,} resamples, seed {found.seed})",
    ]


def _cells(row: Gained) -> list[str]:
    figures = map(mean_cell, row.figures.values())
    mix = "-" if row.mix is None else f"{row.mix:g}"
    name = row.kind if row.mix != 0 else "newest product" if row.kind == ALONE else f"{row.kind}, no history"
    gained = ["", ""] if row.mix == 0 else [difference_cell(row.gained[FIRST]), row.verdict]
    return [name, row.part, mix, f"{row.counted:.2f}", f"{row.sessions:,}", *figures, *gained]


def _verdicts(found: SessionsMeasured) -> list[str]:
    if found.best is None:
        return ["no session that was asked ends with a query: what a history gains beside one cannot be told"]
    chosen = "all days" if found.held_out_since is None else "the earlier days"
    judged = "all days" if found.held_out_since is None else "the held-out days"
    best = f"mix {found.best:g}" if found.best else "no history"
    kept = ", ".join(f"{mix:g}" for mix in found.never_below) or "none of them"
    return [f"best on {chosen}: {best}", f"not below no history on {judged}, its interval included: mix {kept}"]
