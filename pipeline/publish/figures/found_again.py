"""Whether products are found by their own text and by their own photo, encoded anew and asked as a reader asks: what
went through encoder, shard and index comes back through encoder and index.

A hit that has an equal text, or an equal photo, is the product as far as anybody can tell. So is one with the score
that the product has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from foundation.arrays import Positions, Vectors
from index_builders.measure.queries import inside
from index_builders.measure.recall import in_parts
from index_builders.rows.shards import SegmentRef, read_embeddings, read_fingerprints, read_places
from lookup.index.partition_index import PartitionIndex
from lookup.search import open_partition
from lookup.segments import Partition
from lookup.store.entries.figures import FoundAgain
from lookup.store.manifest import PartitionEntry
from lookup.store.shards import Shards, file_of
from lookup.store.store import Store
from pipeline.build.tower_queries import Asking
from pipeline.publish.figures.drawn_rows import DrawnRows, draw_rows

K = 10
_EQUAL = 1e-5  # scores that differ by rounding alone, relative


class Asked(NamedTuple):
    """A kind of queries, `text` or `photo`, and of how many rows, from how many segments at most."""

    kind: str
    rows: int
    segments: int


def found_again(
    store: Store, shards: Shards, entry: PartitionEntry, asking: Asking, kinds: Sequence[Asked]
) -> tuple[FoundAgain, ...]:
    """Of some products of a partition, how many are among the first `K` hits in it."""
    opened = _Opened(store, open_partition(store, entry, shards))
    figures = []
    for kind, rows, segments in kinds:
        drawn = draw_rows(store, shards, [entry.name], segments, rows)
        at, queries = asking.own(kind, drawn.segments, drawn.positions)
        found = opened.count(kind, DrawnRows(drawn.segments, at), queries) if len(at) else 0
        figures.append(FoundAgain(kind=kind, asked=len(at), found=found))
    return tuple(figures)


@dataclass
class _Opened:
    """A partition as a reader has it, and fingerprints of its segments that were looked at."""

    store: Store
    partition: Partition
    fingerprints: dict[tuple[str, str, int], pa.Array] = field(default_factory=dict)

    def count(self, kind: str, rows: DrawnRows, queries: Vectors) -> int:
        """How many of `rows` are found by their (m, d) float32 queries."""
        index, found, number = self.partition.index, 0, 0
        hits = [index.search(part, min(K, index.rows)) for part in in_parts(queries)]
        scores, positions = (np.concatenate(parts) for parts in zip(*hits, strict=True))
        for ref, at in inside(rows.segments, rows.positions):
            ids, embeddings, marks = read_places(ref, at)[0], read_embeddings(ref)[at], read_fingerprints(ref, kind)
            for place, row in enumerate(at.tolist()):
                near = positions[number][positions[number] >= 0]
                deserved = _score(index, queries[number], embeddings[place])
                found += (
                    ids[place] in index.ids(near)
                    or _reaches(index, deserved, float(scores[number][len(near) - 1]))
                    or self._equal(kind, near, marks[row].as_py())
                )
                number += 1
        return found

    def _equal(self, kind: str, positions: Positions, mark: bytes | None) -> bool:
        """Whether one of the hits has this fingerprint."""
        return mark is not None and any(self._mark(kind, at) == mark for at in positions.tolist())

    def _mark(self, kind: str, position: int) -> bytes | None:
        shard, row_group, row = self.partition.locate(position)
        file = file_of(shard)
        key = (kind, file.path, row_group)
        if key not in self.fingerprints:
            path = self.store.local(file) or self.store.verified(file)
            segments = self.partition.segments
            number = int(np.searchsorted(segments.ends, position, side="right"))
            ref = SegmentRef(path, row_group, int(segments.rows[number]), segments.digests[number])
            self.fingerprints[key] = read_fingerprints(ref, kind)
        found: bytes | None = self.fingerprints[key][row].as_py()
        return found


def _score(index: PartitionIndex, query: Vectors, row: Vectors) -> float:
    """The true score of a row, (d,) float32 as is the query."""
    stored = index.metric.stored(np.stack([query, row]).astype(np.float32))
    return float(index.metric.scores(stored[:1], stored[None, 1:])[0, 0])


def _reaches(index: PartitionIndex, deserved: float, last: float) -> bool:
    """Whether a row of the score that it deserves is as good as the last hit; not told of an index whose scores are
    estimates.
    """
    tolerance = _EQUAL if not index.widest else 0 if index.refine is None else index.refine.tolerance
    return tolerance > 0 and deserved >= last - tolerance * (1 + abs(last))
