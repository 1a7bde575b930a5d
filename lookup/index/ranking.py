"""From scores to hits: the k best, equal ones in order of position, and as many as there are.

FAISS fills up with -1 where the lists it looked at, or the part of a graph it reached, hold fewer rows than it was
asked for, and of equal scores at the cut it takes some. Neither may reach a user: `enough` looks further, `ranked`
settles what is equal. Asked for a vector of zeros, which is as far from every row, codes of 4 bits find none at all
(FAISS 1.15 divides by the largest product): `filled_up` gives the first rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from foundation.arrays import Positions, Vectors

Found = tuple[Vectors, Positions]  # scores (nq, c) best first, positions (nq, c), -1 where there is no row

_MORE = 4  # times as many rows, where those at the cut are equal


def best(scores: Vectors, positions: Positions, k: int) -> Found:
    """The k best columns of (nq, c) float32 scores and int64 positions, best first, equal scores by position; padded
    with -inf and -1.

    A position of -1 is no row, whatever its score.
    """
    scores = np.where(positions < 0, np.float32(-np.inf), scores)
    if scores.shape[1] > 4 * k:  # sorting many candidates would take longer than finding them
        scores, positions = _leading(scores, positions, k)
    order = np.lexsort((positions, -scores), axis=-1)[:, :k]
    top, at = np.take_along_axis(scores, order, 1), np.take_along_axis(positions, order, 1)
    if top.shape[1] == k:
        return top, at
    missing = ((0, 0), (0, k - top.shape[1]))
    return np.pad(top, missing, constant_values=-np.inf), np.pad(at, missing, constant_values=-1)


def ranked(search: Callable[[Vectors, int], Found], xq: Vectors, k: int, rows: int) -> Found:
    """The k best of `rows` rows for each of (nq, d) float32 queries, of a `search` that compares every row: as `best`,
    also where rows that are equal lie on both sides of the cut, so that the first hits do not depend on k.
    """
    count = min(rows, k + 1)  # one more than is wanted: where it scores as the k-th does, others may too
    found, at = search(xq, count)
    scores, positions = best(found, at, k)
    tied = np.flatnonzero(found[:, -1] == scores[:, k - 1]) if count > k else np.empty(0, np.int64)
    while len(tied) and count < rows:
        count = min(rows, _MORE * count)
        found, at = search(xq[tied], count)
        scores[tied], positions[tied] = best(found, at, k)
        tied = tied[found[:, -1] == scores[tied, k - 1]]
    return scores, positions


def enough(search: Callable[[Vectors, int], Found], xq: Vectors, wanted: int, first: int, widest: int) -> Found:
    """What `search`, which looks at so many lists, finds for (nq, d) float32 queries: `wanted` rows or more for each of
    them, as far as all lists together give so many.

    It begins with `first` lists; who got fewer rows is asked again with twice as many, up to all, the `widest`. Each
    query goes as far as it needs to, whatever others are asked with it.
    """
    scores, positions = search(xq, first)
    lists, short = first, _short(positions, wanted)
    while len(short) and lists < widest:
        lists = min(2 * lists, widest)
        scores[short], positions[short] = search(xq[short], lists)
        short = short[_short(positions[short], wanted)]
    return scores, positions


def filled_up(found: Found, wanted: int, rows: Positions | int) -> Found:
    """`found`, (nq, c) float32 and int64, with `wanted` rows for each query: where there are fewer, the first others of
    `rows` (positions, or how many there are) come behind, scored as the last one, or 0 where there is none.
    """
    scores, positions = found
    for query in _short(positions, wanted):
        there = np.flatnonzero(positions[query] >= 0)
        every = np.arange(rows) if isinstance(rows, int) else rows
        others = every[~np.isin(every, positions[query, there])][: wanted - len(there)]
        free = np.flatnonzero(positions[query] < 0)[: len(others)]
        positions[query, free] = others
        scores[query, free] = scores[query, there].min() if len(there) else 0
    return scores, positions


def _short(positions: Positions, wanted: int) -> Positions:
    """The queries, (n,), that have fewer than `wanted` rows."""
    return np.flatnonzero((positions >= 0).sum(axis=1) < wanted)


def _leading(scores: Vectors, positions: Positions, k: int) -> Found:
    """The columns of each row that score as well as its k-th best, and as many others as make the rows equally long."""
    behind = scores < -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
    width = int((~behind).sum(axis=1).max())
    order = np.argsort(behind, axis=1, kind="stable")[:, :width]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(positions, order, 1)
