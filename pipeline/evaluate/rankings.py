"""The rankings that an evaluation compares: each query answered in several ways, as row numbers of the snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from encoders.base import Modality
from foundation.arrays import Vectors
from foundation.errors import InputError
from foundation.metric import Metric
from lookup.hit import Hit
from lookup.late import search_late
from lookup.query import Query, QueryEncoder
from lookup.rerank.rerank import Ranker
from lookup.search import Reader
from pipeline.catalog.question_photos import QuestionPhotos
from pipeline.evaluate.exact_search import Numbers, Part, has_column, rank
from pipeline.evaluate.judgments import AnswerableQuery

TEXT, PHOTO, EXACT, INDEX, LATE = "text tower", "photo tower", "fused, exact", "through the index", "late"
WORDS, HYBRID = "words", "words and vectors"
RANKED = "re-ranked"


@dataclass(frozen=True)
class Rankings:
    """`found` has for each way and for each query that it answers, by its place in the list, (depth,) row numbers."""

    found: dict[str, dict[int, Numbers]]
    notes: list[str]


@dataclass(frozen=True)
class _Answers:
    """What is gathered query by query: vectors by query, and hits as row numbers."""

    text: dict[int, Vectors] = field(default_factory=dict)
    photo: dict[int, Vectors] = field(default_factory=dict)
    fused: dict[int, Vectors] = field(default_factory=dict)
    index: dict[int, Numbers] = field(default_factory=dict)
    words: dict[int, Numbers] = field(default_factory=dict)
    hybrid: dict[int, Numbers] = field(default_factory=dict)
    ranked: dict[int, Numbers] = field(default_factory=dict)
    late: dict[int, Numbers] = field(default_factory=dict)


def rankings(
    reader: Reader, parts: Sequence[Part], queries: Sequence[AnswerableQuery], depth: int, late: bool
) -> Rankings:
    """The first `depth` rows that each way finds for each of `queries`; `late` adds that way for queries of both."""
    encoder = QueryEncoder.of(reader.manifest)
    answers, fusion = _answer(reader, encoder, queries, depth, late), encoder.fusion
    found: dict[str, dict[int, Numbers]] = {}
    notes = []
    ways: tuple[tuple[str, str, dict[int, Vectors], Modality | None], ...] = (
        (TEXT, "text_vector", answers.text, "text"),
        (PHOTO, "image_vector", answers.photo, "image"),
        (EXACT, "embedding", answers.fused, None),
    )
    for way, column, vectors, tower in ways:
        if vectors and has_column(parts, column):
            within = [queries[i].within for i in vectors]
            metric = Metric(reader.manifest.metric) if way == EXACT else Metric.INNER_PRODUCT
            asked = np.concatenate(list(vectors.values()))
            before = None if tower is None else partial(fusion.before, tower)
            asked = asked if tower is None else fusion.asked(tower, asked)
            ranked = rank(parts, column, asked, within, depth, metric, before)
            found[way] = dict(zip(vectors, ranked, strict=True))
        elif vectors:
            notes.append(f"the shards hold no {column}: what fusion costs is seen after a run with shards.towers=true")
    found[INDEX] = answers.index
    if answers.words:
        found |= {WORDS: answers.words, HYBRID: answers.hybrid}
    if answers.ranked and reader.ranker is not None:
        found[RANKED] = answers.ranked
        notes.append(told_of_ranker(reader.ranker))
    return Rankings({**found, LATE: answers.late} if late else found, notes)


def _answer(
    reader: Reader, encoder: QueryEncoder, queries: Sequence[AnswerableQuery], depth: int, late: bool
) -> _Answers:
    answers, photos = _Answers(), QuestionPhotos(reader.manifest)
    for i, one in enumerate(queries):
        question, numbers = one.query.question, one.numbers
        with about(question.name):
            image = photos.read(question.image)
            text_vector, image_vector = encoder.towers(question.text, image)
            answers.fused[i] = encoder.embed(question.text, image)
        if text_vector is not None:
            answers.text[i] = text_vector
        if image_vector is not None:
            answers.photo[i] = image_vector
        answers.index[i] = numbers_of(reader.search_vector(answers.fused[i], one.within, depth), numbers, depth)
        if reader.opened.words is not None and question.text is not None:
            by_words = reader.by_words.search(question.text, one.within, depth)
            both = Query(question.text, image, one.within, depth, rerank=False, understand=False)
            answers.words[i] = numbers_of(by_words, numbers, depth)
            answers.hybrid[i] = numbers_of(reader.answer(both), numbers, depth)
        if reader.ranker is not None:
            answers.ranked[i] = numbers_of(
                reader.answer(Query(question.text, image, one.within, depth)), numbers, depth
            )
        if late and one.query.kind == "both":
            hits = search_late(reader, Query(question.text, image, one.within, depth))
            answers.late[i] = numbers_of(hits, numbers, depth)
    return answers


def told_of_ranker(ranker: Ranker) -> str:
    """What figures of re-ranked hits say where their queries are those that the re-ranker was learned from."""
    held_out = ranker.settings.held_out
    figure, gain = next(iter(held_out.figures.items()))
    return (
        f"{RANKED}: of queries that it was learned from this says too much; on {held_out.queries:,} that were held out "
        f"{figure} was {gain.after:.3f}, {gain.before:.3f} without"
    )


def numbers_of(hits: Sequence[Hit], numbers: Mapping[str, int], depth: int) -> Numbers:
    """(depth,) row numbers of hits; -1 for a product that is not judged for any query, and where there is no hit."""
    row = np.full(depth, -1, dtype=np.int64)
    row[: len(hits)] = [numbers.get(hit.id, -1) for hit in hits]
    return row


@contextmanager
def about(name: str) -> Iterator[None]:
    """Say in a refusal which query it was."""
    try:
        yield
    except InputError as err:
        raise InputError(err.expected, f"query {name!r}: {err.came}", err.fix) from err
