"""Golden queries on the page of a run: what each finds tonight, and what it found the night before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lookup.page import NoPhoto
from pipeline.report.page_photos import Thumbnails

_MOST = 40  # queries
_HITS = 4  # of each night


@dataclass(frozen=True)
class GoldenHit:
    """A hit: its id, whether it is expected, and its photo as a data URI."""

    id: str
    expected: bool
    photo: str | NoPhoto | None


@dataclass(frozen=True)
class GoldenRow:
    """A golden query: what it asks, and its outcome and first hits of both nights; an empty outcome: not asked."""

    asked: str
    query_photo: str | NoPhoto | None
    outcome: str
    outcome_before: str
    hits: Sequence[GoldenHit]
    hits_before: Sequence[GoldenHit]
    bad: bool  # it does not find what it expects, or finds it later than before

    @property
    def photos(self) -> list[str | NoPhoto | None]:
        """All of its photos."""
        return [self.query_photo, *(one.photo for hits in (self.hits, self.hits_before) for one in hits)]

    @property
    def changed(self) -> bool:
        """Whether the nights differ."""
        return [one.id for one in self.hits] != [one.id for one in self.hits_before]


def golden_rows(tonight: object, before: object, photos: Thumbnails) -> list[GoldenRow]:
    """Of two golden.json, see pipeline/publish/figures/golden.py: those that went wrong first, then those that changed.

    What is none of that form, as a file of another version, gives none.
    """
    try:
        theirs = {_key(one): one for one in _queries(before)}
        rows = sorted(_queries(tonight), key=lambda one: _order(one, theirs.get(_key(one))))
        return [_row(one, theirs.get(_key(one)), photos) for one in rows[:_MOST]]
    except (KeyError, TypeError, AttributeError):
        return []


def _queries(golden: object) -> list[dict[str, Any]]:
    return list(golden["queries"]) if isinstance(golden, dict) else []


def _key(one: dict[str, Any]) -> tuple[Any, ...]:
    return one["text"], one["image"], one["category"], tuple(one["expect"])


def _order(one: dict[str, Any], before: dict[str, Any] | None) -> tuple[bool, bool]:
    same = before is not None and [hit["id"] for hit in one["hits"]] == [hit["id"] for hit in before["hits"]]
    return not _bad(one, before), same


def _bad(one: dict[str, Any], before: dict[str, Any] | None) -> bool:
    rank = one["rank"]
    return rank is None or bool(before and before["rank"] and before["rank"] < rank)


def _row(one: dict[str, Any], before: dict[str, Any] | None, photos: Thumbnails) -> GoldenRow:
    words = [one["text"] or "", f"in {one['category']}" if one["category"] else ""]
    return GoldenRow(
        asked=" ".join(filter(None, words)) or "a photo",
        query_photo=photos.of_file(one["image"]),
        outcome=_outcome(one),
        outcome_before=_outcome(before),
        hits=_hits(one, photos),
        hits_before=_hits(before, photos),
        bad=_bad(one, before),
    )


def _outcome(one: dict[str, Any] | None) -> str:
    if one is None:
        return ""
    return f"found, place {one['rank']}" if one["rank"] else str(one["outcome"])


def _hits(one: dict[str, Any] | None, photos: Thumbnails) -> list[GoldenHit]:
    shown = [] if one is None else one["hits"][:_HITS]
    expect = set() if one is None else set(one["expect"])
    return [GoldenHit(hit["id"], hit["id"] in expect, photos.of_hit(hit)) for hit in shown]
