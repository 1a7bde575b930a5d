"""Terms of queries and titles, as features compare them: those of the lexical half, in the order of the text."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from lookup.lexical.analysis import Analysis, Role
from lookup.lexical.words import words_of

_KEPT = 16_384  # titles whose terms stay in memory
_LONGEST = 400  # characters of a title that count
_NUMBER = re.compile(r"\w*\d\w*(?:[.,]\d+)*")


class Title(NamedTuple):
    """A title as features read it: its terms in order, its words with digits, and itself in small letters and single
    spaces.
    """

    terms: tuple[str, ...]
    numbers: frozenset[str]
    plain: str


class Words:
    """Cuts texts into terms. Threads may share it."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.title = lru_cache(_KEPT)(self._title)
        self._terms_of = lru_cache(_KEPT)(analysis.word_terms)

    def terms(self, text: str, role: Role) -> list[str]:
        """The terms of a text, in order; of a query without stop words, where it has others."""
        words = [one.text for one in words_of(text)]
        asked = [one for one in words if role == "item" or not self.analysis.is_stop_word(one)] or words
        return [term for word in asked for term in self._terms_of(word)]

    def _title(self, text: str) -> Title:
        short = text[:_LONGEST]
        return Title(tuple(self.terms(short, "item")), numbers_of(short), plain_of(short))


def numbers_of(text: str) -> frozenset[str]:
    """The words of a text that have digits, as they stand: `WH-1000XM4` has `1000xm4`."""
    return frozenset(_NUMBER.findall(text.casefold()))


def plain_of(text: str) -> str:
    """A text in small letters and single spaces, with one at either end."""
    return f" {' '.join(text.casefold().split())} "
