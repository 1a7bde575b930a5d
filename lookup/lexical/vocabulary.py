"""The words of an index as its items have them: which there are, and which are nearly a given one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lookup.lexical.files import LexicalFiles
from lookup.lexical.spelling import OTHER_FIRST, alike, distances, signatures


@dataclass(frozen=True)
class Near:
    """A word that is nearly a given one."""

    word: str
    edits: int
    rows: int  # that have it


@dataclass(frozen=True)
class Vocabulary:
    """Words of letters of one index, by length."""

    files: LexicalFiles
    starts: npt.NDArray[np.int64]  # where the words of each length begin, and the end of all

    @classmethod
    def of(cls, files: LexicalFiles) -> Vocabulary:
        """That of an open index."""
        return cls(files, np.cumsum([0, *files.head.by_length]))

    def rows_with(self, word: str) -> int:
        """Rows that have exactly `word`, folded."""
        low, high = self._of_lengths(len(word), len(word))
        key = word.encode()
        at = self.files.words.first(key, low, high)
        return int(self.files.word_rows[at]) if at < high and self.files.words[at] == key else 0

    def near(self, word: str, edits: int) -> list[Near]:
        """The words within `edits` of `word`, folded, in no order that means anything."""
        low, high = self._of_lengths(len(word) - edits, len(word) + edits)
        places = low + alike(signatures([word])[0], self.files.signatures[low:high], edits)
        words = [self.files.words[at].decode() for at in places.tolist()]
        found = zip(words, distances(word, words, edits).tolist(), self.files.word_rows[places].tolist(), strict=True)
        return [Near(*one) for one in found if one[1] <= edits]

    def _of_lengths(self, shortest: int, longest: int) -> tuple[int, int]:
        last = len(self.starts) - 1
        return int(self.starts[min(max(shortest, 0), last)]), int(self.starts[min(longest + 1, last)])


def most_likely(found: Sequence[Sequence[Near]], word: str) -> list[Near]:
    """The words that were likely meant by `word`, of those that several indexes have near it: those with the fewest
    edits, of these those with its first letter where there are any, by how many rows have them.
    """
    rows = dict[tuple[str, int], int]()
    for near in found:
        for one in near:
            rows[one.word, one.edits] = rows.get((one.word, one.edits), 0) + one.rows
    fewest = min((edits for _, edits in rows), default=0)
    nearest = [Near(one, edits, count) for (one, edits), count in rows.items() if edits == fewest]
    likely = [one for one in nearest if one.word[0] == word[0]] or (nearest if len(word) >= OTHER_FIRST else [])
    return sorted(likely, key=lambda one: (-one.rows, one.word))
