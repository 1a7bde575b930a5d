"""Texts that vary between epochs as photos do: words left out, neighbours swapped, synonyms put in.

A text is cut at white space; a language that writes none is left as it is, but for synonyms. What varies is what the
text tower reads: which texts are equal, and so no negatives of each other, is decided before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class TextVariation:
    """How often each word, 0..1, is left out, swapped with the next, or replaced by a synonym.

    `synonyms` are rules: a word or phrase, and what else is found by who asks for it. A text is varied into what it is
    found by, so each of the others is replaced by the phrase.
    """

    drop: float = 0.0
    swap: float = 0.0
    synonym: float = 0.0
    synonyms: Sequence[tuple[str, Sequence[str]]] = ()
    _others: dict[str, list[str]] = field(init=False, repr=False, compare=False)
    _longest: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        others: dict[str, list[str]] = {}
        for phrase, found in self.synonyms:
            for one in found:
                others.setdefault(_key(one), []).append(phrase)
        object.__setattr__(self, "_others", others)
        object.__setattr__(self, "_longest", max((len(one.split()) for one in others), default=0))

    def vary(self, texts: Sequence[str], seed: int, step: int) -> list[str]:
        """Each of the texts of a step, varied by the seed and the step; never empty."""
        if not (self.drop or self.swap or (self.synonym and self._others)):
            return list(texts)
        draw = np.random.default_rng([seed, step, 2])
        return [self._varied(text, draw) for text in texts]

    def _varied(self, text: str, draw: np.random.Generator) -> str:
        words = self._replaced(text.split(), draw) if self.synonym and self._others else text.split()
        if self.swap and len(words) > 1:
            lots = draw.random(len(words) - 1).tolist()
            for place, lot in enumerate(lots):
                if lot < self.swap:
                    words[place], words[place + 1] = words[place + 1], words[place]
        if self.drop and words:
            kept = [word for word, lot in zip(words, draw.random(len(words)).tolist(), strict=True) if lot >= self.drop]
            words = kept or [words[int(draw.integers(len(words)))]]
        return " ".join(words) or text

    def _replaced(self, words: list[str], draw: np.random.Generator) -> list[str]:
        """The longest phrase that has synonyms first, word by word."""
        made: list[str] = []
        place = 0
        while place < len(words):
            size, others = self._at(words, place)
            if others and draw.random() < self.synonym:
                made += others[int(draw.integers(len(others)))].split()
            else:
                made += words[place : place + size]
            place += size
        return made

    def _at(self, words: list[str], place: int) -> tuple[int, list[str]]:
        """(how many words, what they may be replaced by) from `place` on; one word where there is nothing."""
        for size in range(min(self._longest, len(words) - place), 0, -1):
            others = self._others.get(_key(" ".join(words[place : place + size])))
            if others:
                return size, others
        return 1, []


def _key(words: str) -> str:
    return " ".join(words.casefold().split())
