"""What texts become in a lexical index: terms, by settings that are part of its identity."""

from __future__ import annotations

import functools
import itertools
import unicodedata
from typing import Any, Literal

import Stemmer
from pydantic import BaseModel, ConfigDict, field_validator

from foundation.identity import identity_of
from lookup.lexical.stop_words import STOP_WORDS
from lookup.lexical.synonyms import Rule, parse_rules
from lookup.lexical.words import Kind, kind_of, number_of, pairs_of, words_of

VERSION = 1  # of what terms a text has: another is another index
Role = Literal["item", "query"]


class Analysis(BaseModel):
    """How texts become terms. Whatever changes the terms of items changes `identity`; what acts on queries does not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    languages: tuple[str, ...] = ("english",)  # whose stems words are known by: names of Snowball; none: as written
    stop_words: bool = True  # leave those of `languages` out of queries that have other words
    synonyms: str = ""  # the content of a file of synonyms, see synonyms.py

    @field_validator("languages")
    @classmethod
    def _known(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        known = sorted(Stemmer.algorithms())
        unknown = [one for one in languages if one not in known]
        if unknown:
            raise ValueError(f"no stemmer for {', '.join(unknown)}; there are {', '.join(known)}")
        return tuple(dict.fromkeys(languages))

    @field_validator("synonyms")
    @classmethod
    def _readable(cls, content: str) -> str:
        parse_rules(content)
        return content

    @property
    def identity(self) -> str:
        """64 hex digits: of indexes whose items have the same terms. Unicode's tables and the stemmer count too."""
        parts = {"version": VERSION, "unicode": unicodedata.unidata_version, "stemmer": Stemmer.version()}
        return identity_of({**parts, "languages": list(self.languages)})

    def word_terms(self, word: str) -> tuple[str, ...]:
        """The terms of one folded word: its stems, its number, or its pairs of neighbours; in order, none twice but
        among pairs.
        """
        kind = kind_of(word)
        if kind == Kind.NUMBER:
            return (number_of(word),)
        if kind == Kind.RUN:
            return tuple(pairs_of(word))
        stems = [_plain(stemmer.stemWord(word)) for stemmer in _stemmers(self.languages)] or [_plain(word)]
        return tuple(dict.fromkeys(stem or _plain(word) or word for stem in stems))

    def joined(self, before: str, after: str) -> str | None:
        """The term of two neighbours of which one is a number, the other letters or what follows a number in a script
        without spaces; None for all others. It tells `iphone 15` from an iPhone and a 15 anywhere.
        """
        kinds = kind_of(before), kind_of(after)
        if kinds == (Kind.NUMBER, Kind.RUN):
            return number_of(before) + after[0]
        if kinds in ((Kind.NUMBER, Kind.LETTERS), (Kind.LETTERS, Kind.NUMBER)):
            return self.word_terms(before)[0] + self.word_terms(after)[0]
        return None

    def is_stop_word(self, word: str) -> bool:
        """Whether a query leaves the folded `word` out where it has others."""
        return self.stop_words and any(word in STOP_WORDS.get(language, ()) for language in self.languages)

    def terms(self, text: str, role: Role) -> list[str]:
        """The terms of `text` in order: as an item has them all, or those that a query asks for: without stop words
        where there are others, without synonyms and corrections (query.py has these).
        """
        words = words_of(text)
        asked = [word for word in words if role == "item" or not self.is_stop_word(word.text)] or words
        found = [term for word in asked for term in self.word_terms(word.text)]
        pairs = [self.joined(one.text, two.text) for one, two in itertools.pairwise(words)]
        return found + [pair for pair in pairs if pair is not None]

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of `synonyms`."""
        return _rules(self.synonyms)


@functools.lru_cache(maxsize=8)
def _rules(content: str) -> tuple[Rule, ...]:
    return parse_rules(content)


@functools.lru_cache(maxsize=8)
def _stemmers(languages: tuple[str, ...]) -> tuple[Any, ...]:
    """Without their own caches: who stems many words asks once for each."""
    return tuple(Stemmer.Stemmer(language, 0) for language in languages)


def _plain(stem: str) -> str:
    """A stem without apostrophes, and without accents on Latin letters: many write none."""
    if stem.isascii():
        return stem.replace("'", "")
    apart = unicodedata.normalize("NFD", stem)
    latin = "".join(
        one
        for one, before in zip(apart, " " + apart, strict=False)
        if not ("\u0300" <= one <= "\u036f" and (before < "\u0250" or "\u0300" <= before <= "\u036f"))
    )
    return unicodedata.normalize("NFC", latin).replace("'", "")
