"""What a re-ranker learns from: the first candidates of judged queries, their features, and what each was worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from foundation.errors import InputError
from foundation.liveness import beat
from lookup.lexical.analysis import Analysis
from lookup.query import Query
from lookup.rerank.features import FEATURES, attribute_features
from lookup.rerank.models import Matrix
from lookup.rerank.rerank import Features
from lookup.rerank.values import kind_of
from lookup.search import Reader
from lookup.store.manifest import Manifest
from pipeline.catalog.question_photos import QuestionPhotos
from pipeline.engine.progress import Progress
from pipeline.evaluate.exact_search import Numbers, Part
from pipeline.evaluate.judgments import AnswerableQuery
from pipeline.evaluate.rankings import about

Gains = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Lesson:
    """A query's candidates, best first: `numbers` (n,) int64 of their rows, `features` (n, m) float64, `gains` (n,)
    float64, 0 where it was not judged, and all judged gains, those of products that are no candidates too. Queries of
    one `group` are one query.
    """

    name: str
    group: str
    kind: str
    numbers: Numbers
    features: Matrix
    gains: Gains
    judged: tuple[float, ...]

    @property
    def teaches(self) -> bool:
        """Whether some candidates are worth more than others."""
        return len(self.gains) > 0 and bool(self.gains.max() > self.gains.min())

    def judged_by(self, query: AnswerableQuery) -> Lesson:
        """The same, by the judgments of `query`."""
        return replace(self, gains=_gains(query, self.numbers), judged=tuple(map(float, query.gains.values())))

    def of(self, columns: Sequence[int]) -> Lesson:
        """The same, of some features."""
        return replace(self, features=self.features[:, list(columns)])


def features_of(reader: Reader, chosen: Sequence[str] | None) -> Features:
    """What may be seen of the snapshot's candidates: all stated features that it can give, and of attributes those
    `chosen`, None for all that are numbers, prices, booleans, dates or times.
    """
    manifest = reader.manifest
    kinds = _kinds(manifest, chosen)
    title = title_of(manifest)
    names = [name for name, one in FEATURES.items() if title is not None or one.of != "words"]
    names += [feature for name in kinds for feature in attribute_features(name)]
    languages = (manifest.config.get("lexical") or {}).get("languages", Analysis().languages)
    return Features.of(reader.opened, names, title, languages, kinds)


def title_of(manifest: Manifest) -> str | None:
    """The attribute that names a product: the first of the catalog's texts that hits carry."""
    texts = manifest.config["catalog"].get("text", ())
    return next((one for one in texts if one in manifest.attributes), None)


def lessons_of(
    reader: Reader,
    queries: Sequence[AnswerableQuery],
    parts: Sequence[Part],
    features: Features,
    top: int,
    progress: Progress | None,
) -> list[Lesson]:
    """Ask each query as users do, up to the re-ranker."""
    firsts = {part.name: part.first for part in parts}
    photos = QuestionPhotos(reader.manifest)
    found = list[Lesson]()
    for done, one in enumerate(queries, 1):
        question = one.query.question
        with about(question.name):
            image = photos.read(question.image)
            query, _ = reader.understand(Query(question.text, image, one.within, top))
            candidates = reader.candidates(query)
        first = np.array([firsts[name] for name in candidates.partitions], np.int64)
        numbers = first[candidates.part] + candidates.positions
        group = " ".join((question.text or "").casefold().split()) or str(question.image)
        seen = features.matrix(query.text, candidates)
        judged = tuple(map(float, one.gains.values()))
        found.append(Lesson(question.name, group, one.query.kind, numbers, seen, _gains(one, numbers), judged))
        beat()
        if progress is not None:
            progress("answer", done, len(queries))
    return found


def telling(lessons: Sequence[Lesson], names: Sequence[str], linear: bool) -> tuple[list[int], dict[str, str]]:
    """(the columns of features that say something, in order; those that do not, each with the reason). Where `linear`,
    one that is the same for all candidates of each query says nothing: order is by what differs.
    """
    rows = np.concatenate([one.features for one in lessons])
    columns, dropped = list[int](), dict[str, str]()
    for at, name in enumerate(names):
        column = rows[:, at]
        known = column[~np.isnan(column)]
        twin = next((names[one] for one in columns if np.array_equal(rows[:, one], column, equal_nan=True)), None)
        if not len(known):
            dropped[name] = "no candidate has a value"
        elif len(known) == len(column) and known.min() == known.max():
            dropped[name] = f"always {known[0]:g}"
        elif twin is not None:
            dropped[name] = f"the same as {twin}"
        elif linear and all(_same(one.features[:, at]) for one in lessons):
            dropped[name] = "the same for all candidates of a query"
        else:
            columns.append(at)
    return columns, dropped


# --- inside ---


def _gains(query: AnswerableQuery, numbers: Numbers) -> Gains:
    """(n,) float64: what candidates are worth by their numbers."""
    return np.array([float(query.gains.get(number, 0)) for number in numbers.tolist()], np.float64)


def _same(column: npt.NDArray[np.float64]) -> bool:
    return len(column) == 0 or bool(np.array_equal(column, np.full_like(column, column[0]), equal_nan=True))


def _kinds(manifest: Manifest, chosen: Sequence[str] | None) -> Mapping[str, str]:
    """Attribute -> what it counts as; InputError for one of `chosen` that is none of numbers."""
    known = {name: kind_of(manifest.attribute_types.get(name, "string")) for name in manifest.attributes}
    usable = {name: kind for name, kind in known.items() if kind is not None}
    if chosen is None:
        return usable
    wrong = [name for name in chosen if name not in usable]
    if wrong:
        types = manifest.attribute_types
        came = "; ".join(
            f"{name}, {types.get(name, 'text')}" if name in known else f"{name}, no attribute" for name in wrong
        )
        fix = "name others, or declare numbers that are written as text: catalog.prices, and run again"
        raise InputError(f"attributes that are numbers: {', '.join(usable) or 'the snapshot has none'}", came, fix)
    return {name: usable[name] for name in dict.fromkeys(chosen)}
