"""Which of two snapshots answers better: the same judged queries to both, difference by difference.

Queries are answered as users ask them, with all that a snapshot's searches do. Each query is held against itself, so
that the interval of a difference is narrower than those of two evaluations: what makes a query hard is the same on both
sides. A product that only one of the two has counts where it is, see judgments.py.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from encoders.names import SEPARATOR
from foundation import ranking_metrics as metrics
from foundation.allocator import keep_memory
from foundation.errors import InputError
from lookup.hit import Hit
from lookup.query import Query
from lookup.search import Reader
from pipeline.catalog.clicks import read_clicks
from pipeline.catalog.question_photos import QuestionPhotos
from pipeline.catalog.questions import Question
from pipeline.compare.named_snapshots import Side, two_sides
from pipeline.evaluate.evaluation import PAGE, SEED, Interval, PerQuery, figures_of, groups_of, means_of, minus
from pipeline.evaluate.exact_search import Numbers, parts_of
from pipeline.evaluate.judgments import AnswerableQuery, JudgedQuery, answerable, category_of, read_judged_queries
from pipeline.evaluate.rankings import about, numbers_of, told_of_ranker

_TIE = 1e-9  # figures that differ by less are equal: they are sums of floats
FIRST = f"ndcg@{PAGE}"  # the figure by which queries are won and lost


@dataclass(frozen=True)
class Judged:
    """Where judgments come from: queries and qrels, or a click log, of which only `since` this day counts."""

    queries: Path | None = None
    qrels: Path | None = None
    clicks: Path | None = None
    since: datetime.date | None = None


@dataclass(frozen=True)
class ComparisonRequest:
    """What to compare: `first` and `second` as `two_sides` takes them. `k` is that of precision, recall and F1."""

    store: str
    first: str | None
    second: str | None
    judged: Judged
    k: int = 10
    category: str | None = None
    worst: int = 5


@dataclass(frozen=True)
class Difference:
    """One figure over the queries of a group: the means of A and B, B minus A, and in how many queries B is better,
    equal and worse.
    """

    a: float
    b: float
    difference: Interval
    wins: int
    ties: int
    losses: int

    @property
    def verdict(self) -> str:
        """`better` or `worse` where the interval of the difference excludes 0, else `not told apart`; of fewer than 10
        queries `too few to tell`.
        """
        if self.wins + self.ties + self.losses < metrics.FEWEST:
            return "too few to tell"
        if self.difference.low > 0:
            return "better"
        return "worse" if self.difference.high < 0 else "not told apart"


@dataclass(frozen=True)
class Group:
    """Queries of one kind; `category` None means all categories."""

    kind: str
    category: str | None
    queries: int
    figures: dict[str, Difference]


@dataclass(frozen=True)
class LostQuery:
    """A query that B answers worse: its nDCG in A and B, and the first hits of both with their judged gains."""

    question: Question
    kind: str
    figures: tuple[float, float]
    hits: tuple[list[Hit], list[Hit]]
    gains: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """Everything that was measured. `compared` queries can be answered in both; `only` are those that one of the two
    alone could answer; `clicks_left_out` counts rows of the log by what they lack.
    """

    sides: tuple[Side, Side]
    k: int
    seed: int
    resamples: int
    queries: int
    compared: int
    only: tuple[int, int]
    groups: list[Group]
    worst: list[LostQuery]
    clicks_left_out: dict[str, int]
    notes: list[str]  # what else to know of the figures


class _Asked(NamedTuple):
    """A side's answers, by the place of a query in the list: the query with its judgments, and its row numbers."""

    reader: Reader
    queries: dict[int, AnswerableQuery]
    found: dict[int, Numbers]


def compare_searches(request: ComparisonRequest) -> Comparison:
    """Ask both sides and measure; InputError when no query can be answered by both."""
    keep_memory()  # before torch is imported
    sides = two_sides(request.store, request.first, request.second)
    given, left_out = _judged(request.judged, sides)
    asked = [_asked(side, given, request) for side in sides]
    both = [at for at in asked[0].queries if at in asked[1].queries]
    if not both:
        came = f"{len(asked[0].queries)} that A can answer, {len(asked[1].queries)} that B can, and none of both"
        raise InputError("a query with a relevant product in both snapshots", came, "compare snapshots of one catalog")
    queries = [[one.queries[at] for at in both] for one in asked]
    found = [np.stack([one.found[at] for at in both]) for one in asked]
    groups = []
    for kind, category, rows in groups_of(queries[0]):
        a, b = (
            figures_of([those[i] for i in rows], ids[rows], request.k)
            for those, ids in zip(queries, found, strict=True)
        )
        groups.append(Group(kind, category, len(rows), _differences(a, b)))
    only = tuple(len(one.queries) - len(both) for one in asked)
    worst = _worst(asked, both, request)
    counts = len(given), len(both), (only[0], only[1])
    rankers = zip("AB", (one.reader.ranker for one in asked), strict=True)
    notes = [f"{name}, {told_of_ranker(ranker)}" for name, ranker in rankers if ranker is not None]
    return Comparison(sides, request.k, SEED, metrics.RESAMPLES, *counts, groups, worst, left_out, notes)


def _judged(judged: Judged, sides: tuple[Side, Side]) -> tuple[list[JudgedQuery], dict[str, int]]:
    if judged.clicks is None:
        if judged.since is not None:
            raise InputError("--since with --clicks", "--since alone", "leave --since out: judgments have no days")
        if judged.queries is None or judged.qrels is None:
            came = "neither" if judged.queries is None and judged.qrels is None else "one of --queries and --qrels"
            raise InputError("--queries and --qrels, or --clicks", came, "say what the searches are judged by")
        return read_judged_queries(judged.queries, judged.qrels), {}
    if judged.queries is not None or judged.qrels is not None:
        raise InputError("--queries and --qrels, or --clicks", "both", "leave one out")
    longest = max(side.store.manifest(side.snapshot).config["catalog"]["max_text_chars"] for side in sides)
    clicks = read_clicks(judged.clicks, longest)
    if judged.since is not None:
        days = clicks.days
        clicks = clicks.since(judged.since)
        if not clicks.table.num_rows:
            came = f"{judged.clicks} has {days[0]} to {days[-1]}"
            raise InputError(f"clicks of {judged.since} or later", came, "give an earlier --since")
    queries = [JudgedQuery(Question(query, query, None), None, gains) for query, gains in clicks.gains().items()]
    return queries, clicks.left_out


def _asked(side: Side, given: Sequence[JudgedQuery], request: ComparisonRequest) -> _Asked:
    """The answers of one side to all that it can answer."""
    manifest = side.store.manifest(side.snapshot)
    reader = Reader.of(side.store, side.snapshot, manifest)
    parts = parts_of(side.store, manifest)
    separators = manifest.config["catalog"].get("partition_separator", (SEPARATOR,))
    placed = [replace(one, category=category_of(one.category, parts, separators)) for one in given]
    try:
        queries, _ = answerable(placed, parts, category_of(request.category, parts, separators))
    except InputError as err:
        raise InputError(err.expected, f"in {side.name}: {err.came}", err.fix) from err
    place = {id(one): at for at, one in enumerate(placed)}
    by_place = {place[id(one.query)]: one for one in queries}
    depth = max(request.k, PAGE)
    found = {at: numbers_of(_hits(reader, one, depth), one.numbers, depth) for at, one in by_place.items()}
    return _Asked(reader, by_place, found)


def _hits(reader: Reader, one: AnswerableQuery, k: int) -> list[Hit]:
    question = one.query.question
    with about(question.name):
        photo = QuestionPhotos(reader.manifest).read(question.image)
        return reader.answer(Query(text=question.text, image=photo, category=one.within, k=k))


def _differences(a: PerQuery, b: PerQuery) -> dict[str, Difference]:
    gained = minus(b, a)
    means = means_of(gained)
    return {
        name: Difference(
            float(a[name].mean()),
            float(b[name].mean()),
            means[name],
            int((gains > _TIE).sum()),
            int((np.abs(gains) <= _TIE).sum()),
            int((gains < -_TIE).sum()),
        )
        for name, gains in gained.items()
    }


def _worst(asked: Sequence[_Asked], both: Sequence[int], request: ComparisonRequest) -> list[LostQuery]:
    """The queries that lose most nDCG from A to B, of equals the first given, with hits asked once more."""
    per_query = [
        [float(figures_of([one.queries[at]], one.found[at][None], request.k)[FIRST][0]) for at in both] for one in asked
    ]
    lost = np.array(per_query[1]) - np.array(per_query[0])
    order = [int(i) for i in np.argsort(lost, kind="stable") if lost[i] < -_TIE][: request.worst]
    worst = []
    for i in order:
        query = asked[0].queries[both[i]].query
        a, b = (_hits(one.reader, one.queries[both[i]], PAGE) for one in asked)
        worst.append(LostQuery(query.question, query.kind, (per_query[0][i], per_query[1][i]), (a, b), query.gains))
    return worst
