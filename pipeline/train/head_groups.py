"""Groups brought together in bounded memory: rows go into files by the hash of their group, which are then read one by
one. A group of any size is summed piece by piece.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encoders.heads.held_out import FOLDS, Sample
from encoders.heads.sums import Sums
from foundation.arrays import Mask, Positions, Vectors
from foundation.liveness import beat
from pipeline.embed.vectors import Halves
from pipeline.engine.progress import Progress
from pipeline.train.head_rows import HeadRows, Keys, mixed

_PIECE_BYTES = 32 << 20  # of rows of a file that are in memory at once, in float16
_MOST_FILES = 256
_SAMPLE_ROWS = 16_384
_OF_A_GROUP = 32  # rows of one group in the sample


@dataclass(frozen=True)
class Counts:
    """Rows, groups, and groups of two rows or more; and how many rows a sample could take of them."""

    rows: int
    groups: int
    shared: int
    able: int


class GroupFiles:
    """The rows of a snapshot in files of `folder`, those of a group in the same."""

    def __init__(self, rows: HeadRows, folder: Path, seed: int, progress: Progress | None = None) -> None:
        self.dim = sum(rows.dims.values())
        self._folder, self._salts = folder, mixed(np.array([seed, seed + 1], np.uint64))
        self._piece = max(1, _PIECE_BYTES // (2 * self.dim))
        self._files = max(1, min(_MOST_FILES, -(-rows.manifest.rows // self._piece)))
        folder.mkdir()
        with ExitStack() as stack:
            opened = [
                tuple(stack.enter_context(open(path, "wb")) for path in self._paths(at)) for at in range(self._files)
            ]
            done = 0
            for keys, halves in rows.batches():
                done += len(keys)
                if progress is not None:
                    progress("read", done, rows.manifest.rows)
                at = (keys >> np.uint64(32)) % np.uint64(self._files)
                order = np.argsort(at, kind="stable")
                for number, some in enumerate(np.split(order, np.searchsorted(at[order], np.arange(1, self._files)))):
                    if len(some):
                        opened[number][0].write(keys[some].tobytes())
                        opened[number][1].write(halves[some].tobytes())

    def counts(self) -> Counts:
        """How many there are."""
        rows = groups = shared = able = 0
        for at in range(self._files):
            _, sizes = np.unique(self._keys(at), return_counts=True)
            rows, groups, shared = rows + int(sizes.sum()), groups + len(sizes), shared + int((sizes > 1).sum())
            able += int(np.minimum(sizes, _OF_A_GROUP).sum())
        return Counts(rows, groups, shared, able)

    def sums(self, able: int, progress: Progress | None = None) -> tuple[list[Sums], Sample]:
        """The sums of each part of the groups, and some whole groups, or the first rows of large ones; `able` is how
        many rows could be in it.
        """
        parts = [Sums(self.dim) for _ in range(FOLDS)]
        share = min(1.0, _SAMPLE_ROWS / max(1, able))
        sampled = list[tuple[Halves, Keys]]()
        for at in range(self._files):
            sampled.append(self._add(at, parts, share))
            beat()
            if progress is not None:
                progress("sum", at + 1, self._files)
        keys = np.concatenate([keys for _, keys in sampled])
        vectors = np.concatenate([halves for halves, _ in sampled]).astype(np.float32)
        group = np.unique(keys, return_inverse=True)[1].astype(np.int64)
        return parts, Sample(vectors, group, self._part(keys))

    def _add(self, at: int, parts: list[Sums], share: float) -> tuple[Halves, Keys]:
        """Add the groups of a file; its rows in the sample, and their keys."""
        keys = self._keys(at)
        groups, places, sizes = np.unique(keys, return_inverse=True, return_counts=True)
        for one, part in enumerate(parts):
            held = sizes[self._part(groups) == one]
            part.groups += len(held)
            part.shared += int((held > 1).sum())
        means, numbers = self._means(at, places, sizes)
        chosen = _early(places, sizes) & self._drawn(keys, share)
        halves, part_of = [np.empty((0, self.dim), np.float16)], self._part(keys)
        for start, piece in self._pieces(at, len(keys)):
            rows, here = piece.astype(np.float32), slice(start, start + len(piece))
            halves.append(piece[chosen[here]])
            number = numbers[places[here]]
            for one, part in enumerate(parts):
                mine = part_of[here] == one
                shared, alone = mine & (number >= 0), rows[mine & (number < 0)]
                part.add(alone, np.ones(len(alone), np.int64), rows[shared] - means[number[shared]])
        for one, part in enumerate(parts):
            mine = self._part(groups[sizes > 1]) == one
            part.add(means[mine], sizes[sizes > 1][mine], np.empty((0, self.dim), np.float32))
        return np.concatenate(halves), keys[chosen]

    def _means(self, at: int, places: Positions, sizes: Positions) -> tuple[Vectors, Positions]:
        """(g, d) float32 of the groups of two rows or more, and of each group its row there, (groups,) int64 or -1."""
        numbers = np.where(sizes > 1, np.cumsum(sizes > 1) - 1, -1)
        means = np.zeros((int((sizes > 1).sum()), self.dim), np.float32)
        for start, piece in self._pieces(at, len(places)):
            number = numbers[places[start : start + len(piece)]]
            order = np.argsort(number, kind="stable")
            order = order[number[order] >= 0]
            if len(order):
                found, starts = np.unique(number[order], return_index=True)
                means[found] += np.add.reduceat(piece[order].astype(np.float32), starts, axis=0)
        means /= sizes[sizes > 1, None].astype(np.float32)
        return means, numbers

    def _pieces(self, at: int, rows: int) -> Iterator[tuple[int, Halves]]:
        """(first row, (n, d) float16) of a file."""
        with open(self._paths(at)[1], "rb") as file:
            for start in range(0, rows, self._piece):
                count = min(self._piece, rows - start)
                yield start, np.fromfile(file, np.float16, count * self.dim).reshape(count, self.dim)

    def _keys(self, at: int) -> Keys:
        return np.fromfile(self._paths(at)[0], np.uint64)

    def _part(self, keys: Keys) -> Positions:
        return (mixed(keys ^ self._salts[0]) % np.uint64(FOLDS)).astype(np.int64)

    def _drawn(self, keys: Keys, share: float) -> Mask:
        lots = mixed(keys ^ self._salts[1]) >> np.uint64(11)
        return np.asarray(lots < np.uint64(round(share * (1 << 53))))

    def _paths(self, at: int) -> tuple[Path, Path]:
        return self._folder / f"{at}.keys", self._folder / f"{at}.rows"


def _early(places: Positions, sizes: Positions) -> Mask:
    """(n,) bool: the first rows of each group, as they came."""
    order = np.argsort(places, kind="stable")
    starts = np.cumsum(sizes) - sizes
    found = np.empty(len(places), bool)
    found[order] = np.arange(len(places)) - np.repeat(starts, sizes) < _OF_A_GROUP
    return found
