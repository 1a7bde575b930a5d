"""How well a published snapshot finds what judges called right, and where what it misses gets lost.

Each query is answered in several ways (pipeline/evaluate/rankings.py), so that the loss falls into its parts:

    text tower, photo tower   exact search over one tower's own vectors
    fused, exact              exact search over the embeddings: minus the tower, that is what fusion costs
    through the index         by vectors, as users get it: minus the exact search, that is what the index costs
    words                     by the lexical half alone, where the snapshot has one; queries with a text
    words and vectors         both halves, as users get them: minus the index, that is what words cost, or give
    re-ranked                 what they get of a snapshot with a re-ranker: minus the line before, what that gains
    late                      searches through the index, merged by rank; queries of both, when asked for
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from encoders.names import SEPARATOR
from foundation import ranking_metrics as metrics
from foundation.allocator import keep_memory
from foundation.errors import InputError
from foundation.ranking_metrics import Figures
from lookup.search import Reader
from pipeline.catalog.rows import ONE_PARTITION
from pipeline.evaluate.exact_search import Numbers, parts_of
from pipeline.evaluate.judgments import AnswerableQuery, Counts, answerable, category_of, read_judged_queries
from pipeline.evaluate.rankings import EXACT, HYBRID, INDEX, PHOTO, RANKED, TEXT, rankings

KINDS = ("text", "photo", "both")
PAGE = 10  # MRR and nDCG look at a first page of hits whatever k is, so that they compare
SEED = 1234  # any constant: the same answers give the same intervals
# Figure -> one value per query.
PerQuery = Mapping[str, Figures]


@dataclass(frozen=True)
class Request:
    """What to evaluate. `k` is that of precision, recall and F1."""

    store: str
    queries: Path
    qrels: Path
    k: int = 10
    category: str | None = None
    late: bool = False


@dataclass(frozen=True)
class Interval:
    """A mean over queries, and the bounds of its 95% bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Quality:
    """The figures of one way to answer queries of one kind; `category` None means all categories."""

    kind: str
    category: str | None
    way: str
    queries: int
    figures: dict[str, Interval]


@dataclass(frozen=True)
class Loss:
    """What is lost from one way to the next, query by query: positive where `after` is worse than `before`."""

    kind: str
    category: str | None
    part: str  # fusion, index, words or re-ranker
    before: str
    after: str
    queries: int
    figures: dict[str, Interval]


@dataclass(frozen=True)
class Evaluation:
    """Everything that was measured."""

    store: str
    snapshot: str
    k: int
    seed: int
    resamples: int
    counts: Counts
    quality: list[Quality]
    losses: list[Loss]
    notes: list[str]


def evaluate(request: Request) -> Evaluation:
    """Answer the judged queries from the published snapshot and measure; InputError when nothing can be measured."""
    keep_memory()  # before torch is imported
    given = read_judged_queries(request.queries, request.qrels)
    reader = Reader.open(request.store, None if request.category is None else [request.category])
    parts = parts_of(reader.store, reader.manifest)
    separators = reader.manifest.config["catalog"].get("partition_separator", (SEPARATOR,))
    given = [replace(one, category=category_of(one.category, parts, separators)) for one in given]
    queries, counts = answerable(given, parts, category_of(request.category, parts, separators))
    if request.late:
        _check_late(queries)
    ranked = rankings(reader, parts, queries, max(request.k, PAGE), request.late)
    quality: list[Quality] = []
    losses: list[Loss] = []
    for kind, category, group in groups_of(queries):
        measured = {
            way: figures_of([queries[i] for i in group], np.stack([found[i] for i in group]), request.k)
            for way, found in ranked.found.items()
            if all(i in found for i in group)
        }
        quality += [Quality(kind, category, way, len(group), means_of(rows)) for way, rows in measured.items()]
        losses += _losses(kind, category, len(group), measured)
    return Evaluation(
        request.store, reader.snapshot, request.k, SEED, metrics.RESAMPLES, counts, quality, losses, ranked.notes
    )


def _check_late(queries: Sequence[AnswerableQuery]) -> None:
    kinds = Counter(one.query.kind for one in queries)
    if not kinds["both"]:
        came = ", ".join(f"{number} of {kind}" for kind, number in sorted(kinds.items()) if number)
        raise InputError("queries of text and photo, whose two lists --late merges", came, "leave --late out")


def groups_of(queries: Sequence[AnswerableQuery]) -> list[tuple[str, str | None, list[int]]]:
    """(kind, category, the queries): each kind as a whole, then by category where the catalog has some. Kinds are
    never mixed: their mean would say how many there are of each.
    """
    groups: list[tuple[str, str | None, list[int]]] = []
    for kind in KINDS:
        here = [i for i, one in enumerate(queries) if one.query.kind == kind]
        names = sorted({queries[i].category for i in here})
        if names == [ONE_PARTITION]:
            names = []
        for name in [None, *names] if here else []:
            groups.append((kind, name, [i for i in here if name in (None, queries[i].category)]))
    return groups


def figures_of(queries: Sequence[AnswerableQuery], found: Numbers, k: int) -> PerQuery:
    """The figures of each query, from the (n, depth) row numbers that one way found."""
    gains = np.array(
        [[one.gains.get(number, 0) for number in row] for one, row in zip(queries, found.tolist(), strict=True)]
    )
    relevant = np.array([sum(gain > 0 for gain in one.gains.values()) for one in queries], dtype=np.int64)
    judged = np.zeros((len(queries), max(len(one.gains) for one in queries)))
    for row, one in zip(judged, queries, strict=True):
        row[: len(one.gains)] = list(one.gains.values())
    precision, recall = metrics.precision(gains, k), metrics.recall(gains, relevant, k)
    return {
        "precision@1": metrics.precision(gains, 1),
        f"precision@{k}": precision,
        f"recall@{k}": recall,
        f"f1@{k}": metrics.f1(precision, recall),
        f"mrr@{PAGE}": metrics.reciprocal_rank(gains, PAGE),
        f"ndcg@{PAGE}": metrics.ndcg(gains, judged, PAGE),
    }


def means_of(figures: PerQuery) -> dict[str, Interval]:
    """The mean of each figure over all queries, with its interval."""
    values = np.stack(list(figures.values()), axis=1)
    bounds = metrics.intervals(values, SEED)
    rows = zip(values.mean(axis=0).tolist(), *(bound.tolist() for bound in bounds), strict=True)
    return {name: Interval(*row) for name, row in zip(figures, rows, strict=True)}


def _losses(kind: str, category: str | None, queries: int, measured: Mapping[str, PerQuery]) -> list[Loss]:
    """Tower to fusion, fusion to index, what words make of that, and a re-ranker of both; a query of both is held
    against the tower that does better by nDCG.
    """
    steps = [("index", EXACT, INDEX)]
    towers = [way for way in (TEXT, PHOTO) if way in measured]
    if towers:
        best = max(towers, key=lambda way: float(measured[way][f"ndcg@{PAGE}"].mean()))
        steps.insert(0, ("fusion", best, EXACT))
    if HYBRID in measured:
        steps.append(("words", INDEX, HYBRID))
    if RANKED in measured:
        steps.append(("re-ranker", HYBRID if HYBRID in measured else INDEX, RANKED))
    return [
        Loss(kind, category, part, before, after, queries, means_of(minus(measured[before], measured[after])))
        for part, before, after in steps
    ]


def minus(before: PerQuery, after: PerQuery) -> PerQuery:
    """What is lost from `before` to `after`, query by query."""
    return {name: rows - after[name] for name, rows in before.items()}
