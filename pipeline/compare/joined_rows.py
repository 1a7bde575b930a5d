"""Rows of two sides brought together by their ids, in little memory: scattered over files, joined file by file."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from foundation.liveness import beat
from pipeline.compare.row_keys import KEY, Keys

_BUCKET_ROWS = 1 << 18  # of a side, joined at once: 14 MB
_MOST_BUCKETS = 256  # files of a side that are open at once


class Pairs(NamedTuple):
    """Some rows of both sides: those that only one has, and, in the same order, those that both have."""

    gone: Keys
    added: Keys
    old: Keys
    new: Keys


def joined(old: Iterable[Keys], new: Iterable[Keys], rows: int) -> Iterator[Pairs]:
    """All rows of two sides, of about so many `rows` each, part by part. An id that a side has twice counts once."""
    bits = min(math.ceil(math.log2(max(1, rows / _BUCKET_ROWS))), int(math.log2(_MOST_BUCKETS)))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        sides = list[list[IO[bytes]]]()
        for name, keys in (("old", old), ("new", new)):
            paths = [Path(folder) / f"{name}.{number}" for number in range(1 << bits)]
            files: list[IO[bytes]] = [stack.enter_context(path.open("w+b")) for path in paths]
            _scatter(keys, files, bits)
            sides.append(files)
        for pair in zip(*sides, strict=True):
            beat()
            yield _paired(*map(_read, pair))


def _scatter(keys: Iterable[Keys], files: Sequence[IO[bytes]], bits: int) -> None:
    for some in keys:
        beat()
        if not bits:
            files[0].write(some.tobytes())
            continue
        numbers = (some["id"] >> np.uint64(64 - bits)).astype(np.int64)
        order = np.argsort(numbers, kind="stable")
        bounds = np.searchsorted(numbers[order], np.arange(len(files) + 1)).tolist()
        ordered = some[order]
        for number, file in enumerate(files):
            if bounds[number] < bounds[number + 1]:
                file.write(ordered[bounds[number] : bounds[number + 1]].tobytes())


def _read(file: IO[bytes]) -> Keys:
    """What was written, by id, the first of equal ones alone."""
    file.seek(0)
    keys: Keys = np.frombuffer(file.read(), KEY)
    _, firsts = np.unique(keys["id"], return_index=True)
    return keys[firsts]


def _paired(old: Keys, new: Keys) -> Pairs:
    _, in_old, in_new = np.intersect1d(old["id"], new["id"], assume_unique=True, return_indices=True)
    return Pairs(np.delete(old, in_old), np.delete(new, in_new), old[in_old], new[in_new])
