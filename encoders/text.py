"""Cleaning text, the same way for products and for queries: what a title says, without what a feed did to it.

Markup and entities go, mojibake is repaired (ftfy), then NFKC (Unicode Annex 15), then control and invisible characters
go, and white space becomes single spaces. Each step can uncover work for another (`&amp;lt;b&amp;gt;`), so they repeat
until nothing changes: `clean_text(clean_text(t)) == clean_text(t)`.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from html.entities import html5

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


def clean_text(text: str, max_chars: int) -> str:
    """`text` as plain words, at most `max_chars` characters; empty when nothing is left. Idempotent."""
    if len(text) <= max_chars and _CLEAN.fullmatch(text):
        return text
    if len(text) <= max_chars and _ONLY_NFKC.fullmatch(text):
        return unicodedata.normalize("NFKC", text)
    text = text[: _RAW_PER_CLEAN * max_chars]
    while True:
        # The cut can uncover work too: a repair that the dropped end had prevented.
        cleaned = _until_stable(text)[:max_chars].rstrip()
        if cleaned == text or _CLEAN.fullmatch(cleaned):
            return cleaned
        text = cleaned


def clean_texts(texts: Sequence[str | None], max_chars: int) -> list[str]:
    """`clean_text` of each; None is the empty text."""
    return [clean_text(text, max_chars) if text else "" for text in texts]


def without_entities(text: str) -> str:
    """`text` with its entities, such as `&euro;` and `&amp;euro;`, as the characters that they are."""
    return _ENTITY.sub(_unescaped, _NESTED_AMPERSAND.sub("&amp;", text)) if "&" in text else text


def plain_name(text: str) -> str:
    """`text` as names are compared: a category, a value of an attribute or of a filter. Idempotent.

    Entities are decoded, letters composed (NFC), invisible characters go, white space is single spaces. Less than
    `clean_text`: what is written differently for people to see (`Acme™` and `AcmeTM`, full width, case, tags) differs.
    """
    while not _PLAIN_NAME.fullmatch(text):
        plain = without_entities(text)
        plain = " ".join(_INVISIBLE.sub("", unicodedata.normalize("NFC", plain)).split())
        if plain == text:
            break
        text = plain
    return text


def _until_stable(text: str) -> str:
    # Ends: every step shortens the text or, like NFKC, leaves characters that it does not touch again.
    while (cleaned := _one_pass(text)) != text and not _CLEAN.fullmatch(cleaned):
        text = cleaned
    return cleaned


def _one_pass(text: str) -> str:
    if "<" in text or "&" in text:
        text = _without_markup(text)
    if not text.isascii():
        if _CODE_PAGE.search(text):
            text = _repaired(text)
        text = unicodedata.normalize("NFKC", text)
    text = " ".join(_INVISIBLE.sub("", text).split())
    return "" if _NOTHING_VISIBLE.fullmatch(text) else text


def _without_markup(text: str) -> str:
    text = _UNSEEN.sub(" ", text)
    text = _BLOCK_TAG.sub(" ", _INLINE_TAG.sub("", text))
    return without_entities(text)


def _unescaped(match: re.Match[str]) -> str:
    entity = match.group()
    return html.unescape(entity) if entity[1] == "#" else html5.get(entity[1:], entity)


def _repaired(text: str) -> str:
    """Mojibake undone; the text itself where ftfy sees no sign of it."""
    import ftfy  # here, because it takes 0.1 s to import and clean catalogs never need it

    return ftfy.fix_encoding(text)
