"""What a shopper typed, read as a query of words: stems, codes, synonyms, and misspellings corrected.

A word is a group of its stems. A number beside letters asks for both joined as well (`iphone 15`), at half the weight
of a word. Words of `Analysis.synonyms` ask for the others too. A word that no product has is looked for as it may have
been meant (`Corrections`); an answer can say so. Stop words are left out where others remain.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from lookup.lexical.analysis import Analysis
from lookup.lexical.corrections import Corrections
from lookup.lexical.index import LexicalIndex
from lookup.lexical.phrases import Unit, units_of, with_synonyms
from lookup.lexical.query import Alternative, Group, LexicalQuery
from lookup.lexical.words import Kind, Word, words_of

JOINED = 0.5  # weight of a number and its neighbour joined; P@1 and MRR of docs/benchmarks/lexical.md are best there


def read_query(text: str, analysis: Analysis, indexes: Sequence[LexicalIndex]) -> LexicalQuery:
    """The query of `text` for `indexes`, those that a search asks; of no group where it has no word."""
    words = words_of(text)
    if len(words) == 1 and words[0].kind == Kind.RUN and len(words[0].text) == 1:
        return LexicalQuery.of([_of_character(words[0].text, indexes)])
    asked = [word for word in words if not analysis.is_stop_word(word.text)] or words
    units = units_of(asked, analysis)
    groups = with_synonyms(units, analysis)
    corrections = Corrections(indexes, analysis)
    codes = _in_codes(words)
    for at, unit in enumerate(units):
        is_word = unit.word.kind == Kind.LETTERS and unit.word not in codes
        if is_word and not corrections.known(groups[at]):
            groups[at] = corrections.corrected(unit.word.text, groups[at])
    _add_written_as_one(units, groups, corrections)
    groups += [Group((Alternative((pair,)),), JOINED) for pair in _joined(words, analysis)]
    return LexicalQuery.of(groups, corrections.made)


def _add_written_as_one(units: Sequence[Unit], groups: list[Group], corrections: Corrections) -> None:
    """Neighbours that some product has as one word: that counts as both."""
    for at, (one, two) in enumerate(itertools.pairwise(units)):
        if one.word.kind == two.word.kind == Kind.LETTERS:
            whole = corrections.as_one(one.word.text, two.word.text)
            if whole is not None:
                for place in (at, at + 1):
                    groups[place] = Group((*groups[place].alternatives, whole))


def _of_character(character: str, indexes: Sequence[LexicalIndex]) -> Group:
    """A query of one character of a script without spaces: whatever has it."""
    terms = sorted({character, *(term for index in indexes for term in index.files.terms_with(character))})
    return Group(tuple(Alternative((term,)) for term in terms))


def _in_codes(words: Sequence[Word]) -> set[Word]:
    """Words that are written together with a number: parts of codes, which are not misspelled."""
    glued = [(one, two) for one, two in itertools.pairwise(words) if two.glued]
    return {word for two in glued if any(one.kind == Kind.NUMBER for one in two) for word in two}


def _joined(words: Sequence[Word], analysis: Analysis) -> list[str]:
    pairs = (analysis.joined(one.text, two.text) for one, two in itertools.pairwise(words))
    return [pair for pair in pairs if pair is not None]
