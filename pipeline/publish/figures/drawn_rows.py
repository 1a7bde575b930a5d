"""Some rows of some partitions, the same ones every night as far as they are there: what changes between two nights is
then the products, not the draw.

Segments are drawn by partition and by their place in it, rows by their ids. Names of files and row groups do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from foundation.arrays import Positions
from foundation.liveness import beat
from index_builders.rows.shards import SegmentRef, read_ids
from lookup.store.shards import Located, Shards, file_of
from lookup.store.store import Store
from pipeline.catalog.names import id_hashes


@dataclass(frozen=True)
class DrawnRows:
    """Some rows of `segments`: `positions`, (n,) int64 rising, run through all rows of these, in order."""

    segments: Sequence[SegmentRef]
    positions: Positions


def draw_rows(store: Store, shards: Shards, partitions: Sequence[str], segments: int, rows: int) -> DrawnRows:
    """About `rows` rows of `partitions`, from at most so many segments, whose pages have checksums of their own."""
    chosen = [_opened(store, one) for one in _drawn_segments(shards, partitions, segments)]
    parts, start = [np.empty(0, np.int64)], 0
    for ref, quota in zip(chosen, _quotas([ref.rows for ref in chosen], rows), strict=True):
        parts.append(start + _drawn(ref, quota))
        start += ref.rows
        beat()
    return DrawnRows(chosen, np.concatenate(parts))


def _drawn_segments(shards: Shards, partitions: Sequence[str], most: int) -> list[Located]:
    found = []
    for name in partitions:
        several = shards.segments.of(name)
        keys = _mixed(blake3(name.encode()).digest(8), len(several.rows))
        for at in np.argsort(keys, kind="stable")[:most].tolist():
            shard = shards.entries[several.shards[at]]
            digest = several.digests[at]
            place = Located(shard, file_of(shard), int(several.row_groups[at]), int(several.rows[at]), digest)
            found.append((int(keys[at]), place))
    return [place for _, place in sorted(found, key=lambda one: one[0])[:most]]


def _mixed(seed: bytes, count: int) -> npt.NDArray[np.uint64]:
    """(count,) numbers that look drawn, each of its own place alone: splitmix64 of a seed and the place."""
    with np.errstate(over="ignore"):
        x = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x += np.frombuffer(seed, np.uint64)[0]
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(x ^ (x >> np.uint64(31)))


def _opened(store: Store, one: Located) -> SegmentRef:
    path = store.local(one.file)
    if path is None:
        path = store.verified(one.file)  # which says what is wrong
    return SegmentRef(path, one.row_group, one.rows, one.digest, one.shard.source, one.shard.row_groups)


def _quotas(sizes: Sequence[int], rows: int) -> list[int]:
    """How many rows to draw of each: as many of all, but for those that have not so many."""
    quotas, left = [0] * len(sizes), rows
    for number, at in enumerate(sorted(range(len(sizes)), key=lambda at: sizes[at])):
        quotas[at] = min(sizes[at], -(-left // (len(sizes) - number)))
        left -= quotas[at]
    return quotas


def _drawn(ref: SegmentRef, quota: int) -> Positions:
    """(quota,) rising rows of a segment: those whose ids have the least hashes."""
    if quota >= ref.rows:
        return np.arange(ref.rows)
    return np.sort(np.argsort(id_hashes(read_ids(ref)), kind="stable")[:quota])
