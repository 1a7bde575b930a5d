"""Which code page a text in Latin letters is of, told by the languages whose letters it then has.

Statistics of bytes confuse them: what is `è` in one is `č` in another, and a catalog is words, not sentences. But the
letters beyond ASCII of a text are those of one language only if they are read by its own code page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_WESTERN = ("cp1252", "iso8859-15", "cp850", "mac_roman")
_CENTRAL = ("cp1250", "iso8859-2", "cp852")
_TURKISH = ("cp1254", "cp857")
_BALTIC = ("cp1257",)
# In this order: of two that fit equally well the first is taken.
_LANGUAGES = (
    ("äöüßé", _WESTERN),  # German
    ("àâæçéèêëîïôœùûüÿ", _WESTERN),  # French
    ("áéíóúüñçàèòï", _WESTERN),  # Spanish, Catalan
    ("àáâãçéêíóôõúü", _WESTERN),  # Portuguese
    ("àèéìîòóùú", _WESTERN),  # Italian
    ("éëèïöüóáê", _WESTERN),  # Dutch
    ("æøåéäöü", _WESTERN),  # Danish, Norwegian, Swedish, Finnish
    ("ąćęłńóśźż", _CENTRAL),  # Polish
    ("áäčďéěíĺľňóôŕřšťúůýž", _CENTRAL),  # Czech, Slovak
    ("áéíóöőúüű", _CENTRAL),  # Hungarian
    ("čćđšž", _CENTRAL),  # Croatian, Slovene
    ("ăâîşţ", _CENTRAL),  # Romanian
    ("çğıöşüâîûİ", _TURKISH),
    ("ąčęėįšųūž", _BALTIC),  # Lithuanian
    ("āčēģīķļņšūž", _BALTIC),  # Latvian
    ("äõöüšž", _BALTIC),  # Estonian
    ("áðéíóúýþæö", _WESTERN),  # Icelandic
)
_MARKS = "€£¥§©®™°ªº¹²³¼½¾×÷±µØ·¿¡«»‹›–—…•“”„‘’‚\xa0\xad"  # in texts of all of them
_INSIDE = frozenset("–—’\xad\xa0·")  # of these, what stands inside of words; others there are letters, read wrong
_RUN = re.compile(rb"[\x80-\xff]{3,}")  # words of other scripts are such, of Latin letters few are
_MOST_RUNS = 0.5  # of the bytes beyond ASCII
_LEAST = 0.85  # of the characters beyond ASCII
_SEVERAL = 0.92  # what letters of several languages of a code page count, where those of one count 1


def latin_code_page(sample: bytes) -> str | None:
    """The code page of a sample in Latin letters; None where it is of another script, or fits none of these."""
    beyond = sum(byte > 127 for byte in sample)
    if not beyond or sum(map(len, _RUN.findall(sample))) > _MOST_RUNS * beyond:
        return None
    pages = dict.fromkeys(page for _, pages in _LANGUAGES for page in pages)
    texts = {page: list(_letters(sample.decode(page, "replace"))) for page in pages}
    best, most = None, 0.0
    for letters, page, weight in _alphabets():
        known = frozenset(letters + letters.upper())
        fit = weight * sum(one in known or one in _MARKS for one in texts[page]) / beyond
        if fit > most:
            best, most = page, fit
    return best if most >= _LEAST else None


# --- inside ---


def _alphabets() -> Iterator[tuple[str, str, float]]:
    """(letters, code page, weight) of each language, then of all languages of a code page together."""
    several = dict[str, str]()
    for place in range(max(len(pages) for _, pages in _LANGUAGES)):  # Windows' own before what few write
        for letters, pages in _LANGUAGES:
            for page in pages[place : place + 1]:
                several[page] = several.get(page, "") + letters
                yield letters, page, 1.0
    for page, letters in several.items():
        yield letters, page, _SEVERAL


def _letters(text: str) -> Iterator[str]:
    """The characters beyond ASCII that stand where they may: no capital behind a small letter, no mark in a word."""
    for before, one, after in zip(" " + text, text, text[1:] + " ", strict=False):
        if one.isascii() or (one.isupper() and before.islower()):
            continue
        if not one.isalpha() and one not in _INSIDE and before.isalpha() and after.isalpha():
            continue
        yield one
