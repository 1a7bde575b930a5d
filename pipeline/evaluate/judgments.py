"""Queries and their judgments: read from Parquet, checked, and matched with what the store has, before any search."""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from encoders.names import clean_id, same_category
from foundation.errors import InputError
from pipeline.catalog.names import clean_ids
from pipeline.catalog.questions import Question, read_questions
from pipeline.catalog.user_tables import user_table
from pipeline.evaluate.exact_search import Part, ids_of

_NAMED = 5  # examples that a message names


@dataclass(frozen=True)
class JudgedQuery:
    """A query, the category that it asks in (None: all), and the gain of each product that was judged for it."""

    question: Question
    category: str | None
    gains: dict[str, float]

    @property
    def kind(self) -> str:
        """`text`, `photo` or `both`."""
        if self.question.image is None:
            return "text"
        return "photo" if self.question.text is None else "both"


@dataclass(frozen=True)
class AnswerableQuery:
    """A query that can be answered: `category` for the tables, `within` for the search (None: in all), gains by row
    number. `numbers` has the row numbers of all judged ids, the same for every query.
    """

    query: JudgedQuery
    category: str
    within: str | None
    gains: dict[int, float]
    numbers: Mapping[str, int]


@dataclass(frozen=True)
class Counts:
    """Queries and judgments: those given, and why some have no part in the figures."""

    queries: int
    other_category: int  # not of --category
    unjudged: int  # without any judgment
    unanswerable: int  # no product that is relevant can be found: no search could answer them
    evaluated: int
    judgments: int
    not_in_store: int
    outside_category: int  # of products beyond the category that the query asks in


def read_judged_queries(queries: Path, qrels: Path) -> list[JudgedQuery]:
    """Every query of `queries` (query_id, text, image, category) with its judgments of `qrels` (query_id, id, gain).

    InputError for anything that would make a figure mean something else than it says: unknown or repeated queries,
    repeated judgments, gains that are no whole number of 0 and more, no judged query at all.
    """
    questions = read_questions(queries)
    table = _table(queries, "--queries", ("query_id",), ("category",))
    names = _texts(table, "query_id", queries)
    _refuse_repeated(names, f"each query_id of {queries} once")
    has_category = "category" in table.column_names
    categories = _texts(table, "category", queries, null=True) if has_category else [None] * len(names)
    gains = _read_qrels(qrels, set(map(str, names)), queries)
    return [
        JudgedQuery(question, category, gains.get(str(name), {}))
        for question, name, category in zip(questions, names, categories, strict=True)
    ]


def _read_qrels(path: Path, known: set[str], queries: Path) -> dict[str, dict[str, float]]:
    table = _table(path, "--qrels", ("query_id", "id", "gain"))
    names, ids = _texts(table, "query_id", path), _texts(table, "id", path)
    ids = [clean_id(str(one)) for one in ids]  # as the catalog's are
    _refuse_repeated(list(zip(names, ids, strict=True)), f"each pair of query_id and id of {path} once")
    unknown = sorted({str(name) for name in names} - known)
    if unknown:
        raise InputError(
            f"judgments of queries that {queries} has",
            f"{len(unknown)} other query_id in {path}: {_some(unknown)}",
            "give the queries that were judged, or leave those judgments out",
        )
    found: dict[str, dict[str, float]] = {}
    for name, one, gain in zip(names, ids, _gains(table, path), strict=True):
        found.setdefault(str(name), {})[str(one)] = gain
    if not found:
        raise InputError("at least one judged query", f"{path} without rows", "judge some of the queries")
    return found


def _gains(table: pa.Table, path: Path) -> list[int]:
    column = table.column("gain")
    wrong = f"a column of {column.type}" if not pa.types.is_integer(column.type) else None
    if wrong is None and column.null_count:
        wrong = f"{column.null_count} null"
    if wrong is None and table.num_rows and pc.min(column).as_py() < 0:
        wrong = f"{pc.min(column).as_py()}"
    if wrong is not None:
        fix = "give 0 to what is not relevant, 1 and more to what is; leave out what was not judged"
        raise InputError(f"gain in {path}: whole numbers of 0 and more", wrong, fix)
    gains: list[int] = column.to_pylist()
    return gains


def _table(path: Path, option: str, needed: Sequence[str], more: Sequence[str] = ()) -> pa.Table:
    """The columns `needed`, which must be there, and those of `more` that are."""
    wanted = (*needed, *more)
    table, columns = user_table(path, option, wanted)
    missing = [name for name in needed if name not in columns]
    if missing:
        came = f"{path} without {', '.join(missing)}; it has {', '.join(columns)}"
        raise InputError(f"the columns {', '.join(needed)}", came, "rename the columns")
    return table


def _texts(table: pa.Table, name: str, path: Path, null: bool = False) -> list[str | None]:
    """A column of names as strings; numbers are taken as written."""
    column = table.column(name)
    try:
        texts: list[str | None] = column.cast(pa.string()).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as err:
        raise InputError(f"{name} in {path} as strings", f"{column.type}: {err}", "cast the column") from err
    if not null and column.null_count:
        raise InputError(f"a {name} in each row of {path}", f"{column.null_count} null", "name them or leave them out")
    return texts


def _refuse_repeated(names: Sequence[Any], expected: str) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        came = f"{len(repeated)} repeated: {_some(repeated)}"
        raise InputError(expected, came, "leave the repetitions out: they would count twice")


def _some(names: Sequence[Any]) -> str:
    more = ", ..." if len(names) > _NAMED else ""
    return ", ".join(map(repr, names[:_NAMED])) + more


# --- which queries, with which judgments ---


def category_of(category: str | None, parts: Sequence[Part], separators: Sequence[str]) -> str | None:
    """The partition that `category` means; itself where there is none, which is told later."""
    found = [] if category is None else same_category(category, [part.name for part in parts], separators)
    return found[0] if found else category


def answerable(
    queries: Sequence[JudgedQuery], parts: Sequence[Part], category: str | None
) -> tuple[list[AnswerableQuery], Counts]:
    """The queries that take part.

    Catalogs change while judgments stay, so what is not in the store is left out and counted: the figures say how good
    the search is; what a run lost is the matter of its rejects and gates. A query for which nothing relevant is left
    would score 0 in any search, and is left out for the same reason.
    """
    _known({one.category for one in queries}, parts)
    ids = sorted({one for query in queries for one in query.gains})
    there = pa.chunked_array([clean_ids(chunk) for chunk in ids_of(parts).chunks], pa.string())
    at = pc.index_in(pa.array(ids, pa.string()), value_set=there).to_pylist()
    numbers = {one: number for one, number in zip(ids, at, strict=True) if number is not None}
    count: Counter[str] = Counter()
    found = []
    for query in queries:
        one = _placed(query, numbers, parts, category, count)
        if one is not None:
            found.append(one)
    counts = Counts(
        queries=len(queries),
        other_category=count["other_category"],
        unjudged=count["unjudged"],
        unanswerable=count["unanswerable"],
        evaluated=len(found),
        judgments=sum(len(query.gains) for query in queries),
        not_in_store=sum(one not in numbers for query in queries for one in query.gains),
        outside_category=count["outside_category"],
    )
    if not found:
        raise InputError(
            "at least one query with a relevant product in the store",
            f"{len(queries)} queries: {counts.unjudged} unjudged, {counts.unanswerable} with nothing relevant there, "
            f"{counts.other_category} of another category; {counts.not_in_store} of {counts.judgments} judgments name "
            "a product that is not there",
            "give the judgments of this catalog's ids",
        )
    return found, counts


def _placed(
    query: JudgedQuery, numbers: Mapping[str, int], parts: Sequence[Part], category: str | None, count: Counter[str]
) -> AnswerableQuery | None:
    """The query with its judgments by row number; None, and counted, where it takes no part.

    Its category is the one that it asks in, else the one that has most of its gain (the first by name of several).
    """
    if not query.gains:
        count["unjudged"] += 1
        return None
    gains = {numbers[one]: gain for one, gain in query.gains.items() if one in numbers}
    firsts = [part.first for part in parts]
    place = {number: parts[bisect.bisect_right(firsts, number) - 1].name for number in gains}
    weight: defaultdict[str, float] = defaultdict(float)
    for number, gain in gains.items():
        weight[place[number]] += gain
    if not any(weight.values()):
        count["unanswerable"] += 1
        return None
    own = query.category or min(weight, key=lambda name: (-weight[name], name))
    if category not in (None, own):
        count["other_category"] += 1
        return None
    within = query.category or category
    inside = {number: gain for number, gain in gains.items() if within in (None, place[number])}
    count["outside_category"] += len(gains) - len(inside)
    if not any(inside.values()):
        count["unanswerable"] += 1
        return None
    return AnswerableQuery(query, own, within, inside, numbers)


def _known(categories: set[str | None], parts: Sequence[Part]) -> None:
    names = [part.name for part in parts]
    unknown = sorted(name for name in categories if name is not None and name not in names)
    if unknown:
        raise InputError(
            f"categories of the snapshot: {', '.join(names[:10])}",
            f"{len(unknown)} others in the queries: {', '.join(map(repr, unknown[:5]))}",
            "correct the column category, or make it null to ask in all",
        )
