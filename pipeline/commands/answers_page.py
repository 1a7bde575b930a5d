"""What searches found, for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from lookup.filters.where import Condition
from lookup.hit import Hit, as_document, words
from lookup.understood.given import Given
from pipeline.commands import understood_page
from pipeline.commands.why_page import lines_of
from pipeline.engine.printing import document, echo, printable, table
from pipeline.evaluate.questions import Answered, filtered


def print_answers(
    answered: Sequence[Answered],
    where: Sequence[Condition],
    html: Any,
    as_json: bool,
    many: bool,
    taken: Given | None = None,
) -> None:
    """Hits of one question, or of `many`: a list then, also when there is one; of products that meet `where`. What the
    query was `taken` for is told where the user did not say it.
    """
    if as_json:
        listed = [
            {
                "query": asdict(one.question),
                **({} if taken is None else {"taken_for": taken.taken_for}),
                "where": [str(condition) for condition in where],
                "load_ms": round(1000 * one.load_seconds, 3),
                "ms": round(1000 * one.seconds, 3),
                **({} if one.gone is None else {"gone": one.gone, "history_share": one.history}),
                **understood_page.as_document(one.understood),
                **({"corrections": [asdict(word) for word in one.corrections]} if one.corrections else {}),
                **({} if one.reranked is None else {"reranked": asdict(one.reranked)}),
                "hits": [as_document(hit) for hit in one.hits],
            }
            for one in answered
        ]
        document(listed if many else listed[0])
        return
    echo(f"loaded in {1000 * answered[0].load_seconds:.0f} ms")
    if answered[0].gone:
        echo(f"products of the history that are no longer there: {answered[0].gone:,}")
    if taken is not None:
        echo(f"taken for a {taken.taken_for}")
    for one in answered:
        echo(click.style(f"{one.question.title}{filtered(where)}  ({1000 * one.seconds:.1f} ms)", bold=True))
        understood_page.print_understood(one.understood)
        for note in one.notes:
            echo(printable(note))
        if one.hits:
            _table(one.hits)
            _reasons(one.hits)
        else:
            echo("nothing was found" + (f": {printable(one.note)}" if one.note else ""))
    if html is not None:
        echo(f"page of hits: {html}")


def _table(hits: Sequence[Hit]) -> None:
    others = [[] if hit.others is None else [f"{hit.others:,}" if hit.others else ""] for hit in hits]
    rows = [
        [str(i), f"{hit.score:.3f}", hit.id, hit.partition, *more, _first(hit.attributes)]
        for i, (hit, more) in enumerate(zip(hits, others, strict=True), 1)
    ]
    table(["", "score", "id", "category", *(["others"] if others[0] else []), "attributes"], rows)


def _reasons(hits: Sequence[Hit]) -> None:
    """Why each hit is there, where that was asked for."""
    for hit in hits:
        if hit.why is not None:
            echo(printable(f"{hit.id}:"))
            for line in lines_of(hit.why):
                echo(printable(f"  {line}"))


def _first(attributes: dict[str, Any]) -> str:
    return "  ".join(words(value) for value in list(attributes.values())[:3] if value is not None)[:80]
