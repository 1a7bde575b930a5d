"""Many questions to one open snapshot, and the page of their answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import click

from foundation.errors import InputError
from lookup.filters.where import Condition, parsed
from lookup.hit import Hit, Reranked
from lookup.late import find_late
from lookup.lexical.query import Correction
from lookup.page import Answer, duration, write_page
from lookup.query import Query, photo_limits
from lookup.search import Reader
from lookup.store.manifest import Manifest
from lookup.understood.meaning import Understood
from pipeline.catalog.question_photos import QuestionPhotos
from pipeline.catalog.questions import Question, read_questions

_SHOWN = 200  # characters of a query, in an error


@dataclass(frozen=True)
class Answered:
    """A question, its hits and the seconds it took, without `load_seconds`, which all questions of a command share: to
    open the store and load the towers. `note` says why a filter let none through.
    """

    question: Question
    hits: list[Hit]
    seconds: float
    load_seconds: float
    note: str = ""
    gone: int | None = None  # products of the history that the snapshot does not have; None: there is no history
    understood: Understood = field(default_factory=Understood)
    corrections: tuple[Correction, ...] = ()  # words that no product has, and what was looked for in their place
    history: float | None = None  # share that it has in what was asked by; None: there is no history
    reranked: Reranked | None = None  # None: hits are as the search finds them

    @property
    def notes(self) -> list[str]:
        """What was made of it besides what was understood: sentences for people."""
        notes = [f"no product has {word}" for word in self.corrections]
        if self.history == 0:
            notes.append("the history counts nothing: its products are no more alike than chance has it")
        elif self.history is not None:
            notes.append(f"the history counts {self.history:.2f} of the query")
        return notes if self.reranked is None else [*notes, str(self.reranked)]


def questions(text: str | None, image: str | None, queries: str | None, products: Sequence[str]) -> list[Question]:
    """The questions that a command line asks; InputError when it asks none, or asks in two ways. Of `products` alone,
    those to be like or of a history, it is one without text and photo.
    """
    if queries is not None:
        if text is not None or image is not None:
            raise InputError("either --queries or --text / --image", "both", "leave one out")
        return read_questions(Path(queries))
    if text is None and image is None:
        if products:
            return [Question(", ".join(products), None, None)]
        fix = "say what to look for, behind the store: vitrine search STORE 'red dress'"
        raise InputError("a text, a photo, --like, --history, or --queries", "none of them", fix)
    return [Question(text or Path(image or "").name, text, image)]


def ask(
    store: str, given: Sequence[Question], query: Query, late: bool = False, html: Path | None = None
) -> list[Answered]:
    """Answer `given`, each searched as `query` says, from the published snapshot of `store`; write the page of hits to
    `html` when given. `late` merges a search by text and one by photo by rank.

    Within a command, loading counts from its call on: the modules that it imports are part of it.
    """
    context = click.get_current_context(silent=True)
    began = getattr(context and context.find_root().command, "began", None) or time.perf_counter()
    products = [*query.like, *query.history]  # of any category
    reader = Reader.open(store, None if query.category is None or products else [query.category])
    search = partial(find_late, reader) if late else reader.found
    where = parsed(query.where)
    photos = QuestionPhotos(reader.manifest)
    texts, images = (any(getattr(one, name) is not None for one in given) for name in ("text", "image"))
    reader.load(texts, images, query.rerank, query.understand)
    gone = reader.known(query.history).count(False) if query.history else None
    loaded = time.perf_counter() - began
    answered: list[Answered] = []
    asked: list[bytes | None] = []
    for question in given:
        photo = photos.read(question.image)
        started = time.perf_counter()
        try:
            found = search(replace(query, text=question.text, image=photo))
        except InputError as err:
            raise InputError(err.expected, f"{question.title[:_SHOWN]}: {err.came}", err.fix) from err
        seconds = time.perf_counter() - started
        hits, bounds = found.hits, (*where, *found.understood.where)
        why = reader.explain_filter(bounds, query.category) if bounds and not hits else ""
        corrections = reader.by_words.corrections(replace(query, text=found.understood.text))
        more = (found.understood, corrections, found.history, found.reranked)
        answered.append(Answered(question, hits, seconds, loaded, why, gone, *more))
        asked.append(photo)
    if html is not None:
        note = f"snapshot {reader.snapshot}, {reader.manifest.rows:,} products{filtered(where)}"
        note += f"; loaded in {duration(loaded)}"
        write_page(html, _shown(answered, asked, reader.manifest), "Vitrine", note, photo_limits(reader.manifest))
    return answered


def _shown(answered: Sequence[Answered], photos: Sequence[bytes | None], manifest: Manifest) -> list[Answer]:
    """Answers as a page has them, beside the photos that were asked."""
    from pipeline.catalog.shown_photos import ShownPhotos  # a search without a page needs none of it

    of_hits = ShownPhotos.of(manifest).of_hits
    told = ("; ".join(filter(None, [str(one.understood), *one.notes])) for one in answered)
    return [
        Answer(one.question.title, photo, one.hits, one.seconds, of_hits(one.hits), one.note, said)
        for one, photo, said in zip(answered, photos, told, strict=True)
    ]


def filtered(where: Sequence[Condition]) -> str:
    """What a filter lets through, to be put behind what is searched; empty where there is none."""
    return f", where {' and '.join(map(str, where))}" if where else ""
