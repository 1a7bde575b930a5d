"""Where a re-ranker's judgments come from, queries that were judged or a log of clicks, and which are held out.

Of clicks of several days the last ones are held out, for that is what a model meets: what shoppers do after it was
learned. Of one day, and of judgments, queries are held out in folds, what was asked twice on one side.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

from blake3 import blake3

from encoders.names import SEPARATOR
from foundation.errors import InputError
from lookup.store.manifest import Manifest
from pipeline.catalog.clicks import Clicks, read_clicks
from pipeline.catalog.questions import Question
from pipeline.evaluate.exact_search import Part
from pipeline.evaluate.judgments import (
    AnswerableQuery,
    Counts,
    JudgedQuery,
    answerable,
    category_of,
    read_judged_queries,
)
from pipeline.train.rank_lessons import Lesson

FOLDS = 5
_LATER = 0.2  # share of the days that are held out, one at least
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """The files of judged queries, queries and qrels, or a log of clicks."""

    judged: tuple[Path, Path] | None = None
    clicks: Path | None = None


@dataclass(frozen=True)
class Judged:
    """Queries that can be answered; of clicks of several days also what was chosen on `earlier` and `later` days, by
    the text of the query. `left_out` counts rows of the log.
    """

    queries: list[AnswerableQuery]
    counts: Counts
    earlier: Mapping[str, AnswerableQuery] = field(default_factory=dict)
    later: Mapping[str, AnswerableQuery] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def split(self) -> Literal["query", "day"]:
        """What is held out."""
        return "day" if self.later else "query"


class Split(NamedTuple):
    """Lessons to learn from, and those to compare on."""

    learned: list[Lesson]
    held_out: list[Lesson]


def judged_queries(source: Source, manifest: Manifest, parts: Sequence[Part]) -> Judged:
    """The queries of `source` that the snapshot can answer; InputError where there are none, or both are given."""
    if (source.judged is None) == (source.clicks is None):
        came = "neither" if source.judged is None else "both"
        raise InputError("--judged QUERIES QRELS, or --clicks LOG", came, "say what to learn from")
    if source.judged is not None:
        return Judged(*_answerable(read_judged_queries(*source.judged), manifest, parts))
    assert source.clicks is not None
    clicks = read_clicks(source.clicks, manifest.config["catalog"]["max_text_chars"])
    queries, counts = _answerable(_asked(clicks), manifest, parts)
    days = clicks.days
    if len(days) < 2:
        _log.warning("all clicks are of %s: queries are held out, where of several days the last ones are", days[0])
        return Judged(queries, counts, left_out=clicks.left_out)
    first = days[-max(1, round(_LATER * len(days)))]
    sides = []
    for name, some in (("before", clicks.before(first)), ("since", clicks.since(first))):
        try:
            found, _ = _answerable(_asked(some), manifest, parts)
        except InputError as err:
            raise InputError(err.expected, f"of clicks {name} {first}: {err.came}", err.fix) from err
        sides.append({one.query.question.name: one for one in found})
    return Judged(queries, counts, sides[0], sides[1], clicks.left_out)


def splits_of(lessons: Sequence[Lesson], judged: Judged) -> list[Split]:
    """What is learned from, and what is compared on: once of days, in FOLDS ways of queries, each held out once."""
    if judged.later:
        sides = [
            [one.judged_by(side[one.name]) for one in lessons if one.name in side]
            for side in (judged.earlier, judged.later)
        ]
        return [Split(*sides)]
    groups = sorted({one.group for one in lessons}, key=lambda group: blake3(group.encode()).digest())
    fold = {group: at % FOLDS for at, group in enumerate(groups)}
    return [
        Split([one for one in lessons if fold[one.group] != at], [one for one in lessons if fold[one.group] == at])
        for at in range(min(FOLDS, len(groups)))
    ]


def refuse_few(lessons: Sequence[Lesson], splits: Sequence[Split], top: int) -> None:
    """InputError where there is nothing to learn, or nothing to compare on."""
    taught = [one for one in lessons if one.teaches]
    if not taught:
        raise InputError(
            f"queries with a candidate that is worth more than others, among the first {top} of each",
            f"{len(lessons):,} queries, in each of which all candidates are worth the same",
            "judge some products that the search finds; give 0 to what is not relevant, or leave it out",
        )
    groups = len({one.group for one in taught})
    if groups < FOLDS or any(not any(one.teaches for one in split.learned) for split in splits):
        raise InputError(
            f"{FOLDS} different queries or more that teach something, some of them to hold out",
            f"{groups:,} of {len(lessons):,} queries",
            "judge more queries: some hundreds are needed to tell whether a re-ranker helps",
        )


# --- inside ---


def _asked(clicks: Clicks) -> list[JudgedQuery]:
    return [JudgedQuery(Question(query, query, None), None, gains) for query, gains in clicks.gains().items()]


def _answerable(
    given: Sequence[JudgedQuery], manifest: Manifest, parts: Sequence[Part]
) -> tuple[list[AnswerableQuery], Counts]:
    separators = manifest.config["catalog"].get("partition_separator", (SEPARATOR,))
    placed = [replace(one, category=category_of(one.category, parts, separators)) for one in given]
    return answerable(placed, parts, None)
