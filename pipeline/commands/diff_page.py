"""A comparison of two snapshots for people: what became of products, then of partitions, then of settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pipeline.compare.golden_queries import GoldenDiff
from pipeline.compare.snapshots import KINDS, PartitionDiff, SnapshotDiff
from pipeline.engine.printing import echo, printable, table

_WORDS = {
    "added": "added",
    "gone": "gone",
    "text": "another text",
    "photo": "other photos",
    "attributes": "other attributes alone",
    "moved": "in another partition",
    "vector": "another vector",
}
_HITS = 3  # of a golden query
_LONGEST = 60  # characters of a setting


def print_diff(found: SnapshotDiff) -> None:
    """Print all of it."""
    old, new = found.snapshots
    echo(f"{old} -> {new}")
    counts = found.counts
    echo(
        f"{found.rows[0]:,} -> {found.rows[1]:,} products: {counts['added']:,} added, {counts['gone']:,} gone, "
        f"{found.changed:,} changed; {found.rows_read:,} rows were read"
    )
    seen = [kind for kind in KINDS if found.counts[kind]]
    if seen:
        rows = [[_WORDS[kind], f"{found.counts[kind]:,}", _listed(found, kind)] for kind in seen]
        table(["products", "rows", "such as"], rows)
    for line in _vectors(found):
        echo(line)
    table(
        ["partition", "rows", "added", "gone", "changed", "index", "recall", "index MB"],
        [_partition_cells(one) for one in found.partitions],
    )
    for what, lost in (("rejected for", found.rejected), ("indexed without one modality for", found.degraded)):
        if lost:
            table([what, "rows"], [[reason, _change(*pair)] for reason, pair in lost.items()])
    if any(found.photos_lost):
        echo(f"photos lost: {_change(*found.photos_lost)}")
    if found.golden is not None:
        _golden(found.golden)
    before, after, shared = (f"{size / 1e6:,.1f}" for size in (*found.bytes, found.bytes_shared))
    echo(f"files: {before} -> {after} MB, of which {shared} MB are files of both")
    _settings(found)


def _listed(found: SnapshotDiff, kind: str) -> str:
    shown = found.examples[kind]
    more = found.counts[kind] - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more and shown else "")


def _vectors(found: SnapshotDiff) -> Iterator[str]:
    one = found.cosines
    if one is not None:
        sample = "" if one.looked_at == found.counts["vector"] else f", of {one.looked_at:,} of them"
        yield (
            f"cosine of the old and the new vector{sample}: median {one.median:.4f}, "
            f"5% below {one.p05:.4f}, least {one.least:.4f}"
        )
    if found.vector_note:
        yield found.vector_note


def _partition_cells(one: PartitionDiff) -> list[str]:
    index = _change_of(*one.index)
    sizes = [f"{size / 1e6:,.1f}" for size in one.bytes]
    return [
        one.name,
        _change(*one.rows),
        *(f"{one.counts.get(kind, 0):,}" for kind in ("added", "gone", "changed")),
        f"{index} (the same)" if one.index_stays else index,
        _change_of(*(None if value is None else f"{value:.3f}" for value in one.recall)),
        _change_of(*sizes),
    ]


def _golden(golden: GoldenDiff) -> None:
    queries, hit = (_change(*pair) for pair in (golden.queries, golden.found))
    echo(f"golden queries that found what they expect: {hit} of {queries}; {len(golden.changes):,} have other hits")
    rows = [
        [
            " ".join(filter(None, (one.text, one.image, one.category and f"in {one.category}"))),
            _change_of(*(f"place {rank}" if rank else word for rank, word in zip(one.rank, one.outcome, strict=True))),
            _change_of(*(", ".join(ids[:_HITS]) for ids in one.hits)),
        ]
        for one in golden.changes
    ]
    if rows:
        table(["golden query", "found", "first hits"], rows)


def _settings(found: SnapshotDiff) -> None:
    rows = [[name, *(printable(value) for value in pair)] for name, pair in found.models.items()]
    rows += [[f"the type of {name}", *(one or "none" for one in pair)] for name, pair in found.attribute_types.items()]
    rows += [[name, *map(_value, pair)] for name, pair in found.settings.items()]
    if rows:
        table(["setting", "before", "after"], rows)


def _value(value: Any) -> str:
    written = json.dumps(value, ensure_ascii=False, default=str)
    return written if len(written) <= _LONGEST else f"{written[:_LONGEST]}..."


def _change(before: int | None, after: int | None) -> str:
    return _change_of(*(None if count is None else f"{count:,}" for count in (before, after)))


def _change_of(before: str | None, after: str | None) -> str:
    return before or "" if before == after else f"{before or 'none'} -> {after or 'none'}"
