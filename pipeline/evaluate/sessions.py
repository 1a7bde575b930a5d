"""What a shopper's history gains, on a log of sessions: each one's last product is looked for by its query, with what
was looked at before and without it.

Each session is held against itself. The share of the history, `mix`, is chosen on the earlier days and measured on the
days that were held out, so that the choice cannot flatter itself. Sessions whose last product was found by no query
have nothing to be asked without a history: there the history is held against the product looked at last.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from foundation import ranking_metrics as metrics
from foundation.allocator import keep_memory
from foundation.errors import InputError
from lookup.query import Query
from lookup.search import Reader
from pipeline.catalog.sessions import Session, read_sessions
from pipeline.evaluate.evaluation import PAGE, SEED, Interval, PerQuery, means_of, minus
from pipeline.evaluate.rankings import about

MIXES = (0.05, 0.1, 0.2, 0.3, 0.4)
MOST = 1000  # sessions of the held-out days that are asked, and as many of the others
LOOKS = 50  # of a history: what is older weighs a hundred-thousandth of it
HELD_OUT = 0.2  # of the days, the last ones, one at least
FIRST = f"ndcg@{PAGE}"  # the figure by which a share is chosen
Part = Literal["earlier", "held out", "all"]
WITH_QUERY, ALONE = "query", "history alone"


@dataclass(frozen=True)
class SessionsRequest:
    """What to measure. `since` is the first day that is held out; None: the last fifth of the days."""

    store: str
    sessions: Path
    k: int = 10
    category: str | None = None
    since: datetime.date | None = None
    mixes: Sequence[float] = MIXES
    most: int = MOST


@dataclass(frozen=True)
class Gained:
    """The figures of some sessions with a history of share `mix` (None: asked by alone), and what they are more than
    without it. `counted` is the mean of what the history counted, as far as its products agree.
    """

    kind: str
    part: Part
    mix: float | None
    sessions: int
    counted: float
    figures: dict[str, Interval]
    gained: dict[str, Interval]

    @property
    def verdict(self) -> str:
        """`better` or `worse` where the interval of the gain in nDCG excludes 0, else `not told apart`; of fewer than
        10 sessions `too few to tell`.
        """
        if self.sessions < metrics.FEWEST:
            return "too few to tell"
        if self.gained[FIRST].low > 0:
            return "better"
        return "worse" if self.gained[FIRST].high < 0 else "not told apart"


@dataclass(frozen=True)
class SessionsMeasured:
    """Everything that was measured. `best` is the share with the most nDCG on the earlier days, 0 for none of them;
    `never_below` are those whose interval on the held-out days has nothing below 0; without held-out days both are of
    all sessions. `left_out` counts sessions by why they were not asked, and rows of the log by what they lack.
    """

    store: str
    snapshot: str
    k: int
    seed: int
    resamples: int
    held_out_since: datetime.date | None
    sessions: int
    asked: int
    left_out: dict[str, int]
    rows: list[Gained]
    best: float | None
    never_below: list[float]


@dataclass(frozen=True)
class _Answers:
    """Of sessions of one kind and part: (n, depth) gains by share, None for the history alone, and 0 without."""

    gains: dict[float | None, list[list[float]]]
    counted: dict[float | None, list[float]]


def measure_sessions(request: SessionsRequest) -> SessionsMeasured:
    """Ask and measure; InputError when no session can be asked."""
    keep_memory()  # before torch is imported
    reader = Reader.open(request.store)
    log = read_sessions(request.sessions, reader.manifest.config["catalog"]["max_text_chars"])
    left_out = Counter({f"{why}_rows": rows for why, rows in log.left_out.items()})
    given = _answerable(reader, log.sessions, left_out)
    days = sorted({one.day for one in given})
    since = _first_held_out(days, request.since)
    parts: dict[Part, list[Session]] = {"all": given} if since is None else {
        "earlier": [one for one in given if one.day < since],
        "held out": [one for one in given if one.day >= since],
    }  # fmt: skip
    rows, asked = [], 0
    for part, several in parts.items():
        chosen = _drawn(several, request.most)
        left_out["not_drawn"] += len(several) - len(chosen)
        asked += len(chosen)
        for kind in (WITH_QUERY, ALONE):
            mine = [one for one in chosen if (one.query is not None) == (kind == WITH_QUERY)]
            if mine:
                rows += _gained(kind, part, _ask(reader, mine, request), request.k)
    chosen_on, judged_on = ("all", "all") if since is None else ("earlier", "held out")
    by_query = [row for row in rows if row.kind == WITH_QUERY and row.mix]
    learned = [row for row in by_query if row.part == chosen_on]
    best = max(learned, key=lambda row: row.gained[FIRST].mean, default=None)
    never_below = [
        row.mix
        for row in by_query
        if row.mix and row.part == judged_on and row.gained[FIRST].low >= 0 and row.sessions >= metrics.FEWEST
    ]
    return SessionsMeasured(
        request.store,
        reader.snapshot,
        request.k,
        SEED,
        metrics.RESAMPLES,
        since,
        len(log.sessions),
        asked,
        dict(+left_out),
        rows,
        None if best is None else best.mix if best.gained[FIRST].mean > 0 else 0.0,
        never_below,
    )


def _answerable(reader: Reader, sessions: Sequence[Session], left_out: Counter[str]) -> list[Session]:
    """The sessions that have a history, and a last product that is in the store and can be a hit."""
    ids = sorted({one.wanted for one in sessions})
    there = {one for one, known in zip(ids, reader.known(ids), strict=True) if known}
    kept = []
    for one in sessions:
        if not one.looked_at:
            left_out["of_one_product"] += 1
        elif one.wanted not in there:
            left_out["last_product_not_in_store"] += 1
        elif one.query is None and one.wanted in one.looked_at:  # by a history alone it is no hit
            left_out["last_product_looked_at_before"] += 1
        else:
            kept.append(one)
    if not kept:
        came = ", ".join(f"{count:,} {why.replace('_', ' ')}" for why, count in left_out.items() if count)
        expected = "a session of two products or more, the last of them in the store"
        raise InputError(expected, came or "no sessions", "give the log of the shop whose catalog this is")
    return kept


def _first_held_out(days: Sequence[datetime.date], since: datetime.date | None) -> datetime.date | None:
    """The first day that is held out; None where all are of one day."""
    if since is None:
        return None if len(days) == 1 else days[-max(1, round(HELD_OUT * len(days)))]
    if not days[0] < since <= days[-1]:
        came = f"{since}; the sessions end on {days[0]} to {days[-1]}"
        raise InputError("--since with sessions before it and from it on", came, "give a day between these")
    return since


def _drawn(sessions: list[Session], most: int) -> list[Session]:
    """`most` of them, drawn by the seed, in their order."""
    if len(sessions) <= most:
        return sessions
    chosen = np.sort(np.random.default_rng(SEED).choice(len(sessions), most, replace=False))
    return [sessions[at] for at in chosen.tolist()]


def _ask(reader: Reader, sessions: Sequence[Session], request: SessionsRequest) -> _Answers:
    """The gains of each session's hits, 1 for its last product, by each share of the history."""
    depth = max(request.k, PAGE)
    mixes: list[float | None] = [0.0, *request.mixes] if sessions[0].query is not None else [0.0, None]
    found = _Answers({mix: [] for mix in mixes}, {mix: [] for mix in mixes})
    for one in sessions:
        looked_at = one.looked_at[-LOOKS:]
        with about(f"session {one.name}"):
            for mix in mixes:
                if one.query is None:  # without history: by the product looked at last
                    query = Query(history=looked_at if mix is None else looked_at[-1:], k=depth)
                else:
                    query = Query(one.query, category=request.category, history=looked_at, mix=mix or 0.0, k=depth)
                answer = reader.found(query)
                gains = [float(hit.id == one.wanted) for hit in answer.hits]
                found.gains[mix].append(gains + [0.0] * (depth - len(gains)))
                found.counted[mix].append(answer.history or 0.0)
    return found


def _gained(kind: str, part: Part, found: _Answers, k: int) -> list[Gained]:
    base, rows = _figures(found.gains[0.0], k), []
    for mix, gains in found.gains.items():
        figures = _figures(gains, k)
        gained = means_of(minus(figures, base))
        rows.append(Gained(kind, part, mix, len(gains), float(np.mean(found.counted[mix])), means_of(figures), gained))
    return rows


def _figures(gains: Sequence[Sequence[float]], k: int) -> PerQuery:
    """By session: of one right product the recall is whether it was found."""
    shown = np.array(gains)
    one = np.ones((len(shown), 1), np.int64)
    return {
        f"recall@{k}": metrics.recall(shown, one[:, 0], k),
        f"mrr@{PAGE}": metrics.reciprocal_rank(shown, PAGE),
        FIRST: metrics.ndcg(shown, one, PAGE),
    }
