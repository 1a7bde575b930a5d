"""The words of a query as what they are looked for by, one after another, and the synonyms of those that have some."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lookup.lexical.analysis import Analysis
from lookup.lexical.query import Alternative, Group
from lookup.lexical.words import Kind, Word, words_of

SYNONYM = 0.7  # weight of a synonym, beside 1 of the word that was typed


@dataclass(frozen=True)
class Unit:
    """What is looked for as one: a word, or a pair of neighbours of a run."""

    word: Word
    terms: tuple[str, ...]  # any of which is it: a word's stems by language

    def meets(self, other: Unit) -> bool:
        """Whether both have a term."""
        return not set(self.terms).isdisjoint(other.terms)


@dataclass(frozen=True)
class _Phrase:
    units: tuple[Unit, ...]
    others: tuple[Alternative, ...]


def units_of(words: Sequence[Word], analysis: Analysis) -> list[Unit]:
    """The units of `words`, in order."""
    found = list[Unit]()
    for word in words:
        terms = analysis.word_terms(word.text)
        found += [Unit(word, (term,)) for term in terms] if word.kind == Kind.RUN else [Unit(word, terms)]
    return found


def with_synonyms(units: Sequence[Unit], analysis: Analysis) -> list[Group]:
    """The group of each unit. Where units are a phrase that has synonyms, each asks for these as well: a product that
    has the synonym counts as if it had every word of the phrase.
    """
    found = [[Alternative((term,)) for term in unit.terms] for unit in units]
    phrases = _phrases(analysis)
    for at, unit in enumerate(units):
        for phrase in dict.fromkeys(one for term in unit.terms for one in phrases.get(term, ())):
            matched = units[at : at + len(phrase.units)]
            if len(matched) == len(phrase.units) and all(map(Unit.meets, matched, phrase.units)):
                for place in range(at, at + len(phrase.units)):
                    found[place] += phrase.others
    return [Group(tuple(dict.fromkeys(alternatives))) for alternatives in found]


@functools.lru_cache(maxsize=8)
def _phrases(analysis: Analysis) -> Mapping[str, list[_Phrase]]:
    """The rules of synonyms by the first term of their phrases."""
    found = dict[str, list[_Phrase]]()
    for rule in analysis.rules:
        units = _units(rule.phrase, analysis)
        others = tuple(one for other in rule.others for one in _alternatives(_units(other, analysis)))
        for term in units[0].terms if units and others else ():
            found.setdefault(term, []).append(_Phrase(tuple(units), others))
    return found


def _units(phrase: str, analysis: Analysis) -> list[Unit]:
    words = words_of(phrase)
    return units_of([word for word in words if not analysis.is_stop_word(word.text)] or words, analysis)


def _alternatives(units: Sequence[Unit]) -> list[Alternative]:
    """All of `units`, once by the stems of each language."""
    stems = max((len(unit.terms) for unit in units), default=0)
    each = [tuple(dict.fromkeys(unit.terms[min(at, len(unit.terms) - 1)] for unit in units)) for at in range(stems)]
    return [Alternative(terms, SYNONYM) for terms in dict.fromkeys(each)]
