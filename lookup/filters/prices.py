"""Prices as feeds write them, and as filters compare them: `12.99 USD`, `1.299,00 €`, `Rs. 1,23,456.00`, `20`.

    parse_price("1,299.00 USD", None) == Price(Decimal("1299.00"), "USD")

A mark is a decimal mark or stands between thousands. Which, a price mostly says itself: of two marks the last is the
decimal one, one that comes again stands between thousands, and so does one before three digits that come after one to
three others - or else it is a decimal mark: `1,299` can be read in two ways. The currency decides it where it has no
cents (JPY), else `decimal_mark`, else the currency where it has three digits of them (KWD): nothing is guessed.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import Context, Decimal

import pyarrow as pa

from encoders.text import plain_name, without_entities
from lookup.filters.currencies import MAY_BE, PLACES, SHARED, SIGNS

AMOUNT = pa.decimal128(38, 9)
WIDE = Context(prec=AMOUNT.precision)
# A declared price in a shard: the text as the catalog has it, null where the column is one of numbers; what it is
# compared by, null where the text cannot be read; ISO 4217 or a sign that several currencies share, null for none.
PRICE = pa.struct([("written", pa.string()), ("amount", AMOUNT), ("currency", pa.string())])

_WHOLE = re.compile(
    r"(?P<minus>-?) ?(?P<before>[^0-9+\-]*?) ?(?P<sign>-?) ?(?P<number>[0-9](?:[0-9.,' ]*[0-9])?|(?<!\w)\.[0-9]+)"
    r"(?:[.,]-{1,2})? ?(?P<after>[^0-9+\-]*)"
)
_GROUPED = re.compile(
    r"[0-9]+|[0-9]{1,3}([.,' ])[0-9]{3}(?:\1[0-9]{3})*|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}"  # the last as India does
)
_TWO_WAYS = re.compile(r"[1-9][0-9]{0,2}[.,][0-9]{3}")
_MARKS = str.maketrans(
    {"’": "'", "‘": "'", "`": "'", "´": "'", "٬": "'", "٫": ".", "−": "-", "–": "-", "—": "-", "‐": "-"}
)
# What ends a line or a cell: on its two sides stand two things, such as the prices of two variants.
_BREAK = re.compile("[\t-\r\x1c-\x1f\x85\u2028\u2029]")
_CENTS_RAISED = re.compile(r"(?<=\d)([.,]?)([⁰¹²³⁴-⁹]{2})(?![⁰¹²³⁴-⁹]|\d)")
_SAME_DIGIT = {"<wide>", "<font>", "<narrow>", "<small>"}  # how Unicode tags digits that only look otherwise
_LONGEST = 60  # characters; a longer text is no price


@dataclass(frozen=True, order=True)
class Price:
    """An amount, and its currency: an ISO 4217 code, a sign that several currencies share, or None for none."""

    amount: Decimal
    currency: str | None = None


def parse_price(text: str, decimal_mark: str | None) -> Price | None:
    """The price that `text` is; None where it is none, or can be read in two ways and `decimal_mark`, `.` or `,`, is
    not given.
    """
    plain = _plain(text)
    found = None if plain is None else _WHOLE.fullmatch(plain)
    if found is None or (found["minus"] and found["sign"]):
        return None
    known = [_currency(word) for word in f"{found['before']} {found['after']}".split()]
    signs = {one for one in known if one not in PLACES}
    codes = {*known} - signs or signs
    if None in signs or len(codes) > 1:
        return None
    currency = next(iter(codes), None)
    if any(currency != sign and currency not in MAY_BE[sign or ""].split() for sign in signs):
        return None
    amount = _amount(found["number"], decimal_mark, PLACES.get(currency or "", 2))
    if amount is None:
        return None
    return Price(-amount if found["minus"] or found["sign"] else amount, currency)


def could_be(currency: str, asked: str) -> bool:
    """Whether a price in `currency` may be one in the currency that is asked for; either may be a sign of several."""
    one, other = sorted((currency, asked), key=lambda sign: sign in MAY_BE)
    return one == other or one in MAY_BE.get(other, "").split() or {one, other} == {"¥", "元"}


def in_shop(price: Price, currency: str | None) -> Price:
    """The price in a shop of that currency: it is in that where it names none, or a sign that may stand for it."""
    if currency is None or (price.currency and not (price.currency in MAY_BE and could_be(price.currency, currency))):
        return price
    return Price(price.amount, currency)


def currency_named(text: str) -> str | None:
    """The currency that a text names, `EUR`, `€`, `kr`; None where it is none."""
    return _currency(plain_name(text))


def fits(amount: Decimal) -> bool:
    """Whether an amount can be kept without loss."""
    digits, exponent = amount.as_tuple().digits, amount.as_tuple().exponent
    if not isinstance(exponent, int):  # an infinity, or no number
        return False
    if not amount:  # 0E-18, of Spark's decimal(38,18), has no digit to lose
        return True
    zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))  # at its end
    return bool(exponent + zeros >= -AMOUNT.scale and len(digits) + exponent <= AMOUNT.precision - AMOUNT.scale)


def rounded(amount: Decimal) -> Decimal:
    """An amount that came as a float, to the digits that are kept: 19.990000000000002 is the 19.99 that was meant."""
    kept = amount.is_finite() and amount.adjusted() < AMOUNT.precision - AMOUNT.scale
    return amount.quantize(Decimal(1).scaleb(-AMOUNT.scale), context=WIDE) if kept else amount


def is_unread(text: str | None, price: Price | None) -> bool:
    """Whether a text that is there is no price; blank ones are none at all."""
    return price is None and text is not None and bool(plain_name(text))


# --- inside ---


def _plain(text: str) -> str | None:
    """`text` in ASCII digits and marks; None where it is of several lines, too long, or has footnotes and fractions."""
    lines = [line for line in _BREAK.split(without_entities(text)) if plain_name(line)]
    if len(lines) != 1 or len(text := plain_name(lines[0])) > _LONGEST:
        return None
    text = _CENTS_RAISED.sub(_lowered, text)
    if any(_is_other_digit(one) for one in text):
        return None
    text = plain_name(_in_ascii(text))
    return re.sub(r"[^\W\D0-9]", lambda digit: str(int(digit[0])), text)  # digits of other scripts


def _in_ascii(text: str) -> str:
    return unicodedata.normalize("NFKC", text).translate(_MARKS)


def _lowered(cents: re.Match[str]) -> str:
    """Raised cents, as in `12⁹⁹`, behind a decimal mark: the one that does not stand between the thousands."""
    number = re.search(r"\d[\d\W]*$", _in_ascii(cents.string[: cents.start()]))
    mark = "," if number and "." in number[0] else "."
    return (cents[1] or mark) + unicodedata.normalize("NFKC", cents[2])


def _is_other_digit(character: str) -> bool:
    """Whether it is a digit raised, lowered, circled, or part of a fraction: it does not continue a number."""
    if character.isascii() or not any(map(str.isdecimal, unicodedata.normalize("NFKC", character))):
        return False
    shape = unicodedata.decomposition(character).partition(" ")[0]
    return shape.startswith("<") and shape not in _SAME_DIGIT


def _currency(token: str) -> str | None:
    """The currency that a word or sign stands for; None where it is none."""
    name = token.strip(" ").rstrip(".").upper()
    return name if name in PLACES else SIGNS.get(name) or SHARED.get(name)


def _amount(number: str, decimal_mark: str | None, places: int) -> Decimal | None:
    marks = [one for one in number if one in ".,"]
    mark = marks[-1] if len(marks) == 1 or len(set(marks)) == 2 else None
    if _TWO_WAYS.fullmatch(number):
        if places == 2 and decimal_mark is None:
            return None
        if places == 0 or (decimal_mark is not None and mark != decimal_mark):
            mark = None
    whole, fraction = number, ""
    if mark is not None:
        whole, _, fraction = number.rpartition(mark)
        if not re.fullmatch("[0-9]+", fraction):
            return None
    if whole and not _GROUPED.fullmatch(whole):
        return None
    amount = Decimal(f"{re.sub('[^0-9]', '', whole) or 0}.{fraction or 0}" if fraction else re.sub("[^0-9]", "", whole))
    return amount if fits(amount) else None
