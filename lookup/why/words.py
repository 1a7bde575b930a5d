"""The words of a query, and the query without each of them."""

from __future__ import annotations

import re

MOST = 32  # words that are left out one by one; of more some go together
# A word, or a character of a script that puts no spaces between words: Han, kana, Hangul, Thai, Lao, Khmer, Burmese.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])\w)+(?:['’.-](?:(?![{_UNSPACED}])\w)+)*")


def words_left_out(text: str) -> list[tuple[str, str]]:
    """(word, `text` without it) for each word of a clean text, in order; neighbours go together where there are more
    than `MOST`. Empty where nothing would be left.
    """
    spans = [match.span() for match in _WORD.finditer(text)]
    per = -(-len(spans) // MOST) or 1
    groups = [(part[0][0], part[-1][1]) for part in (spans[at : at + per] for at in range(0, len(spans), per))]
    if len(groups) < 2:
        return []
    return [(text[start:end], " ".join((text[:start] + " " + text[end:]).split())) for start, end in groups]
