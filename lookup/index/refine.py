"""Refine vectors: what ranks the candidates of a coarse index again, memory-mapped, so that they cost no memory.

    fp16    refine.npy (n, d) float16, the vectors themselves: scores are the true ones
    sq8     refine.npy (n, d) uint8 and refine_range.npy (2, d) float32, the least value of each dimension and the
            step between two codes; a number is off by half a step at most, and a dimension that never changes, whose
            step is 0, is exact

Both are plain numpy files, so that the same rows give the same bytes on every machine. For cosine, codes are those of
rows of unit length; float16 vectors are as they came, and made unit when they are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from foundation.arrays import Positions, Vectors
from foundation.metric import Metric

_NUMBERS = 1 << 19  # float32 numbers of candidates ranked at a time: 2 MB, which stays in the cache
_TOP_CODE = 255
_EXPONENTS_APART = np.float32(2.0**112)  # float16 counts exponents from -15, float32 from -127


@dataclass(frozen=True)
class Refine:
    """Open refine vectors of `rows` rows."""

    metric: Metric
    codes: npt.NDArray[Any]  # (n, d) float16 or uint8, mapped
    range: Vectors | None  # (2, d) float32: least value and step; None for float16

    @classmethod
    def open(cls, paths: Mapping[str, Path], metric: Metric) -> Refine | None:
        """The refine vectors in `paths` (roles `refine`, `refine_range`); None where there are none."""
        if "refine" not in paths:
            return None
        # as an array over the map: taking rows of a numpy.memmap costs some more
        codes = np.asarray(np.load(paths["refine"], mmap_mode="r", allow_pickle=False))
        span = np.load(paths["refine_range"], allow_pickle=False) if "refine_range" in paths else None
        return cls(metric, codes, span)

    @property
    def layout(self) -> tuple[tuple[int, ...], str, tuple[int, ...] | None]:
        """Shape and type of the file, and the shape of the ranges: what a record promises."""
        return self.codes.shape, self.codes.dtype.str, None if self.range is None else self.range.shape

    @property
    def tolerance(self) -> float:
        """How far a row's score with itself may be off, as a share of 1 + its true score."""
        if self.range is None:
            return 1e-4  # far more than rounding, far less than the distance to another row
        half_step = float(np.linalg.norm(self.range[1].astype(np.float64))) / 2
        return 1e-4 + 3 * half_step + half_step**2

    def scores(self, xq: Vectors, positions: Positions) -> Vectors:
        """(nq, c) float32 scores of `stored` queries (nq, d) with the rows at `positions`; -inf where that is -1."""
        scores = np.full(positions.shape, -np.inf, dtype=np.float32)
        there = positions >= 0
        # FAISS fills up with -1 at the end: where few lists are looked at, that is most of many candidates
        width = int(np.flatnonzero(there.any(axis=0)).max(initial=-1)) + 1
        step = max(1, _NUMBERS // max(1, width * self.codes.shape[1]))
        for start in range(0, len(xq), step):
            part = slice(start, start + step), slice(width)
            # not self.codes[...], which takes twice as long
            found = self._scores(xq[part[0]], self.codes.take(np.maximum(positions[part], 0), axis=0))
            scores[part] = np.where(there[part], found, -np.inf)
        return scores

    def _scores(self, xq: Vectors, codes: npt.NDArray[Any]) -> Vectors:
        if self.range is None:
            rows = widened(codes)
            if self.metric is Metric.COSINE:
                rows = self.metric.stored(rows.reshape(-1, rows.shape[2])).reshape(rows.shape)
            return self.metric.scores(xq, rows)
        rows = codes.astype(np.float32)
        low, step = self.range
        if self.metric is Metric.L2:
            return self.metric.scores(xq, rows * step + low)
        # <q, low + step * code> = <q, low> + <q * step, code>: no row is decoded
        return np.asarray(self.metric.scores(xq * step, rows) + (xq @ low)[:, None], dtype=np.float32)


def widened(halves: npt.NDArray[np.float16]) -> Vectors:
    """float16 numbers of any shape, all finite, as the equal float32 ones, in a fifth of the time of numpy's
    conversion.

    The bits are moved to where float32 has them, and the exponent is corrected by a product, which is exact. (Where a
    library made the processor flush subnormal numbers to zero, what is below 6e-5 becomes 0.)
    """
    bits = halves.view(np.int16).astype(np.int32)  # the sign is in all upper bits
    bits <<= 13
    bits &= ~0x70000000  # of the sign only bit 31 is left
    floats: Vectors = bits.view(np.float32)
    floats *= _EXPONENTS_APART
    return floats


def ranges(blocks: Iterable[Vectors], dim: int) -> Vectors:
    """(2, dim) float32: the least value of each dimension over all rows, and the step that makes 255 of its range.

    A dimension that never changes has step 0, so that it adds nothing to `Refine.tolerance`.
    """
    low, high = np.full(dim, np.inf, np.float32), np.full(dim, -np.inf, np.float32)
    for block in blocks:
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
    return np.stack([low, (high - low) / np.float32(_TOP_CODE)]).astype(np.float32)


def codes(block: Vectors, span: Vectors) -> npt.NDArray[np.uint8]:
    """(n, d) float32 rows as codes (n, d) uint8 of the ranges `span`, (2, d) float32."""
    low, step = span
    divisor = np.where(step > 0, step, np.float32(1))
    return np.asarray(np.clip(np.rint((block - low) / divisor), 0, _TOP_CODE).astype(np.uint8))


def appended(blocks: Iterable[npt.NDArray[Any]], shape: tuple[int, ...], dtype: str, out: IO[bytes]) -> Iterator[int]:
    """Write a .npy file of `blocks`, (n, d) of `dtype` together of that shape, to `out`, and say after each how many
    rows are in it.

    By plain writes: a full disk under a memory-mapped file ends the process (SIGBUS) instead of raising.
    """
    np.lib.format.write_array_header_1_0(out, {"descr": dtype, "fortran_order": False, "shape": shape})
    written = 0
    for block in blocks:
        out.write(np.ascontiguousarray(block).tobytes())
        written += len(block)
        yield written
