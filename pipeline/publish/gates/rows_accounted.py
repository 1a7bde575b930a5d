"""Whether every row of every shard came to something."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from foundation.arrays import Mask
from lookup.store.shards import Shards
from pipeline.publish.gates.base import Comparison, Invariant


class Gate(Invariant):
    """Of every shard, rows in are embedded + rejected."""

    name, rank = "rows_accounted", 10
    what = "shards whose rows in are not embedded + rejected"

    def wrong(self, comparison: Comparison) -> Iterable[str]:
        """See Invariant."""
        shards = comparison.new.shards
        return (
            shards.entries[at].name
            for at in np.flatnonzero(~_adds_up(shards, comparison.scope, comparison.merged)).tolist()
        )


def _adds_up(shards: Shards, scope: frozenset[str] | None, merged: bool) -> Mask:
    """(n,) whether a shard's counts agree: all that its unit was, or, where a re-index of others replaced some of its
    partitions, no less than what is left of it. Before it is merged a snapshot has passed without.
    """
    segments, entries = shards.segments, shards.entries
    files = [(one.file.rows if one.file else 0, one.rejects.rows if one.rejects else 0) for one in entries]
    in_files = np.array(files, np.int64).reshape(-1, 2)
    live = np.stack([segments.by_shard(len(entries)), segments.lost_by_shard("rejected", len(entries))], axis=1)
    whole: Mask = np.array([one.rows_in for one in entries], np.int64) == in_files.sum(axis=1)
    all_live: Mask = (live == in_files).all(axis=1)
    if scope is None:
        return whole & all_live
    touched = segments.in_scope(scope, len(entries)) & (not merged)
    return whole & np.where(touched, all_live, (live <= in_files).all(axis=1))
