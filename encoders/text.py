"""Cleaning text, the same way for products and for queries: what a title says, without what a feed did to it.

Markup and entities go, mojibake is repaired (ftfy), then NFKC (Unicode Annex 15), then control and invisible characters
go, and white space becomes single spaces. Each step can uncover work for another (`&amp;lt;b&amp;gt;`), so they repeat
until nothing changes: `clean_text(clean_text(t)) == clean_text(t)`. A text can be made so that each pass finds work for
the next, `<b<b<b>>>` or `&#5&#54;;`: passes are paid for by the character, see `_Work`.
"""

from __future__ import annotations

import functools
import html
import itertools
import re
import unicodedata
from collections.abc import Sequence
from html.entities import html5
from typing import Literal

from foundation.liveness import beat

# A text of only these is clean already. ASCII without & and <; ideographs, kana, hangul and their punctuation that NFKC
# leaves alone and that are no part of any mojibake. Most titles end here, for a third of a microsecond.
_SAFE = "!-%'-;=-~一-鿿ぁ-ゖァ-ヺー가-힣、。《》「」『』【】"
_CLEAN = re.compile(f"[{_SAFE}]+(?: [{_SAFE}]+)*")
# The same with full-width ASCII, as Chinese writes its commas: NFKC is all it needs. Not ＆ and ＜, which become
# markup.
_WIDE = f"[{_SAFE}！-％＇-；＝-～]"
ONLY_NFKC = f"^{_WIDE}+( {_WIDE}+)*$"  # a pattern for re and for RE2 alike: whole columns are looked through at once
_ONLY_NFKC = re.compile(ONLY_NFKC.removesuffix("$"))

# The same with every other mark of ASCII but &: such a name is compared as it is.
PLAIN_NAME = "^[!-%'-~]+( [!-%'-~]+)*$"  # for re and for RE2 alike
_PLAIN_NAME = re.compile(PLAIN_NAME.removesuffix("$"))

# Only elements of HTML count as tags, so that `3 < 5` and `<3` survive. Inline elements join what they stand between,
# as a browser shows it; all others separate it.
_INLINE = "a|abbr|b|bdi|bdo|big|cite|code|del|em|font|i|ins|kbd|mark|q|s|small|span|strike|strong|sub|sup|tt|u|var|wbr"
_BLOCK = (
    "address|article|aside|blockquote|body|br|button|caption|center|col|colgroup|dd|div|dl|dt|fieldset|figcaption|"
    "figure|footer|form|h[1-6]|head|header|hr|html|iframe|img|input|label|li|link|main|meta|nav|object|ol|option|p|pre|"
    "section|select|source|summary|svg|table|tbody|td|textarea|tfoot|th|thead|title|tr|ul|video|script|style"
)
_INLINE_TAG = re.compile(rf"</?(?:{_INLINE})(?:\s[^<>]*)?/?>", re.IGNORECASE)
_BLOCK_TAG = re.compile(rf"</?(?:{_BLOCK})(?:\s[^<>]*)?/?>", re.IGNORECASE)
# What is never shown. The guards stop a search at the next opening, which keeps it linear on `<!--<!--<!--...`.
_UNSEEN = re.compile(
    r"<!--(?:(?!<!--).)*?-->|<(script|style)(?:\s[^<>]*)?>(?:(?!<(?:script|style)\b).)*?</\1\s*>|<!doctype[^<>]*>",
    re.IGNORECASE | re.DOTALL,
)

# Entities need their semicolon: html.unescape alone makes `Black&notebook` into `Black¬ebook`.
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_NESTED_AMPERSAND = re.compile(r"&(?:(?:amp|AMP|#0*38|#[xX]0*26);)+")

# Default_Ignorable_Code_Point of Unicode 16, what is shown as nothing at all, as part of a character class:
# https://www.unicode.org/Public/16.0.0/ucd/DerivedCoreProperties.txt
IGNORABLE = (
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)

# Controls (those that are white space become spaces), soft hyphen, zero-width space, word joiner, byte order mark,
# deprecated formatting and interlinear characters, lone surrogates, noncharacters. Joiners stay: emoji and Persian need
# them.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u200b\u2060\u206a-\u206f\ufeff\ufff9-\ufffc\ufffe\uffff\ud800-\udfff]"
)

# Joiners, directional marks, fillers and variation selectors have a meaning between letters, and none alone.
_NOTHING_VISIBLE = re.compile(f"[ {IGNORABLE}]+")

# Mojibake is made of what single-byte code pages hold above ASCII; text without any of it need not be examined.
_CODE_PAGE = re.compile("[\x80-\u04ff\u1e00-\u25ff\uf000-\ufb06\ufffd]")

# Longer input is cut before it is cleaned: a megabyte of markup costs milliseconds, and no honest title is one part in
# 32.
_RAW_PER_CLEAN = 32

# What passes over a text may cost: so many of all of it, and so many characters besides, which are all that a title of
# a few hundred can ask for. 320,000 characters end within 2 s, or 5 of mojibake, whatever they are.
_PASSES = 6
_CHARS_BESIDES = 300_000

_FEW_CHARS = 1_000  # that `normalized` leaves to unicodedata: 3 ms at the worst


_Form = Literal["NFC", "NFD", "NFKC", "NFKD"]


class TextError(ValueError):
    """A text whose markup, entities or mojibake are nested so deep that cleaning it has no end in sight."""


def clean_text(text: str, max_chars: int) -> str:
    """`text` as plain words, at most `max_chars` characters; empty when nothing is left. Idempotent.

    TextError where it is nested too deep.
    """
    if len(text) <= max_chars and _CLEAN.fullmatch(text):
        return text
    if len(text) <= max_chars and _ONLY_NFKC.fullmatch(text):
        return unicodedata.normalize("NFKC", text)
    text = text[: _RAW_PER_CLEAN * max_chars]
    work = _Work(text)
    while True:
        # The cut can uncover work too: a repair that the dropped end had prevented.
        cleaned = _until_stable(text, work)[:max_chars].rstrip()
        if cleaned == text or _CLEAN.fullmatch(cleaned):
            return cleaned
        text = cleaned


def clean_texts(texts: Sequence[str | None], max_chars: int) -> list[str | None]:
    """`clean_text` of each; None is the empty text, and what comes for one that is nested too deep."""
    return [_clean_or_none(text, max_chars) if text else "" for text in texts]


def without_entities(text: str) -> str:
    """`text` with its entities, such as `&euro;` and `&amp;euro;`, as the characters that they are."""
    return _ENTITY.sub(_unescaped, _NESTED_AMPERSAND.sub("&amp;", text)) if "&" in text else text


def plain_name(text: str, also_unseen: str = "") -> str:
    """`text` as names are compared: a category, a value of an attribute or of a filter. Idempotent.

    Entities are decoded, letters composed (NFC), invisible characters go, `also_unseen` (a character class, without
    brackets) as well, white space is single spaces. Less than `clean_text`: what is written differently for people to
    see (`Acme™` and `AcmeTM`, full width, case, tags) differs. Where entities are nested too deep, & is white space.
    """
    if _PLAIN_NAME.fullmatch(text):
        return text
    work = _Work(text)
    unseen = re.compile(f"[{_INVISIBLE.pattern[1:-1]}{also_unseen}]")
    while not _PLAIN_NAME.fullmatch(text):
        plain = without_entities(text)
        plain = " ".join(unseen.sub("", normalized("NFC", plain)).split())
        if plain == text:
            break
        text = plain if work.affords(plain) else plain.replace("&", " ")
    return text


def normalized(form: _Form, text: str) -> str:
    """`unicodedata.normalize`, in time that grows with the text: that sorts the marks on a letter by insertion, 160,000
    of one kind before as many of another for minutes.
    """
    if len(text) > _FEW_CHARS and not text.isascii():
        apart: _Form = "NFD" if form == "NFC" else "NFKD"
        text = _runs_of_marks(apart).sub(lambda run: _sorted_marks(run[0], apart), text)
    return unicodedata.normalize(form, text)


class _Work:
    """What may still be done for one text, in characters that are looked through."""

    def __init__(self, text: str) -> None:
        self._left = _PASSES * len(text) + _CHARS_BESIDES

    def affords(self, text: str) -> bool:
        """Whether one more pass over `text` may be made; it is paid for."""
        self._left -= len(text)
        return self._left >= 0

    def pay(self, text: str) -> None:
        """TextError unless it `affords` a pass over `text`."""
        if not self.affords(text):
            raise TextError("markup, entities or mojibake in one another, too deep to be cleaned")


def _clean_or_none(text: str, max_chars: int) -> str | None:
    beat()
    try:
        return clean_text(text, max_chars)
    except TextError:
        return None


@functools.cache
def _runs_of_marks(form: _Form) -> re.Pattern[str]:
    """Several of the characters that `form` has as nothing but marks, which it sorts behind a letter."""
    decomposed = ((one, unicodedata.normalize(form, one)) for one in map(chr, range(0x300, 0x20000)))  # none above
    return re.compile(f"[{''.join(one for one, parts in decomposed if all(map(unicodedata.combining, parts)))}]{{2,}}")


def _sorted_marks(marks: str, form: _Form) -> str:
    parts = itertools.chain.from_iterable(unicodedata.normalize(form, one) for one in marks)
    return "".join(sorted(parts, key=unicodedata.combining))


def _until_stable(text: str, work: _Work) -> str:
    # Ends: every step shortens the text or, like NFKC, leaves characters that it does not touch again.
    while (cleaned := _one_pass(text, work)) != text and not _CLEAN.fullmatch(cleaned):
        work.pay(cleaned)
        text = cleaned
    return cleaned


def _one_pass(text: str, work: _Work) -> str:
    if "<" in text or "&" in text:
        text = _without_markup(text)
    if not text.isascii():
        if _CODE_PAGE.search(text):
            text = _repaired(text, work)
        text = normalized("NFKC", text)
    text = " ".join(_INVISIBLE.sub("", text).split())
    return "" if _NOTHING_VISIBLE.fullmatch(text) else text


def _without_markup(text: str) -> str:
    text = _UNSEEN.sub(" ", text)
    text = _BLOCK_TAG.sub(" ", _INLINE_TAG.sub("", text))
    return without_entities(text)


def _unescaped(match: re.Match[str]) -> str:
    entity = match.group()
    return html.unescape(entity) if entity[1] == "#" else html5.get(entity[1:], entity)


def _repaired(text: str, work: _Work) -> str:
    """Mojibake undone, as `ftfy.fix_encoding` does; the text itself where ftfy sees no sign of it.

    That function peels one layer a step for as long as there are some, and so it does with parts of the text: of `Ã`
    and 100,000 `ƒ` each `ƒ` is a layer.
    """
    import ftfy  # here, because it takes 0.1 s to import and clean catalogs never need it
    from ftfy.badness import is_bad
    from ftfy.chardata import UTF8_DETECTOR_RE

    whole = ftfy.TextFixerConfig(decode_inconsistent_utf8=False)

    def part(found: re.Match[str]) -> str:
        return _repaired(found[0], work) if len(found[0]) < len(text) and is_bad(found[0]) else found[0]

    while is_bad(text):
        work.pay(text)
        fixed, steps = ftfy._fix_encoding_one_step_and_explain(text, whole)
        if not (steps and steps[-1].parameter.startswith("utf-8")):  # parts come after UTF-8, before all else
            parts = UTF8_DETECTOR_RE.sub(part, text)
            fixed = fixed if parts == text else parts
        if fixed == text:
            break
        text = fixed
    return text
