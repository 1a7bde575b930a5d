"""Golden queries asked of a snapshot that is not published yet, by the reader that would open it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from encoders.names import same_category
from foundation.identity import identity_of
from foundation.liveness import beat
from lookup.query import read_photo
from lookup.search import Reader
from lookup.store.entries.figures import GoldenCount
from lookup.store.fields import Record
from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.catalog.golden import GoldenQuery, read_golden
from pipeline.config.encoding import photo_limits
from pipeline.config.sections import RunSettings
from pipeline.embed.stand_ins import aside
from pipeline.report.notices import Notice, notice

FORMAT = 1  # of golden.json


class GoldenHit(Record):
    """One hit of a golden query; `photo` as the catalog names it, `source` where its row is, see lookup.hit.Hit."""

    id: str
    score: float
    category: str
    photo: str | None
    source: tuple[str, int, int] | None = None  # of an earlier version


class GoldenOutcome(Record):
    """What became of a golden query: `found` where one of `expect` is among the first k hits, at `rank` from 1 on;
    `missed` where none is; `unknown` where the snapshot has none of them.
    """

    text: str | None
    image: str | None  # a path
    category: str | None
    k: int
    expect: tuple[str, ...]
    outcome: Literal["found", "missed", "unknown"]
    rank: int | None
    unknown: tuple[str, ...]  # of those expected
    hits: tuple[GoldenHit, ...]


def with_golden(
    store: Store,
    manifest: Manifest,
    parent: Manifest | None,
    settings: RunSettings,
    scope: frozenset[str] | None,
    name: str,
) -> tuple[Manifest, list[Notice]]:
    """`manifest` with how many golden queries found what they expect, and notices on those that nothing can answer.

    What each found is put into the store as `name`. With a `scope`, queries of other categories are not asked. What the
    parent counted of the same queries and the same snapshot is kept.
    """
    path, k = settings.golden.path, settings.golden.k
    if path is None:
        return manifest, []
    separators = settings.embedding.catalog.partition_separator
    queries = [
        one
        for one in read_golden(path, photo_limits(settings.embedding.catalog))
        if scope is None or one.category is None or same_category(one.category, scope, separators)
    ]
    asked = _identity(queries, k, settings)
    if parent is not None and parent.content == manifest.content and parent.golden and parent.golden.asked == asked:
        return manifest.model_copy(update={"golden": parent.golden}), []
    outcomes = aside(lambda: _ask(store, manifest, queries, k, settings))
    fields = {"format": FORMAT, "file": path, "queries": [one.model_dump(mode="json") for one in outcomes]}
    store.put_bytes((json.dumps(fields, ensure_ascii=False, indent=1) + "\n").encode(), name)
    counts = {name: sum(one.outcome == name for one in outcomes) for name in ("found", "unknown")}
    golden = GoldenCount(asked=asked, queries=len(outcomes), **counts)
    return manifest.model_copy(update={"golden": golden}), [*_notices(outcomes)]


def _identity(queries: Sequence[GoldenQuery], k: int, settings: RunSettings) -> str:
    """64 hex digits of what is asked, photos by their bytes."""
    most = settings.embedding.catalog.max_photo_bytes
    photos = [blake3(read_photo(one.image, most)).hexdigest() if one.image else None for one in queries]
    return identity_of({"k": k, "queries": [one.model_dump(mode="json") for one in queries], "photos": photos})


def _ask(
    store: Store, manifest: Manifest, queries: Sequence[GoldenQuery], k: int, settings: RunSettings
) -> list[GoldenOutcome]:
    reader = Reader.of(store, "", manifest, device=settings.embedding.encoders.device)
    expected = sorted({one for query in queries for one in query.expect})
    known = {one for name in reader.categories for one in _present(reader.ids(name), expected)}
    most = settings.embedding.catalog.max_photo_bytes
    separators = settings.embedding.catalog.partition_separator
    return [_outcome(reader, query, query.k or k, known, most, separators) for query in queries]


def _present(ids: pa.ChunkedArray, expected: Sequence[str]) -> list[str]:
    """Those of `expected` that are among `ids`."""
    beat()
    found: list[str] = pc.filter(ids, pc.is_in(ids, pa.array(expected, pa.string()))).to_pylist()
    return found


def _outcome(
    reader: Reader, query: GoldenQuery, k: int, known: set[str], most_bytes: int, separators: Sequence[str]
) -> GoldenOutcome:
    beat()
    unknown = tuple(one for one in query.expect if one not in known)
    fields: dict[str, Any] = {**query.model_dump(exclude={"k"}), "k": k, "unknown": unknown}
    gone = query.category is not None and not same_category(query.category, reader.categories, separators)
    if gone or len(unknown) == len(query.expect):
        return GoldenOutcome(**fields, outcome="unknown", rank=None, hits=())
    photo = None if query.image is None else read_photo(query.image, most_bytes)
    hits = reader.search(query.text, photo, query.category, k)
    places = [place for place, hit in enumerate(hits, 1) if hit.id in query.expect]
    shown = tuple(
        GoldenHit(id=hit.id, score=hit.score, category=hit.partition, photo=hit.photo, source=hit.source)
        for hit in hits
    )
    rank = places[0] if places else None
    return GoldenOutcome(**fields, outcome="found" if rank else "missed", rank=rank, hits=shown)


def _notices(outcomes: Sequence[GoldenOutcome]) -> list[Notice]:
    told = {
        "missed": "golden queries that find none of the products that they expect",
        "unknown": "golden queries whose expected products, or whose category, the snapshot does not have",
    }
    found = []
    for outcome, said in told.items():
        named = [f"{_title(one)}: {', '.join(one.expect[:3])}" for one in outcomes if one.outcome == outcome]
        found += notice(f"golden_{outcome}", f"{said} ({len(named)}):", named)
    return found


def _title(one: GoldenOutcome) -> str:
    return GoldenQuery(text=one.text, image=one.image, category=one.category, expect=one.expect).title
