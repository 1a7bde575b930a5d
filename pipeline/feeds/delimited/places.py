"""Where the records of a block stand in their file, worked out only when somebody asks: of few rows anybody does."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pipeline.feeds.delimited.dialect import Dialect

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class WellFormed:
    """Text of well-formed records alone, as pieces of a block: where each begins in it, and in the block."""

    text: bytes
    pieces: tuple[tuple[int, int], ...] = ((0, 0),)


@dataclass(frozen=True)
class Places:
    """The records of a block: those well-formed, of which `invalid` (by number, from 0) have too many or too few
    values, and those that are not, by where they begin. `rows` and `lines` of the file came before.
    """

    dialect: Dialect
    block: bytes
    good: WellFormed
    invalid: Collection[int]
    broken: Sequence[int]
    rows: int
    lines: int

    def of_row(self, number: int) -> tuple[int, int]:
        """(row, line) in the file of a row of the block's table."""
        return self.at(self._valid[number])

    def of_record(self, number: int) -> tuple[int, int]:
        """The same of a well-formed record."""
        return self.at(self._starts[number])

    def at(self, start: int) -> tuple[int, int]:
        """The same of the record that begins there in the block."""
        row = int(np.searchsorted(self._every, start)) + 1
        return self.rows + row, self.lines + int(np.searchsorted(self._line_ends, start)) + 1

    @cached_property
    def _line_ends(self) -> Positions:
        return np.flatnonzero(np.frombuffer(self.block, np.uint8) == ord("\n"))

    @cached_property
    def _starts(self) -> list[int]:
        """Where each well-formed record begins in the block; blank lines are none."""
        found, text = list[int](), self.good.text
        pieces = [*self.good.pieces, (len(text), 0)]
        for (piece, at), (end, _) in pairwise(pieces):
            position = piece
            while position < end:
                match = self.dialect.record.match(text, position)
                after = match.end() if match and match.end() > position else end
                if text[position:after].strip(b"\r\n"):
                    found.append(at + position - piece)
                position = after
        return found

    @cached_property
    def _valid(self) -> list[int]:
        return [start for number, start in enumerate(self._starts) if number not in self.invalid]

    @cached_property
    def _every(self) -> Positions:
        return np.sort(np.array([*self._starts, *self.broken], np.int64))
