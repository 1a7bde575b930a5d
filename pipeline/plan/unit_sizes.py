"""How many rows a unit has, where the config leaves it to the catalog."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lookup.store.manifest import Manifest

_LEAST_UNIT = 1024  # rows
# Rows of a partition in a shard, on average: with 4, a row takes 2.5 times the bytes and 10 times as long to read.
_LEAST_SEGMENT = 64
_MOST_SEGMENTS = 100_000  # units times partitions
_UNITS = 64  # enough for workers to share; a unit costs some 13 ms beside its rows


@dataclass(frozen=True)
class Before:
    """What a plan takes over from the snapshot that is published: what its partitions are called, and how many rows a
    unit had.
    """

    partitions: tuple[str, ...] = ()
    unit_rows: int | None = None  # None: nothing is published, or by an earlier version

    @classmethod
    def of(cls, parent: Manifest | None) -> Before:
        """What there is of a snapshot."""
        return NOTHING if parent is None else cls(tuple(one.name for one in parent.partitions), parent.unit_rows)


NOTHING = Before()


def rows_of_unit(rows: int, partitions: int, before: int | None = None) -> int:
    """How many rows `shards.unit_rows: auto` gives a unit of a catalog of so many rows and partitions: few enough units
    that what a manifest lists stays small, no more than workers can share, and enough rows of a partition in a shard
    that these are no crumbs.

    A power of two, so that a catalog that grows is hardly ever cut anew; and what it was `before` where that is twice
    as much, so that one whose size goes up and down is not: a cut anew builds every index again.
    """
    wanted = max(_LEAST_UNIT, _LEAST_SEGMENT * partitions, rows * partitions / _MOST_SEGMENTS, rows / _UNITS)
    found = 1 << math.ceil(math.log2(wanted))
    return before if before == 2 * found else found
