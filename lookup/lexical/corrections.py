"""Words of a query that no product has, looked for as they may have been meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from lookup.lexical.analysis import Analysis
from lookup.lexical.index import LexicalIndex
from lookup.lexical.query import Alternative, Correction, Group
from lookup.lexical.spelling import CORRECTED, LONG, LONGEST, SHORTEST
from lookup.lexical.vocabulary import Near, Vocabulary, most_likely

_MOST, _WORDS = 3, 8  # words in the place of one; words of a query that are corrected, a millisecond or two each
_BY_EDITS = {1: 0.8, 2: 0.6}  # weight of a corrected word, beside 1 of one that products have
_CUT = 0.8  # the same of a word that is two, or two that are one


@dataclass
class Corrections:
    """What is corrected of one query, for the indexes that a search asks."""

    indexes: Sequence[LexicalIndex]
    analysis: Analysis
    made: list[Correction] = field(default_factory=list)
    _tried: int = 0

    def known(self, group: Group) -> bool:
        """Whether some product has an alternative of `group`."""
        return any(bool(index.frequencies(one.terms).all()) for index in self.indexes for one in group.alternatives)

    def corrected(self, word: str, group: Group) -> Group:
        """`group` of a folded `word` that no product has, with what may have been meant: other words, or two words
        that were written as one.
        """
        if not CORRECTED <= len(word) <= LONGEST or self._tried >= _WORDS:
            return group
        self._tried += 1
        likely = self._likely(word)
        to, found = list[str](), list[Alternative]()
        for near in likely[:_MOST]:
            to.append(near.word)
            found += [Alternative((term,), _BY_EDITS[near.edits]) for term in self.analysis.word_terms(near.word)]
        if cut := self._cut(word):
            to.append(" ".join(cut))
            found.append(Alternative(tuple(self.analysis.word_terms(one)[0] for one in cut), _CUT))
        if to:
            self.made.append(Correction(word, tuple(to)))
        return Group((*group.alternatives, *dict.fromkeys(found)), group.weight)

    def as_one(self, before: str, after: str) -> Alternative | None:
        """Two folded neighbours as the one word that some product has, such as `note book`; else None."""
        if not self._rows_with(before + after):
            return None
        return Alternative(self.analysis.word_terms(before + after)[:1], _CUT)

    @cached_property
    def _vocabularies(self) -> list[Vocabulary]:
        return [Vocabulary.of(index.files) for index in self.indexes]

    def _likely(self, word: str) -> list[Near]:
        for edits in (1, 2) if len(word) >= LONG else (1,):
            likely = most_likely([one.near(word, edits) for one in self._vocabularies], word)
            if likely:
                return likely
        return []

    def _cut(self, word: str) -> tuple[str, str] | None:
        """`word` as two words that products have, of three letters or more; the rarer as frequent as can be."""
        cuts = [(word[:at], word[at:]) for at in range(SHORTEST, len(word) - SHORTEST + 1)]
        rows, cut = max(((min(map(self._rows_with, cut)), cut) for cut in cuts), default=(0, None))
        return cut if rows else None

    def _rows_with(self, word: str) -> int:
        return sum(one.rows_with(word) for one in self._vocabularies)
