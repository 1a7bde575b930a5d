"""Where products of an open snapshot lie, by id.

FAISS and shards know positions. The way back is a sorted table of 8 bytes a row and partition, made when an id is first
asked for (1.3 s of CPU for 10,000,000 ids): in each number 32 bits of a hash of the id, then the
position. Ids of one hash are told apart by comparing them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from foundation.errors import InputError
from lookup.lru import Recent
from lookup.near_ids import NearIds
from lookup.segments import Partition

_AT_ONCE = 65_536  # ids hashed at a time
_BYTES = 1 << 18  # of ids hashed at a time; their powers, 16 bytes of each, stay in memory
_MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so that it has an inverse among 64-bit numbers; 2^64 over the golden ratio
_LOW = np.uint64(0xFFFFFFFF)
Numbers = npt.NDArray[np.uint64]


class Place(NamedTuple):
    """A row of an open snapshot."""

    partition: str
    position: int


class Places:
    """The places of ids. Threads may share it: each table is made once, whoever asks first."""

    def __init__(self, partitions: Mapping[str, Partition]) -> None:
        self._partitions = partitions
        self._tables: Recent[str, Numbers] = Recent(len(partitions))

    def of(self, ids: Sequence[str]) -> list[tuple[Place, ...]]:
        """Where each of `ids` lies: nowhere, or in one partition; in several where a category was indexed again after a
        product had moved.
        """
        asked = hashes(pa.array(ids, pa.string()))
        found: list[list[Place]] = [[] for _ in ids]
        for name, partition in self._partitions.items():
            table = self._tables.get(name, lambda one=partition: _table(one.index.id_column))  # type: ignore[misc]
            starts, ends = np.searchsorted(table, asked), np.searchsorted(table, asked | _LOW, side="right")
            for at in np.flatnonzero(starts < ends).tolist():
                positions = (table[starts[at] : ends[at]] & _LOW).astype(np.int64)
                there = zip(positions.tolist(), partition.index.ids(positions), strict=True)
                found[at] += [Place(name, position) for position, one in there if one == ids[at]]
        return [tuple(one) for one in found]

    def known(self, ids: Sequence[str], option: str) -> list[tuple[Place, ...]]:
        """As `of`; InputError, which names `option` and ids that may be meant, where one of them is nowhere."""
        found = self.of(ids)
        missing = next((one for one, places in zip(ids, found, strict=True) if not places), None)
        if missing is not None:
            near = NearIds(missing)
            for partition in self._partitions.values():
                for chunk in partition.index.id_column.chunks:
                    near.see(chunk)
            names = ", ".join(map(repr, near.nearest()))
            raise InputError(
                "the id of a product of the snapshot" + (f", such as {names}" if names else ""),
                f"{missing!r}, which it does not have",
                f"correct {option}; `vitrine explain STORE ID` says what became of a product",
            )
        return found


def _table(ids: pa.ChunkedArray) -> Numbers:
    """(rows,) rising: the hash of each id in the upper half, its position in the lower."""
    table, start = np.empty(len(ids), np.uint64), 0
    for block in _blocks(ids):
        table[start : start + len(block)] = hashes(block) | np.arange(start, start + len(block), dtype=np.uint64)
        start += len(block)
    table.sort()
    return table


def _blocks(ids: pa.ChunkedArray) -> Iterable[pa.Array]:
    return (chunk.slice(at, _AT_ONCE) for chunk in ids.chunks for at in range(0, len(chunk), _AT_ONCE))


def hashes(ids: pa.Array) -> Numbers:
    """(n,) uint64 of (n,) strings: 32 bits of a hash in the upper half, zeros in the lower.

    The bytes of an id are the digits of a number in base `_MULTIPLIER`, modulo 2^64. Running sums over all bytes of a
    block give these of every id at once; the power of the place where an id begins is divided off.
    """
    _, offsets, joined = ids.buffers()
    found = np.zeros(len(ids), np.uint64)
    if not len(ids):
        return found
    ends = np.frombuffer(offsets, np.int32)[ids.offset : ids.offset + len(ids) + 1].astype(np.int64)
    if joined is not None and ends[-1] > ends[0]:
        digits, start = np.frombuffer(joined, np.uint8), 0
        while start < len(ids):  # as many ids as have so many bytes, one at least
            stop = max(start + 1, int(np.searchsorted(ends, ends[start] + _BYTES, side="right")) - 1)
            block = ends[start : stop + 1]
            found[start:stop] = _sums(digits[block[0] : block[-1]], block - block[0])
            start = stop
        found += (ends[1:] - ends[:-1]).astype(np.uint64)
    found ^= found >> np.uint64(32)  # lower bits of products depend on lower bits alone
    found *= np.uint64(_MULTIPLIER)
    found &= ~_LOW
    return found


def _sums(digits: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> Numbers:
    """(n,) numbers whose digits stand between (n + 1,) `ends`."""
    powers, inverses = _kept_powers() if len(digits) <= _BYTES else _powers(len(digits) + 1)
    sums = np.zeros(len(digits) + 1, np.uint64)
    np.cumsum(digits * powers[: len(digits)], out=sums[1:])
    return np.asarray((sums[ends[1:]] - sums[ends[:-1]]) * inverses[ends[:-1]])


@cache
def _kept_powers() -> tuple[Numbers, Numbers]:
    return _powers(_BYTES + 1)


def _powers(count: int) -> tuple[Numbers, Numbers]:
    """(count,) powers of the multiplier and of its inverse, modulo 2^64."""
    return _powers_of(_MULTIPLIER, count), _powers_of(pow(_MULTIPLIER, -1, 1 << 64), count)


def _powers_of(base: int, count: int) -> Numbers:
    powers = np.full(count, base, np.uint64)
    powers[0] = 1
    return np.asarray(np.cumprod(powers), np.uint64)
