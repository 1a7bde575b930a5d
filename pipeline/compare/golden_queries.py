"""What golden queries found in two snapshots, where the runs of both have left it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lookup.store.entries.figures import GoldenCount
from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.report.earlier_runs import golden_of

Pair = tuple[Any, Any]


@dataclass(frozen=True)
class GoldenChange:
    """A query whose hits are others than before: its outcome, the rank of what it expects, and its first hits of both
    snapshots.
    """

    text: str | None
    image: str | None
    category: str | None
    outcome: tuple[str, str]
    rank: tuple[int | None, int | None]
    hits: tuple[list[str], list[str]]


@dataclass(frozen=True)
class GoldenDiff:
    """Golden queries that were asked and that found what they expect, of both snapshots, None: none were asked; how
    many both runs have told of, and those of these whose hits changed, the ones that lost what they expect first.
    """

    queries: tuple[int | None, int | None]
    found: tuple[int | None, int | None]
    told_of: int
    changes: tuple[GoldenChange, ...]


def compare_golden(store: Store, old: Manifest, new: Manifest) -> GoldenDiff | None:
    """Of both snapshots; None where neither was asked anything. Of runs whose folders were deleted counts are left."""
    if old.golden is None and new.golden is None:
        return None
    before, after = (_queries(golden_of(store, one.run)) for one in (old, new))
    both = [(before[key], after[key]) for key in after if key in before]
    changes = [_change(*pair) for pair in both if _ids(pair[0]) != _ids(pair[1])]
    return GoldenDiff(
        queries=(_count(old.golden, "queries"), _count(new.golden, "queries")),
        found=(_count(old.golden, "found"), _count(new.golden, "found")),
        told_of=len(both),
        changes=tuple(sorted(changes, key=lambda one: one.rank[1] is not None or one.rank[0] is None)),
    )


def _count(golden: GoldenCount | None, name: str) -> int | None:
    return None if golden is None else int(getattr(golden, name))


def _queries(golden: object) -> dict[tuple[Any, ...], dict[str, Any]]:
    """What is asked -> its outcome; none of a file of another form."""
    try:
        queries = golden["queries"] if isinstance(golden, dict) else []
        return {(one["text"], one["image"], one["category"], *one["expect"]): one for one in queries}
    except (KeyError, TypeError):
        return {}


def _ids(one: dict[str, Any]) -> list[str]:
    return [hit["id"] for hit in one["hits"]]


def _change(before: dict[str, Any], after: dict[str, Any]) -> GoldenChange:
    return GoldenChange(
        text=after["text"],
        image=after["image"],
        category=after["category"],
        outcome=(before["outcome"], after["outcome"]),
        rank=(before["rank"], after["rank"]),
        hits=(_ids(before), _ids(after)),
    )
