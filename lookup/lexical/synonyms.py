"""A file of synonyms, read: what a query asks for besides its own words.

    sofa, couch, settee            # each finds the others
    trainers, running shoes
    laptop => notebook, ultrabook  # one way: `laptop` finds notebooks too, not the other way round

A line is a group; phrases of several words are apart by commas; `#` begins a comment. They act on queries only, so that
a changed file builds no index anew.
"""

from __future__ import annotations

from dataclasses import dataclass

from lookup.lexical.words import words_of

ARROW = "=>"


@dataclass(frozen=True)
class Rule:
    """A query with the words of `phrase` also finds products with all words of one of `others`."""

    phrase: str
    others: tuple[str, ...]


def parse_rules(content: str) -> tuple[Rule, ...]:
    """The rules of a file's `content`, by line; ValueError that names the line where one cannot be read."""
    rules = list[Rule]()
    for number, line in enumerate(content.splitlines(), 1):
        text = line.split("#", 1)[0].strip()
        if text:
            rules += _rules_of(text, number)
    return tuple(rules)


def _rules_of(text: str, number: int) -> list[Rule]:
    if text.count(ARROW) > 1:
        raise ValueError(f"line {number}: one {ARROW} at most, not {text.count(ARROW)}: {text!r}")
    if ARROW in text:
        left, right = (_phrases(side, number) for side in text.split(ARROW))
        return [Rule(phrase, tuple(one for one in right if one != phrase)) for phrase in left]
    group = _phrases(text, number)
    if len(group) < 2:
        raise ValueError(f"line {number}: two phrases or more, apart by commas, not only {text!r}")
    return [Rule(phrase, tuple(one for one in group if one != phrase)) for phrase in group]


def _phrases(text: str, number: int) -> list[str]:
    phrases = [" ".join(one.split()) for one in text.replace("，", ",").split(",")]
    if not all(phrases):
        raise ValueError(f"line {number}: a phrase on each side of a comma or {ARROW}, not none: {text!r}")
    for phrase in phrases:
        if not words_of(phrase):
            raise ValueError(f"line {number}: words in each phrase, not {phrase!r}")
    return list(dict.fromkeys(phrases))
