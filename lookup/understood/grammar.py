"""Phrases in a query that bound a price or a rating, or say what is not wanted: a grammar over the query's words.

for phrase in find_bounds(tokens_of("red dress under 20 euros")):
    phrase.low, phrase.high

A query is no sentence of this grammar: it is read from each of its words on, and the longest phrase that is one counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Literal

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput

from lookup.filters.prices import Price, parse_price
from lookup.understood import wording
from lookup.understood.wording import HAN_DIGITS, HAN_UNITS, LETTER

_LONGEST = 16  # words of a phrase at most
_MOST_WORDS = 400  # of a query that are looked at; a longer one is no query
_GRAMMAR = rf"""
bounds: FOR? price OF? | rating OF?
price: _bound | PRICED (_bound | (MAX | MIN) num | num OR_MORE)
_bound: (BELOW | AT_MOST | ABOVE | AT_LEAST) _side
      | (MAX | MIN) amount
      | amount (OR_LESS | OR_MORE | MAX | MIN)
      | num OR_LESS
      | BETWEEN _side (AND | TO) _side WITHIN?
      | FROM? _side TO _side WITHIN?
_side: amount | num
amount: MONEY num | num MONEY | MONEY num MONEY
num: NUMBER | HAN
rating: (BELOW | AT_MOST | ABOVE | AT_LEAST) num STARS
      | num STARS (OR_MORE | OR_LESS)
      | num OR_MORE STARS
      | RATED (BELOW | AT_MOST | ABOVE | AT_LEAST) num STARS?
      | RATED num STARS? (OR_MORE | OR_LESS)
      | RATED num OR_MORE STARS
      | RATED LIKE_THIS | SAME_RATING

values: negation OF? | size OF?
negation: NOT TO? ANY* VALUE | VALUE FREE
size: SIZE (NUMBER | WORD | VALUE) | NUMBER IN_SIZE
rest: OTHER

%declare VALUE
NUMBER.5: /(?<!{LETTER})(?<![.,][0-9])[0-9]+(?:[.,][0-9]+)*(?:k(?!{LETTER})|[千万])?(?!{LETTER}|[.,]?[0-9])
          |(?<!{LETTER})[0-9]+(?:[.,][0-9]+)*(?=(?:usd|eur|gbp|cny|rmb|jpy)(?!{LETTER}))/x
HAN.2: /[{HAN_DIGITS}{"".join(HAN_UNITS)}]+/
WORD.1: /{LETTER}+(?:'{LETTER}+)*/
OTHER.0: /\S/
%ignore /\s+/
"""
_LESS = {"BELOW": "<", "AT_MOST": "<=", "OR_LESS": "<=", "MAX": "<="}
_MORE = {"ABOVE": ">", "AT_LEAST": ">=", "OR_MORE": ">=", "MIN": ">="}


@dataclass(frozen=True)
class Bound:
    """A phrase that bounds a price or a rating: `operator` is `<`, `<=`, `>`, `>=` or `between`, and has one value, or
    two, the least first; none where the rating of other products is meant, as in `rated like this`. `explicit` says
    that a currency or a word for prices, or for ratings, stands with it: else it may be anything that is counted.
    """

    kind: Literal["price", "rating"]
    operator: str
    values: tuple[Price, ...]
    explicit: bool
    words: tuple[str, ...]  # of its currencies, as they are written, in lower case
    first: int  # its tokens: from this one
    last: int  # to before this one


@dataclass(frozen=True)
class Wish:
    """A phrase about a value: one that is not wanted, or a size. `value` is the token that it is about."""

    kind: Literal["negation", "size"]
    value: Token
    first: int
    last: int


def tokens_of(text: str) -> list[Token]:
    """The words, numbers and marks of a cleaned text, with where they stand in it; those behind the first 400 are not
    looked at.
    """
    found = list[Token]()
    for token in _parser().lex(text):
        found.append(token)
        if len(found) == _MOST_WORDS:
            break
    return found


def find_bounds(tokens: Sequence[Token]) -> list[Bound]:
    """The bounds in a query, in order, none within another."""
    return [bound for first, last, tree in _phrases("bounds", tokens) if (bound := _bound(tree, first, last))]


def find_wishes(tokens: Sequence[Token]) -> list[Wish]:
    """What is not wanted, and sizes; tokens of type VALUE stand for values of attributes."""
    found = []
    for first, last, tree in _phrases("values", tokens):
        (inside,) = (part for part in tree.children if isinstance(part, Tree))
        value = next(one for one in inside.children if isinstance(one, Token) and one.type in ("VALUE", *_SIZES))
        found.append(Wish("size" if inside.data == "size" else "negation", value, first, last))
    return found


_SIZES = ("NUMBER", "WORD")
_HAN_VALUES = dict(zip(HAN_DIGITS, (0, 0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9), strict=True))

# --- inside ---


@cache
def _parser() -> Lark:
    """The grammar's tables, made once for a process, in 0.1 CPU s."""
    words = "\n".join(f"{name}.{rank}: /{_slashed(wording.terminal(name))}/" for name, rank in wording.terminals())
    return Lark(
        _GRAMMAR + words, parser="lalr", lexer="basic", start=["bounds", "values", "rest"], g_regex_flags=re.IGNORECASE
    )


def _slashed(pattern: str) -> str:
    return pattern.replace("/", r"\/")


def _phrases(start: str, tokens: Sequence[Token]) -> list[tuple[int, int, Tree[Token]]]:
    """(first token, one after the last, tree) of the longest phrase from each token on that is in none before it."""
    found, at = [], 0
    while at < len(tokens):
        last, tree = _longest(start, tokens[at : at + _LONGEST])
        if tree is not None:
            found.append((at, at + last, tree))
        at += max(last, 1)
    return found


def _longest(start: str, tokens: Sequence[Token]) -> tuple[int, Tree[Token] | None]:
    """How many of the first `tokens` are the longest phrase, and its tree; (0, None) where there is none."""
    parser = _parser().parse_interactive(start=start)
    best: tuple[int, Tree[Token] | None] = (0, None)
    for count, token in enumerate(tokens, 1):
        try:
            parser.feed_token(token)
        except UnexpectedInput:
            break
        try:
            best = count, parser.copy().feed_eof(token)  # type: ignore[no-untyped-call]
        except UnexpectedInput:
            continue
    return best


def _bound(tree: Tree[Token], first: int, last: int) -> Bound | None:
    """What a phrase says; None where a number cannot be read, or its ends are the wrong way round."""
    (inside,) = (part for part in tree.children if isinstance(part, Tree))
    sides = [part for part in inside.children if isinstance(part, Tree)]
    marks = {part.type: str(part) for part in inside.children if isinstance(part, Token)}
    moneys = [str(one).lower() for side in sides for one in side.children if isinstance(one, Token) and _is_money(one)]
    currency = next((wording.CURRENCIES[one] for one in moneys), None)
    values = tuple(price for side in sides if (price := _price(side, currency)) is not None)
    kind: Literal["price", "rating"] = "rating" if inside.data == "rating" else "price"
    explicit = bool(moneys) or kind == "rating" or "PRICED" in marks
    if len(values) != len(sides):
        return None
    if not sides:  # `rated like this`
        return Bound(kind, ">=", (), True, (), first, last)
    if len(sides) == 2:
        # `4-6` and `100-240` are what fits, not what it costs.
        dashed = marks.get("TO") in ("-", "~") and not explicit
        if dashed or values[0].amount >= values[1].amount or not (explicit or values[0].amount):
            return None
        return Bound(kind, "between", values, explicit, tuple(moneys), first, last)
    operator = next(sign for signs in (_LESS, _MORE) for name, sign in signs.items() if name in marks)
    return Bound(kind, operator, values, explicit, tuple(moneys), first, last)


def _is_money(token: Token) -> bool:
    return token.type == "MONEY"


def _price(side: Tree[Token], currency: str | None) -> Price | None:
    """The number of a side, and its own currency or else the one that the phrase names."""
    inner = side if side.data == "num" else next(part for part in side.children if isinstance(part, Tree))
    own = [wording.CURRENCIES[str(one).lower()] for one in side.children if isinstance(one, Token) and _is_money(one)]
    if len(set(own)) > 1:
        return None
    amount = _number(str(inner.children[0]))
    return None if amount is None else Price(amount, own[0] if own else currency)


def _number(text: str) -> Decimal | None:
    """`20`, `1,299.00`, `1.5k`, `2万`, `四`, `一百五十`: a comma stands between thousands where it can."""
    if text[0] in HAN_DIGITS or text[0] in HAN_UNITS:
        return _han_number(text)
    unit = {"k": 1_000, **HAN_UNITS}.get(text[-1].lower())
    price = parse_price(text if unit is None else text[:-1], ".")
    return None if price is None else price.amount * (unit or 1)


def _han_number(text: str) -> Decimal | None:
    """A whole number in Chinese digits: `四`, `二十`, `一百五十`, `两万三千`; None for what is none, as `四五`."""
    total = section = digit = 0
    last_unit, before = 10**9, ""
    for one in text:
        if one in HAN_DIGITS:
            if before and before in HAN_DIGITS[2:]:
                return None
            digit = _HAN_VALUES[one]
        elif one == "万":
            total, section, digit, last_unit = (total + section + digit) * 10_000, 0, 0, 10**9
        else:
            if HAN_UNITS[one] >= last_unit:
                return None
            last_unit = HAN_UNITS[one]
            section, digit = section + (digit or 1) * last_unit, 0
        before = one
    return Decimal(total + section + digit)
