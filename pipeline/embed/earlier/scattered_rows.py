"""Rows of many shards at random, as catalogs in another order ask for them: vectors laid out plainly in a local file.

A shard is decoded whole when one of its rows is asked for first, by whichever process comes first; after that a row
costs a page. The file is as long as all shards together and sparse: what nobody asks for takes no room on the disk. It
is written by system calls, which say when the disk is full; a process that writes to a mapped hole is killed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from foundation.arrays import Mask
from foundation.liveness import beat
from pipeline.embed.vectors import Halves

_KEY = 16  # bytes of a fingerprint, before the vector
_ABSENT, _THERE, _DAMAGED = 0, 1, 2


class ShardVectors(NamedTuple):
    """Of a shard's n rows the fingerprints, (n,) binary(16), the vectors, (n, d) float16, and (n,) which there are."""

    fingerprints: pa.Array
    vectors: Halves
    there: Mask


class ScatteredRows:
    """The rows of shards of these lengths, whose vectors have `dim` numbers. Threads and processes may share the file
    at `path`: they write the same bytes.
    """

    def __init__(self, path: Path, lengths: Sequence[int], dim: int) -> None:
        self._starts = np.concatenate([[0], np.cumsum(lengths)])
        self._width = _KEY + 2 * dim
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _opened(path, max(1, int(self._starts[-1])) * self._width)
        self._rows = np.memmap(path, np.uint8, "r", 0, (max(1, int(self._starts[-1])), self._width))
        states = path.with_suffix(".states")
        self._states_file = _opened(states, len(lengths))
        self._states = np.memmap(states, np.uint8, "r", 0, (max(1, len(lengths)),))
        self._filling = threading.Lock()

    def read(
        self,
        shards: npt.NDArray[np.int64],
        rows: npt.NDArray[np.int64],
        fingerprints: pa.Array,
        load: Callable[[int], ShardVectors | None],
    ) -> tuple[Halves, Mask, list[int]]:
        """(m, d) float16 of (m,) rows of (m,) shards; (m,) whether there is one, made of the (m,) fingerprint; and the
        shards that are damaged. `load` gives the vectors of a shard that was not asked for before, None if damaged.
        """
        numbers = np.unique(shards)
        for shard in numbers[self._states[numbers] == _ABSENT].tolist():
            self._fill(shard, load)
        states = self._states[shards]
        at = self._starts[shards] + rows
        inside = at < self._starts[shards + 1]
        found = np.asarray(self._rows[np.where(inside, at, 0)])
        keys = np.frombuffer(fingerprints.buffers()[1], np.uint8, _KEY * len(at), _KEY * fingerprints.offset)
        same = (found[:, :_KEY] == keys.reshape(-1, _KEY)).all(axis=1)
        halves = np.ascontiguousarray(found[:, _KEY:]).view(np.float16)
        return halves, inside & same & (states == _THERE), numbers[self._states[numbers] == _DAMAGED].tolist()

    def _fill(self, shard: int, load: Callable[[int], ShardVectors | None]) -> None:
        with self._filling:
            if self._states[shard] != _ABSENT:  # another thread did
                return
            found = load(shard)
            beat()
            start, stop = self._starts[shard], self._starts[shard + 1]
            state = _DAMAGED
            if found is not None and len(found.there) == stop - start:
                self._write(self._file, int(start) * self._width, self._laid_out(found))
                state = _THERE
            self._write(self._states_file, shard, np.uint8(state).tobytes())

    def _laid_out(self, found: ShardVectors) -> bytes:
        """Each row's fingerprint and vector; of a row without a vector a fingerprint of zeros, which is nobody's."""
        keys, n = found.fingerprints, len(found.there)
        good = found.there & keys.is_valid().to_numpy(zero_copy_only=False)
        raw = np.frombuffer(keys.buffers()[1], np.uint8, _KEY * n, _KEY * keys.offset).reshape(n, _KEY)
        region = np.empty((n, self._width), np.uint8)
        region[:, :_KEY] = np.where(good[:, None], raw, 0)
        region[:, _KEY:] = np.ascontiguousarray(found.vectors).view(np.uint8)
        return region.tobytes()

    @staticmethod
    def _write(file: BinaryIO, at: int, raw: bytes) -> None:
        file.seek(at)
        file.write(raw)
        file.flush()


def _opened(path: Path, size: int) -> BinaryIO:
    """A file of that length, to be written to: zeros where nobody wrote."""
    path.open("ab").close()
    file = path.open("r+b")
    file.truncate(max(1, size, path.stat().st_size))
    return file
