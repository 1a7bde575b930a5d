"""A comparison for people: tables for the terminal, one JSON document, and one offline page with hits and photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from encoders.names import clean_id
from foundation import ranking_metrics as metrics
from foundation.errors import InputError
from lookup.hit import Hit, words
from lookup.page import NoPhoto, not_shown, put_page, render, thumbnail
from pipeline.catalog.question_photos import QuestionPhotos
from pipeline.catalog.shown_photos import ShownPhotos
from pipeline.evaluate.comparison import FIRST, Comparison, Difference, LostQuery
from pipeline.evaluate.page import Table, figure_names

_SHOWN = 5  # hits of a query, in the terminal
_PIXELS = 168  # of a thumbnail's longer side; the page shows it at half of that
_LONGEST = 90  # characters of a title


def lines(found: Comparison) -> list[str]:
    """What was compared, how, and what came of it, in sentences."""
    a, b = found.sides
    only = [f"{count:,} that {name} alone can answer" for count, name in zip(found.only, "AB", strict=True) if count]
    left = found.queries - found.compared - sum(found.only)
    only += [f"{left:,} that neither can, or that are not asked for"] if left else []
    lost = [f"{rows:,} {why.replace('_', ' ')}" for why, rows in found.clicks_left_out.items() if rows]
    return [
        f"A: {a.name}",
        f"B: {b.name}",
        f"{found.compared:,} of {found.queries:,} queries compared{'; ' if only else ''}{', '.join(only)}",
        *([f"rows of the log that were left out: {', '.join(lost)}"] if lost else []),
        *found.notes,
        f"B minus A, with 95% bootstrap intervals over queries ({found.resamples:,} resamples, seed {found.seed})",
    ]


def verdicts(found: Comparison) -> list[str]:
    """For each kind of query whether B is better than A, by nDCG@10."""
    return [
        f"{group.kind} queries: B is {_verdict(group.figures[FIRST])}"
        for group in found.groups
        if group.category is None
    ]


def figure_table(found: Comparison) -> Table:
    """(columns, rows) of every figure: A, B, B minus A with its interval, and the queries won, tied and lost."""
    names = figure_names(found.groups[0].figures)
    rows = [
        [
            group.kind,
            group.category or "all",
            name,
            f"{group.queries:,}",
            f"{one.a:.3f}",
            f"{one.b:.3f}",
            _signed(one),
            f"{one.wins:,} / {one.ties:,} / {one.losses:,}",
            one.verdict,
        ]
        for group in found.groups
        for name, one in zip(names, group.figures.values(), strict=True)
    ]
    columns = ["query", "category", "figure", "n", "A", "B", "B - A", "won / tied / lost", "B is"]
    return columns, rows


def worst_table(found: Comparison) -> Table:
    """(columns, rows) of the queries that lose most, with the first hits of both; * marks what is relevant."""
    rows = [
        [one.question.title, f"{one.figures[0]:.3f}", f"{one.figures[1]:.3f}", *(_ids(one, hits) for hits in one.hits)]
        for one in found.worst
    ]
    return ["loses most", "A", "B", "hits of A (* relevant)", "hits of B"], rows


def as_document(found: Comparison) -> dict[str, Any]:
    """The whole of it as JSON; pairs are (of A, of B)."""
    groups = [
        {
            "kind": group.kind,
            "category": group.category,
            "queries": group.queries,
            "figures": {name: asdict(one) | {"verdict": one.verdict} for name, one in group.figures.items()},
        }
        for group in found.groups
    ]
    worst = [
        {
            "query": asdict(one.question),
            "kind": one.kind,
            FIRST: one.figures,
            "hits": [
                [{"id": hit.id, "score": hit.score, "gain": one.gains.get(clean_id(hit.id))} for hit in hits]
                for hits in one.hits
            ],
        }
        for one in found.worst
    ]
    sides = [{"store": side.store.root, "snapshot": side.snapshot} for side in found.sides]
    counts = {"given": found.queries, "compared": found.compared, "only": found.only}
    measured = {"k": found.k, "seed": found.seed, "resamples": found.resamples}
    left = {"clicks_left_out": found.clicks_left_out}
    return {"sides": sides, **measured, "queries": counts, **left, "groups": groups, "worst": worst}


def write_report(path: Path, found: Comparison) -> None:
    """Write the page to `path`, in one step also where one stands; InputError where it cannot be written."""
    manifests = [side.store.manifest(side.snapshot) for side in found.sides]
    places, asked = list(map(ShownPhotos.of, manifests)), QuestionPhotos(manifests[0])
    worst = [_shown(one, places, asked) for one in found.worst]
    html = render(
        "pipeline/evaluate/comparison.html",
        ["lookup/page.css", "pipeline/report/report.css"],
        heading="Two snapshots compared",
        note=lines(found),
        verdicts=verdicts(found),
        figures=figure_table(found),
        worst=worst,
        not_shown=not_shown(photo for one in worst for photo in one["photos"]),
    )
    put_page(path, html, "a comparison")


# --- cells ---


def _verdict(one: Difference) -> str:
    sure = {"better": "better than A", "worse": "worse than A", "not told apart": "not told apart from A"}
    sure["too few to tell"] = f"not to be told from A by so few queries ({metrics.FEWEST} are needed)"
    return f"{sure[one.verdict]}: nDCG@10 {one.a:.3f} -> {one.b:.3f}, {_signed(one)}"


def _signed(one: Difference) -> str:
    found = one.difference
    mean, low, high = (round(value, 3) + 0.0 for value in (found.mean, found.low, found.high))  # no minus before a zero
    return f"{mean:+.3f} {low:+.3f}..{high:+.3f}"


def _ids(one: LostQuery, hits: Sequence[Hit]) -> str:
    shown = [f"{hit.id}{'*' if one.gains.get(clean_id(hit.id)) else ''}" for hit in hits[:_SHOWN]]
    return ", ".join(shown) or "nothing"


# --- the queries that lose most, with photos ---


def _shown(one: LostQuery, places: Sequence[ShownPhotos], questions: QuestionPhotos) -> dict[str, Any]:
    shown = [_cards(one, hits, place) for hits, place in zip(one.hits, places, strict=True)]
    photo: bytes | NoPhoto | None
    try:
        photo = questions.read(one.question.image)
    except InputError as err:  # gone since it was asked
        photo = NoPhoto(err.came)
    asked = thumbnail(photo, "the query", places[0].limits, _PIXELS)
    return {
        "title": one.question.title[:_LONGEST],
        "asked_photo": photo is not None,
        "photo": asked,
        "figures": one.figures,
        "hits": shown,
        "photos": [asked, *(card["photo"] for cards in shown for card in cards)],
    }


def _cards(one: LostQuery, hits: Sequence[Hit], place: ShownPhotos) -> list[dict[str, Any]]:
    return [
        {
            "id": hit.id[:_LONGEST],
            "title": words(hit.attributes.get("title"))[:_LONGEST],
            "gain": one.gains.get(clean_id(hit.id)),
            "photo": thumbnail(photo, hit.id, place.limits, _PIXELS),
        }
        for hit, photo in zip(hits, place.of_hits(hits), strict=True)
    ]
