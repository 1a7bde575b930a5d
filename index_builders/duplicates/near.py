"""Rows whose vectors are near, found by asking their own index for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from foundation.arrays import Positions, Vectors
from foundation.liveness import beat
from foundation.metric import Metric
from lookup.index.partition_index import PartitionIndex

# Of each row: more alike ones are linked by way of one another, as long as each has one of the rest among its nearest.
NEIGHBOURS = 20


def near_links(
    index: PartitionIndex, blocks: Callable[[], Iterable[Vectors]], bound: float
) -> Iterator[tuple[Positions, Positions]]:
    """(m,) int64 twice, block by block: rows whose cosine is `bound` or more, each with the other, of those that
    `index` finds among the `NEIGHBOURS` nearest of one of them. `blocks` gives the rows in order, (n, dim) float32
    each, as often as asked.

    The cosine is as true as the index's scores are (partition_index.py).
    """
    norms = np.concatenate([np.linalg.norm(block, axis=1) for block in blocks()])
    start = 0
    for block in blocks():
        scores, positions = index.search(block, min(NEIGHBOURS + 1, index.rows))
        rows = np.arange(start, start + len(block))[:, None]
        cosines = _cosines(index.metric, scores, norms[rows], norms[np.maximum(positions, 0)])
        at, column = np.nonzero((positions >= 0) & (positions != rows) & (cosines >= bound))
        yield at + start, positions[at, column]
        start += len(block)
        beat()


def _cosines(metric: Metric, scores: Vectors, mine: Vectors, others: Vectors) -> Vectors:
    """(n, k) of scores by `metric`, and of the lengths of rows, (n, 1), and of what was found, (n, k)."""
    if metric is Metric.COSINE:
        return scores
    products = scores if metric is Metric.INNER_PRODUCT else (mine**2 + others**2 + scores) / 2
    lengths = mine * others
    cosines: Vectors = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return cosines
