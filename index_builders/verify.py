"""What FAISS does without a word, checked on the files as readers will open them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from index_builders.evaluate import HeldOut
from index_builders.shards import SegmentRef, read_ids
from lookup.errors import IntegrityError, VitrineError
from lookup.index import PartitionIndex

_SELF_QUERIES = 200
_SELF_K = 100  # among near-duplicates, codes alone may rank 10 others before the vector itself
_SELF_TOLERANCE = 1e-4  # of the score: far more than rounding, far less than the distance to another product


def check_ids(index: PartitionIndex, segments: Sequence[SegmentRef]) -> None:
    """Position by position the ids of the segments, none of them twice; IntegrityError otherwise."""
    start = 0
    hashes = np.empty(index.rows, dtype=np.int64)
    for ref in segments:
        ids = read_ids(ref).to_pylist()
        if index.ids(np.arange(start, start + len(ids))) != ids:
            expected = f"the ids of {ref.path}, row group {ref.row_group}, from position {start} on"
            raise IntegrityError(expected, "other ids", _AGAIN)
        hashes[start : start + len(ids)] = [hash(text) for text in ids]
        start += len(ids)
    # Equal ids have equal hashes, so that only the few positions with an equal one need their texts compared.
    _, at, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    suspects = Counter(index.ids(np.flatnonzero(counts[at] > 1)))
    twice = [text for text, count in suspects.items() if count > 1]
    if twice:
        came = f"{len(twice)} ids more than once, {twice[0]!r} first"
        raise IntegrityError("every id once in a partition", came, _DUPLICATES)


def check_finds_itself(index: PartitionIndex, queries: HeldOut) -> None:
    """Some 200 of the rows, asked for, must be found, or rows that score as well; VitrineError otherwise.

    Codes that are too coarse lose rows too: nothing in the store is damaged.
    """
    chosen = np.unique(np.linspace(0, len(queries.xq) - 1, min(_SELF_QUERIES, len(queries.xq))).astype(np.int64))
    xq, own = queries.xq[chosen], queries.own[chosen]
    scores, positions = index.search(xq, min(_SELF_K, index.rows))
    deserved = np.einsum("ij,ij->i", xq, xq)
    mine = positions == own[:, None]
    # A row that is not returned must have been beaten; one that is must bear its own score, or vectors lie elsewhere.
    score = np.where(mine.any(axis=1), scores[np.arange(len(own)), mine.argmax(axis=1)], scores[:, 0])
    missed = score < deserved * (1 - _SELF_TOLERANCE)
    if missed.any():
        first = int(np.flatnonzero(missed)[0])
        raise VitrineError(
            f"every sampled vector of {index.name} to find itself",
            f"{int(missed.sum())} of {len(xq)} do not; position {own[first]} scores {deserved[first]:.6f}, "
            f"the index says {score[first]:.6f}",
            "raise index.large.refine_factor or index.target_recall; if that does not help, report it with the shards",
        )


_AGAIN = "run `vitrine verify STORE`: a shard changed while its index was built"
_DUPLICATES = "delete the run's folder and run again: the plan rejects duplicates, so a shard holds rows of two runs"
