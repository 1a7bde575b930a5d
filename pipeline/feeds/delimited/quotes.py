"""Whether every quote of a block stands where one may, told from their positions alone: no value is looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_LF, _CR = 10, 13
Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Quotes:
    """The quotes of a block that begins with a record, and its ends of lines; at least one opens a value."""

    at: Positions
    lines: Positions
    sound: bool  # each opens or closes a value, or is one of two that stand for one

    def whole(self, size: int) -> bool:
        """Whether no value is open at the end of the block's `size` bytes."""
        return len(self.at) % 2 == 0 and size > 0

    def last_end(self) -> int:
        """Where the last line ends that ends outside of a value; 0 for none."""
        outside = np.flatnonzero(np.searchsorted(self.at, self.lines) % 2 == 0)
        return int(self.lines[outside[-1]]) + 1 if len(outside) else 0


def quotes_of(text: bytes, delimiter: str, quote: str) -> Quotes | None:
    """The quotes of a block; None where none of them opens a value, so that all are characters as any."""
    if not quote or quote.encode() not in text:
        return None
    characters = np.frombuffer(text, np.uint8)
    at = np.flatnonzero(characters == ord(quote))
    before = np.where(at > 0, characters[np.maximum(at, 1) - 1], _LF)
    after = np.where(at < len(text) - 1, characters[np.minimum(at, len(text) - 2) + 1], _LF)
    edges = np.array([ord(delimiter), _LF, _CR], np.uint8)
    if not np.isin(before, edges).any():
        return None
    allowed = np.append(edges, np.uint8(ord(quote)))
    sound = bool(np.isin(before[::2], allowed).all() and np.isin(after[1::2], allowed).all())
    return Quotes(at, np.flatnonzero(characters == _LF), sound)
