"""Groups of rows that are pairwise linked, directly or by way of others (union-find)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from foundation.arrays import Positions

Groups = npt.NDArray[np.int32]


def grouped(rows: int, first: Positions, second: Positions) -> Groups:
    """(rows,) int32: the least row of each row's group, where `first` and `second`, (m,) int64, link rows.

    The least label goes over each link both ways, and each label to that of its row, until nothing changes: as many
    rounds as the logarithm of the longest chain.
    """
    labels = np.arange(rows, dtype=np.int32)
    while len(first):
        least = np.minimum(labels[first], labels[second])
        before = labels.copy()
        for side in (first, second):
            np.minimum.at(labels, before[side], least)  # also of the row that speaks for the group so far
            np.minimum.at(labels, side, least)
        labels = labels[labels]
        if np.array_equal(labels, before):
            return labels
    return labels


def grouped_by_blocks(rows: int, links: Iterable[tuple[Positions, Positions]]) -> Groups:
    """The same of links that come block by block. However many there are, no more than about `rows` are held at once,
    and those of a block: then groups stand for what they were made of.
    """
    groups = np.arange(rows, dtype=np.int32)
    held, count = list[tuple[Positions, Positions]](), 0
    for block in links:
        held.append(block)
        count += len(block[0])
        if count >= rows:
            groups, held, count = _joined(groups, held), [], 0
    return _joined(groups, held)


def _joined(groups: Groups, links: list[tuple[Positions, Positions]]) -> Groups:
    """`groups`, where `links` join some: what joins their least rows joins them."""
    if not links:
        return groups
    first, second = (groups[np.concatenate(side)] for side in zip(*links, strict=True))
    return grouped(len(groups), first, second)[groups]


def equal_links(values: pa.ChunkedArray) -> tuple[Positions, Positions]:
    """(m,) int64 twice: each row that is not null, and the first row of the same value, where these are two."""
    codes = values.combine_chunks().dictionary_encode()
    if isinstance(codes, pa.ChunkedArray):
        codes = codes.combine_chunks()
    there = np.flatnonzero(codes.is_valid().to_numpy(zero_copy_only=False))
    numbers = codes.indices.drop_null().to_numpy(zero_copy_only=False)
    _, at, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    firsts = there[at[inverse]]
    other = firsts != there
    return there[other].astype(np.int64), firsts[other].astype(np.int64)


def sizes_of(groups: Groups) -> Groups:
    """(rows,) int32: how many rows each row's group has."""
    return np.bincount(groups, minlength=len(groups)).astype(np.int32)[groups]
