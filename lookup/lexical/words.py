"""Texts as words, the same for items and queries, whatever their script.

A text is folded (NFKC, case, invisible characters), then cut into words of three kinds: letters with their marks and
inner apostrophes, numbers, and runs of scripts that put no spaces between words (Han, kana, Hangul, Thai, Lao, Khmer,
Burmese). Letters and digits never share a word: `iphone15`, `iPhone-15` and `iphone 15` are all `iphone` and `15`.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from encoders.text import IGNORABLE, normalized

# Han with its extensions, radicals and iteration marks, kana, Hangul, bopomofo; then Thai, Lao, Burmese, Khmer.
_RUN = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3041-\u3096\u3099-\u309a\u309d-\u309f"
    "\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\ua960-\ua97c\uac00-\ud7fb\uf900-\ufad9\u1100-\u11ff\U0001b000-\U0001b2ff\U00020000-\U0003fffd"
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ebd\u0ec0-\u0ece\u0edc-\u0edf\u1000-\u103f\u1050-\u109d\u1780-\u17d3"
)
_INVISIBLE = re.compile(f"[{IGNORABLE}]")


class Kind(IntEnum):
    """What a word is made of."""

    LETTERS = 0
    NUMBER = 1
    RUN = 2  # of a script without spaces


@dataclass(frozen=True)
class Word:
    """One word of a text."""

    text: str  # folded
    kind: Kind
    glued: bool  # to the word before it: nothing stands between them


def folded(text: str) -> str:
    """`text` as words are compared: NFKC and case folding, without invisible characters. Idempotent."""
    if text.isascii():
        return text.lower()
    text = _INVISIBLE.sub("", text)
    while (again := normalized("NFKC", normalized("NFKC", text).casefold())) != text:
        text = again
    return text.replace("\u2019", "'")


@functools.cache
def word_pattern() -> re.Pattern[str]:
    """What finds the words of a folded text, and its line ends, which are no part of any word.

    Pictures (emoji, dingbats) are words of one character each.
    """
    letters, marks = rf"[^\W\d_{_RUN}]", f"[{_marks()}]"
    word = f"{letters}+(?:{marks}+{letters}*)*"
    return re.compile(rf"{word}(?:'{word})*|\n|\d+(?:[.,]\d+)*|[{_RUN}]+|[\u2600-\u27bf\U0001f300-\U0001faff]")


def kind_of(word: str) -> Kind:
    """The kind of one word, as `words_of` finds it."""
    if word[0].isdecimal():
        return Kind.NUMBER
    return Kind.RUN if _IN_RUN.match(word) else Kind.LETTERS


def words_of(text: str) -> list[Word]:
    """The words of `text`, in order."""
    found, end = list[Word](), -1
    for match in word_pattern().finditer(folded(text).replace("\n", " ")):
        found.append(Word(match[0], kind_of(match[0]), match.start() == end))
        end = match.end()
    return found


def number_of(word: str) -> str:
    """A number as it is compared: ASCII digits, no thousands' commas, no zeros after a decimal point."""
    if not word.isascii():
        word = "".join(str(unicodedata.decimal(one)) if one.isdecimal() else one for one in word)
    if "," in word:
        word = word.replace(",", "") if _THOUSANDS.fullmatch(word) else word.replace(",", ".")
    if word.count(".") == 1:
        word = word.rstrip("0").rstrip(".")
    return word


def pairs_of(run: str) -> Sequence[str]:
    """A run's terms: its pairs of neighbours, or the one character that it is.

    A dictionary would cut it into words, and differently within a longer text: pairs are found in both.
    """
    return [run] if len(run) == 1 else [run[at : at + 2] for at in range(len(run) - 1)]


def _marks() -> str:
    """The combining marks, as part of a character class: `re` takes them for no letters."""
    marks = [code for code in range(0x300, 0x20000) if unicodedata.category(chr(code))[0] == "M"]  # none above in words
    starts = [code for code, before in zip(marks, [-1, *marks], strict=False) if code != before + 1]
    ends = [code for code, after in zip(marks, [*marks[1:], -1], strict=True) if code != after - 1]
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in zip(starts, ends, strict=True))


_IN_RUN = re.compile(f"[{_RUN}]")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
