"""Misspelled words: the words of an index within an edit or two of one that no item has.

Edits are those of Damerau (1964): a letter put in, left out or replaced, or two neighbours swapped ("optimal string
alignment": no letter is edited twice). Each word has a signature of 64 bits: 32 for its letters, 32 for its pairs of
neighbours. One edit changes at most 2 of the first and 4 of the others, or none and 6, or 1 and 3: words whose
signatures differ in more than 6 bits an edit, or in more than 2 of the first, are not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_BITS, _OF_LETTERS = 6, 2  # that one edit changes of a signature, and of these of its lower half
_LETTERS = np.uint64(0xFFFFFFFF)
# Letters of a word that is corrected to, at least and at most; of one that is corrected; of one that may have another
# first letter; and of one that may have two edits. Short words are near too many others.
SHORTEST, LONGEST, CORRECTED, OTHER_FIRST, LONG = 3, 40, 4, 5, 8
Codes = npt.NDArray[np.uint32]


def signatures(words: Sequence[str]) -> npt.NDArray[np.uint64]:
    """(n,) uint64: the signature of each of `words`, none empty."""
    if not words:
        return np.zeros(0, np.uint64)
    codes = np.frombuffer("".join(words).encode("utf-32-le"), np.uint32).astype(np.uint64)
    ends = np.cumsum([len(word) for word in words])
    letters = np.uint64(1) << (codes & np.uint64(31))
    pairs = np.zeros(len(codes), np.uint64)
    hashed = (codes[:-1] * np.uint64(7) + codes[1:] * np.uint64(13)) & np.uint64(31)
    pairs[:-1] = np.uint64(1) << (hashed + np.uint64(32))
    pairs[ends - 1] = 0  # none reaches over the end of a word
    return np.bitwise_or.reduceat(letters | pairs, ends - np.array([len(word) for word in words]))


def alike(signature: np.uint64, of_words: npt.NDArray[np.uint64], edits: int) -> npt.NDArray[np.int64]:
    """Places of the words whose signatures do not rule out that they are `edits` away."""
    differing = of_words ^ signature
    places = np.flatnonzero(np.bitwise_count(differing) <= _BITS * edits)
    near: npt.NDArray[np.int64] = places[np.bitwise_count(differing[places] & _LETTERS) <= _OF_LETTERS * edits]
    return near


def distances(word: str, others: Sequence[str], most: int) -> npt.NDArray[np.int64]:
    """(n,) int64: the edits from `word` to each of `others`; above `most`, some number above it."""
    if not others:
        return np.zeros(0, np.int64)
    widths = np.array([len(one) for one in others])
    width = int(widths.max())
    table = np.frombuffer("".join(one.ljust(width, "\0") for one in others).encode("utf-32-le"), np.uint32)
    letters = np.ascontiguousarray(table.reshape(len(others), width).T)  # (width, n): one letter of each beside another
    own = [ord(one) for one in word]
    above = np.full((len(own) + 1, len(others)), most + 1, np.int64)
    before, last = above, np.repeat(np.arange(len(own) + 1)[:, None], len(others), axis=1)
    result = np.where(widths == 0, len(own), most + 1)
    for at in range(width):
        row = above.copy()
        row[0] = at + 1
        for place in range(max(1, at + 1 - most), min(len(own), at + 1 + most) + 1):  # farther apart is above `most`
            same = letters[at] == own[place - 1]
            best = np.minimum(np.minimum(row[place - 1], last[place]) + 1, last[place - 1] + ~same)
            if at and place > 1:
                swapped = (letters[at] == own[place - 2]) & (letters[at - 1] == own[place - 1])
                best = np.where(swapped, np.minimum(best, before[place - 2] + 1), best)
            row[place] = best
        before, last = last, row
        result = np.where(widths == at + 1, row[-1], result)
    return result
