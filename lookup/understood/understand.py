"""Understanding: what a query says beside what it looks for becomes conditions and boosts, as the config has it.

understood = Understanding(manifest, filters, partitions).understand("leather boots under 100 euros, size 42")
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import pyarrow as pa
from lark import Token

from encoders.text import TextError, clean_text
from lookup.filters.prices import could_be
from lookup.filters.rows import Filters
from lookup.filters.values import Operator, Sort, sort_of, type_named
from lookup.filters.where import Condition
from lookup.segments import Partition
from lookup.store.entries.understand_settings import Action, UnderstandSettings, settings_of
from lookup.store.manifest import Manifest
from lookup.understood.grammar import Bound, find_bounds, find_wishes, tokens_of
from lookup.understood.meaning import Kind, Meaning, Understood, Without
from lookup.understood.vocabulary import Value, Vocabulary
from lookup.understood.wording import NO_PRICE_BEFORE, WEIGHTS_TOO, words_in

_RATINGS = ("rating", "average_rating", "stars")
_NOT_THERE = {
    "price": "no price is declared (catalog.prices, search.understand.price)",
    "rating": f"no number is called {', '.join(_RATINGS)} or as search.understand.rating says",
}
_SIZES = ("size", "sizes")
_LONGEST_VALUE = 60  # characters; longer texts are no names
# What may follow a bare number that is a price: words that go on with something else, or the next bound.
_FOLLOWERS = words_in("for and with without please but . , ; ! ? 。 ， ； ！ ？ 、 的 not no")
_NEXT = frozenset(("BELOW", "AT_MOST", "ABOVE", "AT_LEAST", "BETWEEN", "RATED", "NOT", "SIZE", "PRICED"))


@dataclass(frozen=True)
class Understanding:
    """What queries to an open snapshot can name: its prices, its ratings, and the values of its attributes."""

    manifest: Manifest
    filters: Filters
    partitions: tuple[Partition, ...]

    @cached_property
    def settings(self) -> UnderstandSettings:
        """What the config makes of them."""
        return settings_of(self.manifest.config)

    def understand(self, text: str, rated: str | None = None) -> Understood:
        """What `text` says, and the words that are left to look for: all of them where it says nothing else.

        A bound, and a value that is not wanted, are no longer looked for; a value that is wanted is. `rated` is what
        `rated like this` stands for; None: nothing says how this is rated.
        """
        try:
            cleaned = clean_text(text, self.manifest.config["catalog"]["max_text_chars"])
        except TextError:  # told when it is encoded
            return Understood(text)
        tokens = tokens_of(cleaned)
        taken = [False] * len(tokens)
        said, notes = list[_Said](), list[str]()
        for bound in find_bounds(tokens):
            words = _words(cleaned, tokens[bound.first : bound.last])
            found = self._bounded(bound, tokens, words, notes, rated)
            if found is not None:
                said.append(_Said(found, tokens[bound.first].start_pos or 0, tokens[bound.last - 1].end_pos or 0, True))
                taken[bound.first : bound.last] = [True] * (bound.last - bound.first)
        said += self._valued(cleaned, tokens, taken)
        said.sort(key=lambda one: one.start)
        left = _left(cleaned, [one for one in said if one.drops])
        meanings = tuple(one.meaning for one in said)
        if left is None and rated is not None and meanings:  # the products to be like are enough to ask by
            return Understood(None, meanings, tuple(notes))
        return Understood(left if left is not None else text, meanings, tuple(notes))

    # --- bounds ---

    def _bounded(
        self, bound: Bound, tokens: Sequence[Token], words: str, notes: list[str], rated: str | None
    ) -> Meaning | None:
        action: Action = self.settings.prices if bound.kind == "price" else self.settings.ratings
        name = self._price if bound.kind == "price" else self.rating
        if action == "off" or not (bound.explicit or _stands_alone(bound, tokens)):
            return None
        if name is None:
            if bound.explicit:
                notes.append(f"`{words}` was left as words: {_NOT_THERE[bound.kind]}")
            return None
        if not bound.values and rated is None:
            notes.append(f"`{words}` was left as words: no product that hits are to be like has a {name}")
            return None
        values = self._as_written(bound, name, words, notes) if bound.values else (str(rated),)
        if values is None:
            return None
        condition = Condition(name, Operator(bound.operator), values)
        if not bound.explicit and not self._any(condition):
            notes.append(f"`{words}` was left as words: no product meets {condition}")
            return None
        return _meaning(bound.kind, words, condition, action, self.settings.boost)

    def _as_written(self, bound: Bound, name: str, words: str, notes: list[str]) -> tuple[str, ...] | None:
        """The values of a condition; None where no price of the snapshot is in such a currency, or it is not known."""
        amounts = tuple(f"{value.amount:f}" for value in bound.values)
        asked = bound.values[0].currency
        if asked is None and not self._is(name, Sort.PRICE):
            return amounts
        there = sorted(self.filters.currencies(self.partitions, name))
        meant = [one for one in there if asked is None or could_be(one, asked)]
        if asked is not None and not meant and (there or WEIGHTS_TOO.intersection(bound.words)):
            if there:
                notes.append(f"`{words}` was left as words: prices are in {', '.join(there)}")
            return None
        if len(there) <= 1:  # the numbers say it all
            return amounts
        own = self.manifest.config["catalog"].get("currency")
        currency = meant[0] if len(meant) == 1 else own if own in meant else None
        if currency is None:
            fix = "name one in the query, or set catalog.currency to the shop's own"
            notes.append(f"`{words}` was left as words: prices are in {', '.join(there)}; {fix}")
            return None
        return tuple(f"{one} {currency}" for one in amounts)

    def _any(self, condition: Condition) -> bool:
        """Whether some product meets a condition."""
        found = self.filters.matching(self.partitions, (condition,))
        return any(subset is None or len(subset) for _, subset in found)

    # Once for all queries.
    @cached_property
    def _price(self) -> str | None:
        declared = self.settings.price or next(iter(self.manifest.config["catalog"].get("prices", ())), None)
        return declared if declared is not None and self._is(declared, Sort.PRICE, Sort.NUMBER) else None

    @cached_property
    def rating(self) -> str | None:
        """The attribute of ratings; None where there is none."""
        names = (self.settings.rating,) if self.settings.rating else _RATINGS
        return next((name for name in names if self._is(name, Sort.NUMBER)), None)

    def _is(self, name: str, *sorts: Sort) -> bool:
        kind = self._kinds.get(name)
        return kind is not None and sort_of(kind) in sorts

    @cached_property
    def _kinds(self) -> dict[str, pa.DataType]:
        return {name: type_named(kind) for name, kind in self.manifest.attribute_types.items()}

    # --- values ---

    def _valued(self, text: str, tokens: Sequence[Token], taken: Sequence[bool]) -> Iterator[_Said]:
        if self.settings.values == self.settings.negations == "off":
            return
        marked = self._vocabulary.marked(tokens, taken)
        covered = [False] * len(marked)
        for wish in find_wishes(marked):
            start, end = marked[wish.first].start_pos or 0, marked[wish.last - 1].end_pos or 0
            words = text[start:end]
            negated = wish.kind == "negation"
            named = self._vocabulary.named(str(wish.value))
            values = named if negated else tuple(one for one in named if one.attribute in _SIZES)
            action: Action = self.settings.negations if negated else self.settings.values
            if values and action != "off":
                yield from self._said(wish.kind, words, values, action, start, end)
            if values:
                covered[wish.first : wish.last] = [True] * (wish.last - wish.first)
        for at, token in enumerate(marked):
            if token.type == "VALUE" and not covered[at] and self.settings.values != "off":
                values = self._vocabulary.named(str(token))
                start, end = token.start_pos or 0, token.end_pos or 0
                yield from self._said("value", str(token), values, self.settings.values, start, end)

    def _said(
        self, kind: Kind, words: str, values: Sequence[Value], action: Literal["filter", "boost"], start: int, end: int
    ) -> Iterator[_Said]:
        """What is said of each attribute that has such a value; of several, which of them is meant nobody knows."""
        negated = kind == "negation"
        if len(values) > 1 and not negated:
            action = "boost"
        for value in values:
            condition = _without(value) if negated else _with(value)
            yield _Said(_meaning(kind, words, condition, action, self.settings.boost), start, end, negated)

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        """The values that queries may name, gathered when first needed: it reads their columns."""
        # Without a lock: threads that come first together find the same, and their columns are read once.
        mean = 2 if self.settings.attributes is None else 0
        counts = {name: self.filters.value_counts(self.partitions, name, mean) for name in self._worded()}
        return Vocabulary.of(
            {
                name: {value: count for value, count in several.items() if len(value) <= _LONGEST_VALUE}
                for name, several in counts.items()
            }
        )

    def _worded(self) -> list[str]:
        """The attributes whose values are looked for."""
        titles = self.manifest.config["catalog"].get("text", ())
        chosen = self.settings.attributes
        names = self.manifest.attributes if chosen is None else chosen
        return [
            name
            for name in names
            if self._is(name, Sort.TEXT, Sort.LIST) and (chosen is not None or name not in titles[:1])
        ]


# --- inside ---


@dataclass(frozen=True)
class _Said:
    """A meaning, and where in the text it is said; `drops`: no longer looked for."""

    meaning: Meaning
    start: int
    end: int
    drops: bool


def _stands_alone(bound: Bound, tokens: Sequence[Token]) -> bool:
    """Whether a number without a currency may be a price: nothing that it counts comes behind it, nor an age, a size or
    a series before it.
    """
    before = {str(one).lower() for one in tokens[max(0, bound.first - 2) : bound.first]}
    after = tokens[bound.last] if bound.last < len(tokens) else None
    goes_on = after is None or str(after).lower() in _FOLLOWERS or after.type in _NEXT
    return goes_on and not before & NO_PRICE_BEFORE


def _meaning(kind: Kind, words: str, condition: Condition, action: Action, boost: float) -> Meaning:
    assert action != "off"
    return Meaning(kind, words, condition, action, boost if action == "boost" else 0.0)


def _with(value: Value) -> Condition:
    return Condition(value.attribute, Operator.IN if len(value.written) > 1 else Operator.EQUAL, value.written)


def _without(value: Value) -> Condition:
    return Without(value.attribute, Operator.IN, value.written)


def _words(text: str, tokens: Sequence[Token]) -> str:
    return text[tokens[0].start_pos : tokens[-1].end_pos]


def _left(text: str, said: Sequence[_Said]) -> str | None:
    """The text without what was said otherwise; None where there is nothing of that, or nothing else."""
    if not said:
        return None
    parts, at = list[str](), 0
    for one in said:
        parts.append(text[at : one.start])
        at = max(at, one.end)
    left = re.sub(r"\s+", " ", " ".join([*parts, text[at:]])).strip(" ,;，；、")
    return left if any(map(str.isalnum, left)) else None
