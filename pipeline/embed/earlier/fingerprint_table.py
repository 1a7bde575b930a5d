"""Which row of which earlier shard has the vector of a fingerprint: a sorted table on disk, mapped by its readers.

24 bytes a row: the first eight bytes of each fingerprint, rising, then for each the other eight, the number of a shard,
and a row of it. Rows are scattered over files by their first bits and sorted file by file, so that memory holds one of
these at a time, however many rows there are.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from foundation.arrays import Mask

_HIGH = np.dtype("<u8")
_REST = np.dtype([("low", "<u8"), ("shard", "<u4"), ("row", "<u4")])
_ENTRY = np.dtype([("high", "<u8"), *_REST.descr])
_BUCKET_ROWS = 1 << 17  # sorted at once: 4 MB
_MOST_BUCKETS = 256  # files that are open at once
_BUFFERED = 1 << 16  # rows that are scattered at once


class Places(NamedTuple):
    """Where fingerprints were found: (n,) numbers of shards, -1 where nowhere, and (n,) rows of these."""

    shards: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]


class TableWriter:
    """Writes the table at `path`; `rows` is about how many fingerprints will come, `scratch` a folder."""

    def __init__(self, path: Path, rows: int, scratch: Path) -> None:
        self.path, self.scratch = path, scratch
        least = math.ceil(math.log2(max(1, rows / _BUCKET_ROWS)))
        self._bits = min(least, int(math.log2(_MOST_BUCKETS)))
        self._buckets = [(scratch / f"{path.name}.{number}").open("w+b") for number in range(1 << self._bits)]
        self._waiting: list[npt.NDArray[np.void]] = []

    def add(self, shard: int, fingerprints: pa.Array) -> None:
        """Add those of a shard's rows, (n,) binary(16) in order; null: none to find."""
        self._waiting.append(_entries(shard, fingerprints))
        if sum(map(len, self._waiting)) >= _BUFFERED:
            self._scatter()

    def close(self) -> int:
        """Write the table, and return how many fingerprints it has; of equal ones the first that came is there."""
        self._scatter()
        rest = self.scratch / f"{self.path.name}.rest"
        total = 0
        with self.path.open("wb") as highs, rest.open("w+b") as others:
            for bucket in self._buckets:
                bucket.seek(0)
                entries = _sorted(np.fromfile(bucket, _ENTRY))
                bucket.close()
                Path(bucket.name).unlink()
                total += len(entries)
                highs.write(np.ascontiguousarray(entries["high"]).tobytes())
                others.write(entries[list(_REST.names or ())].astype(_REST).tobytes())
            others.seek(0)
            shutil.copyfileobj(others, highs, 1 << 20)
        rest.unlink()
        return total

    def _scatter(self) -> None:
        """Append what waits to the file of its first bits."""
        if not self._waiting:
            return
        entries, self._waiting = np.concatenate(self._waiting), []
        if not self._bits:
            self._buckets[0].write(entries.tobytes())
            return
        numbers = (entries["high"] >> np.uint64(64 - self._bits)).astype(np.int64)
        order = np.argsort(numbers, kind="stable")
        bounds = np.searchsorted(numbers[order], np.arange(len(self._buckets) + 1))
        ordered = entries[order]
        for number, bucket in enumerate(self._buckets):
            if bounds[number] < bounds[number + 1]:
                bucket.write(ordered[bounds[number] : bounds[number + 1]].tobytes())


class FingerprintTable:
    """A table that a TableWriter left. It is mapped, so that processes share its pages, and the kernel may drop
    them.
    """

    def __init__(self, path: Path) -> None:
        self.rows = path.stat().st_size // _ENTRY.itemsize
        if self.rows:
            self._highs = np.memmap(path, _HIGH, "r", 0, (self.rows,))
            self._rest = np.memmap(path, _REST, "r", self.rows * _HIGH.itemsize, (self.rows,))

    def find(self, fingerprints: pa.Array) -> Places:
        """Where each of n fingerprints, (n,) binary(16), is; nulls are nowhere.

        Of several that begin with the same eight bytes, which chance gives once in a million tables of ten million
        rows, one is found: the others are encoded.
        """
        shards, rows = np.full(len(fingerprints), -1, np.int64), np.zeros(len(fingerprints), np.int64)
        there = fingerprints.is_valid().to_numpy(zero_copy_only=False)
        if not self.rows or not there.any():
            return Places(shards, rows)
        high, low = _halves(fingerprints)
        order = np.argsort(high)  # neighbours are found near one another: twice as fast
        at = np.empty(len(high), np.int64)
        at[order] = np.searchsorted(self._highs, high[order])
        at = np.minimum(at, self.rows - 1)
        entries = self._rest[at]
        found: Mask = there & (self._highs[at] == high) & (entries["low"] == low)
        shards[found], rows[found] = entries["shard"][found], entries["row"][found]
        return Places(shards, rows)


def _halves(fingerprints: pa.Array) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """The first eight bytes of each, as numbers that sort as they do, and the other eight; anything where null."""
    start, n = 16 * fingerprints.offset, len(fingerprints)
    raw = np.frombuffer(fingerprints.buffers()[1], ">u8", 2 * n, start).reshape(n, 2)
    return raw[:, 0].astype(np.uint64), raw[:, 1].astype(np.uint64)


def _entries(shard: int, fingerprints: pa.Array) -> npt.NDArray[np.void]:
    there = np.flatnonzero(fingerprints.is_valid().to_numpy(zero_copy_only=False))
    entries = np.empty(len(there), _ENTRY)
    if len(there):
        high, low = _halves(fingerprints)
        entries["high"], entries["low"], entries["shard"], entries["row"] = high[there], low[there], shard, there
    return entries


def _sorted(entries: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """By fingerprint, the first of equal ones alone."""
    order = np.lexsort((entries["low"], entries["high"]))
    entries = entries[order]
    again: Mask = (entries["high"][1:] == entries["high"][:-1]) & (entries["low"][1:] == entries["low"][:-1])
    return np.asarray(entries[np.concatenate([[True], ~again])[: len(entries)]])
