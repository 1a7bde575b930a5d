"""The values of a snapshot's attributes, as queries may name them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lark import Token

from lookup.filters.where import squashed
from lookup.understood.wording import NO_VALUES, SAME

_LONGEST = 8  # words of a value, characters of one that is written without spaces
_BETWEEN = frozenset(',;:|()[]{}"!?/。，、；：！？（）')  # no value goes on behind one of these
_HAN = range(0x2E80, 0xA000)


@dataclass(frozen=True)
class Value:
    """Values of one attribute that are one, whatever their case and marks."""

    attribute: str
    written: tuple[str, ...]  # as products have them
    products: int


@dataclass(frozen=True)
class Vocabulary:
    """What is looked for in queries: values by what is left of them when case and marks do not count."""

    values: Mapping[str, tuple[Value, ...]]

    @classmethod
    def of(cls, counts: Mapping[str, Mapping[str, int]]) -> Vocabulary:
        """Of attribute -> value -> how many products have it."""
        found: dict[str, dict[str, Value]] = defaultdict(dict)
        for attribute, several in counts.items():
            spellings = defaultdict(list)
            for value in sorted(several):
                spellings[squashed(value)].append(value)
            for key, written in spellings.items():
                found[key][attribute] = Value(attribute, tuple(written), sum(several[one] for one in written))
        for group in SAME:
            there = [one for key in sorted(group) for one in found.get(key, {}).values()]
            for key in group:
                for one in there:
                    found[key].setdefault(one.attribute, one)
        return cls({key: tuple(values[name] for name in sorted(values)) for key, values in found.items() if key})

    def named(self, words: str, attribute: str | None = None) -> tuple[Value, ...]:
        """The values that `words` name, of one attribute or of each."""
        found = self.values.get(squashed(words), ())
        return tuple(one for one in found if attribute in (None, one.attribute))

    def marked(self, tokens: Sequence[Token], taken: Sequence[bool]) -> list[Token]:
        """The tokens, with those that together name a value as one of type VALUE; the longest first, and none of those
        that are `taken`.
        """
        return list(self._marked(tokens, taken))

    def _marked(self, tokens: Sequence[Token], taken: Sequence[bool]) -> Iterator[Token]:
        at = 0
        while at < len(tokens):
            last = self._last(tokens, taken, at)
            if last == at:
                yield tokens[at]
            else:
                start, end = tokens[at].start_pos, tokens[last - 1].end_pos
                text = "".join(_spaced(tokens[at:last]))
                yield Token("VALUE", text, start_pos=start, end_pos=end)
            at = max(last, at + 1)

    def _last(self, tokens: Sequence[Token], taken: Sequence[bool], at: int) -> int:
        """One after the last token of the longest value from `at` on; `at` where there is none."""
        longest, key = at, ""
        for end in range(at, min(at + _LONGEST, len(tokens))):
            if taken[end] or str(tokens[end]) in _BETWEEN:
                break
            key += squashed(str(tokens[end]))
            if str(tokens[end])[-1:].isalnum() and key in self.values and _says_something(key, tokens[at : end + 1]):
                longest = end + 1
        return longest


# --- inside ---


def _says_something(key: str, tokens: Sequence[Token]) -> bool:
    """Whether words name a value without anything that says so: no number, no single character, no `new` and `all`."""
    return str(tokens[0])[:1].isalnum() and len(key) > 1 and not key.isdigit() and key not in NO_VALUES


def _spaced(tokens: Sequence[Token]) -> Iterator[str]:
    end = tokens[0].start_pos
    for token in tokens:
        if token.start_pos != end:
            yield " "
        yield str(token)
        end = token.end_pos
