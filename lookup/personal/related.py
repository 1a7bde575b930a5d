"""The products of a partition that are nearest to each of its products: its rows as queries, asked of its own index.

Blocks are cut by `k` alone, whatever segments a partition has: FAISS rounds by how many queries it is asked at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from foundation.arrays import Mask, Positions, Vectors
from lookup.collapse import Groups
from lookup.index.partition_index import PartitionIndex
from lookup.index.ranking import Found
from lookup.opened import Opened
from lookup.personal.items import ItemQueries
from lookup.segments import of_other_rows

_MOST = 1_024  # queries at once
_FOUND = 1 << 20  # rows that are found at once: 12 MB
_DEEPER = 4  # times as many rows, where those looked at have too few groups


def block_rows(k: int) -> int:
    """How many products are asked by at once for `k` related ones."""
    return max(1, min(_MOST, _FOUND // (k + 1)))


def related_blocks(opened: Opened, items: ItemQueries, name: str, k: int, groups: Groups | None) -> Iterator[Found]:
    """For each product of partition `name`, in blocks of `block_rows(k)`: (n, w) float32 scores, best first, and (n, w)
    int64 positions of the k others of the partition that are nearest, or of all; -inf and -1 where there are no more.

    With `groups`, (rows,) int32 labels, one of each group comes, the best, and none of a product's own. Errors are
    those of `ItemQueries.of`; IntegrityError where the index was built of other rows.
    """
    nearest, start = _Nearest(opened.partitions[name].index, groups, k), 0
    for block in _blocks(_segments(opened, items, name), block_rows(k)):
        yield nearest.of(np.arange(start, start + len(block)), block)
        start += len(block)


@dataclass(frozen=True)
class _Nearest:
    index: PartitionIndex
    groups: Groups | None
    k: int

    def of(self, rows: Positions, xq: Vectors) -> Found:
        """What is nearest to `rows`, (n,), which ask by `xq`, (n, dim) float32."""
        depth = min(self.k + 1, self.index.rows)  # the product itself is among them
        scores, positions = self._others(rows, *self.index.search(xq, depth))
        while self.groups is not None and depth < self.index.rows:
            short = np.flatnonzero((positions < 0).any(axis=1))
            depth = min(_DEEPER * depth, self.index.rows)
            step = max(1, _FOUND // depth)
            for at in range(0, len(short), step):
                part = short[at : at + step]
                scores[part], positions[part] = self._others(rows[part], *self.index.search(xq[part], depth))
            if not len(short):
                break
        return scores, positions

    def _others(self, rows: Positions, scores: Vectors, positions: Positions) -> Found:
        """The first of (n, c) that are not `rows` themselves, (n, w); with groups the first of each other group."""
        kept = (positions >= 0) & (positions != rows[:, None])
        if self.groups is not None:
            groups = self.groups[np.maximum(positions, 0)]
            kept &= (groups != self.groups[rows][:, None]) & _firsts(groups)
        order = np.argsort(~kept, axis=1, kind="stable")[:, : min(self.k, self.index.rows - 1)]
        there = np.take_along_axis(kept, order, 1)
        found = np.take_along_axis(scores, order, 1), np.take_along_axis(positions, order, 1)
        return np.where(there, found[0], np.float32(-np.inf)), np.where(there, found[1], -1)


def _firsts(groups: Groups) -> Mask:
    """(n, c): which of each row's groups stand there first."""
    order = np.argsort(groups, axis=1, kind="stable")
    sorted_groups = np.take_along_axis(groups, order, 1)
    first = np.ones(groups.shape, np.bool_)
    first[:, 1:] = sorted_groups[:, 1:] != sorted_groups[:, :-1]
    found = np.empty_like(first)
    np.put_along_axis(found, order, first, 1)
    return found


def _segments(opened: Opened, items: ItemQueries, name: str) -> Iterator[Vectors]:
    """The rows of a partition as queries, a segment at a time, held against the ids of its index."""
    ids, start = opened.partitions[name].index.id_column, 0
    for mine, block in items.of_segments(name):
        if not ids.slice(start, len(mine)).equals(pa.chunked_array([mine])):
            raise of_other_rows(opened.entry(name), f"other ids at positions {start} to {start + len(mine) - 1} of it")
        yield block
        start += len(mine)
    if start != len(ids):
        raise of_other_rows(opened.entry(name), f"{len(ids)} ids for {start} rows")


def _blocks(segments: Iterator[Vectors], rows: int) -> Iterator[Vectors]:
    """The same rows in blocks of `rows`, the last one shorter."""
    waiting, count = list[Vectors](), 0
    for segment in segments:
        waiting.append(segment)
        count += len(segment)
        if count >= rows:
            joined = np.concatenate(waiting)
            count %= rows
            whole = len(joined) - count
            yield from (joined[at : at + rows] for at in range(0, whole, rows))
            waiting = [joined[whole:]]
    if count:
        yield np.concatenate(waiting)
