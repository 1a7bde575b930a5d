"""Terms of queries and titles, as features compare them: those of the lexical half, in the order of the text."""

from __future__ import annotations

from functools import lru_cache

from lookup.lexical.analysis import Analysis, Role
from lookup.lexical.words import words_of

_KEPT = 16_384  # titles whose terms stay in memory
_LONGEST = 400  # characters of a title that count


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

    def _title(self, text: str) -> tuple[str, ...]:
        return tuple(self.terms(text[:_LONGEST], "item"))
