"""Strings that name something, ids and categories: the same string means the same wherever it stands.

Catalog, `--category`, conditions, queries and judgments all go through these. Each has its depth:

| what | what no longer counts |
|---|---|
| `clean_id` | white space and invisible characters at the ends; how accents are composed (NFC) |
| `category_name` | both anywhere; entities, nested ones too; spaces around separators |
| `category_key` | also case and compatibility forms (as Unicode's NFKC_Casefold): names with one key are one category |

Texts that are searched are cleaned deeper, see text.py. Attributes are carried as they are written, and compared
as `plain_name` has them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from encoders.text import IGNORABLE, normalized, plain_name

SEPARATOR = ">"
NO_CATEGORY = "_none"  # of products without one

# Names of only these are clean; most are. Not &, which may begin an entity.
_CLEAN = re.compile("[!-%'-~]+(?: [!-%'-~]+)*")
# Directional marks say how a line is laid out, and belong to no name.
_DIRECTIONS = "\u061c\u180e\u200e\u200f\u202a-\u202e\u2066-\u2069"  # part of a character class
# Joiners, fillers, tags and variation selectors change how letters look, not which they are.
_IGNORED = re.compile(f"[{IGNORABLE}]")
# At the ends of an id: white space, and what nobody sees. ASCII control characters are kept apart: see clean_id.
_ENDS = f" \t\n\r\f\v\x00\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000{IGNORABLE}"
_ID_ENDS = re.compile(f"^[{_ENDS}]+|[{_ENDS}]+$")


def clean_id(text: str) -> str:
    """An id as it is compared and kept: what nobody sees at its ends is gone, and it is NFC. Empty: no id.

    Case counts, and so does everything inside it.
    """
    return _ID_ENDS.sub("", normalized("NFC", text))


def clean_name(text: str) -> str:
    """A name as it is shown: entities are characters, invisible characters are gone, white space is single spaces, NFC.

    Idempotent.
    """
    if _CLEAN.fullmatch(text):
        return text
    text = plain_name(text, _DIRECTIONS)
    return "" if not _IGNORED.sub("", text).strip() else text


def category_name(value: str | None, separators: Sequence[str] = (SEPARATOR,), levels: int | None = None) -> str:
    """The name of the category that `value`, such as `Fruit &gt; Apple`, means: its first `levels` (None: all), put
    together by ` > `. Without any it is `_none`.

    A separator that is written with spaces separates only where there are some: ` / ` leaves `TV/Audio` whole.
    """
    parts = split_levels(clean_name(value or ""), separators)
    return f" {SEPARATOR} ".join(part for part in parts[:levels] if part) or NO_CATEGORY


def split_levels(text: str, separators: Sequence[str]) -> list[str]:
    """The levels of a path, trimmed; a level can be empty. Where `>` separates, arrows do: `->`, `=>`, `-->`, `|>`."""
    pattern = separator_pattern(separators)
    return [" ".join(part.split()) for part in re.split(pattern, f" {text} ")] if pattern else [text]


def separator_pattern(separators: Sequence[str], written: Callable[[str], str] = re.escape) -> str:
    """A regular expression for any of `separators`, whose characters are written as the patterns that `written` gives
    for one or several.
    """
    wanted = sorted({*separators}, key=lambda one: (not one.lstrip().startswith(SEPARATOR), -len(one), one))
    return "|".join(_arrow(one, written) or written(one) for one in wanted)


def clean_separator(text: str) -> str:
    """A separator as it stands in a `clean_name`: white space at an end is one space. Empty: it never separates."""
    cleaned = clean_name(f"x{text}x")[1:-1]
    return cleaned if clean_name(cleaned) else ""


def category_key(name: str) -> str:
    """What two names of one category have in common."""
    folded = normalized("NFKC", _IGNORED.sub("", clean_name(name))).casefold()
    return " ".join(normalized("NFKC", folded).split())


def same_category(name: str, known: Iterable[str], separators: Sequence[str] = (SEPARATOR,)) -> list[str]:
    """Those of the `known` categories that `name` means: the one of that very name, else all with its key. A blank
    name means none: it is a variable that was not set.
    """
    names = list(known)
    if name in names or not clean_name(name):
        return [one for one in names if one == name]
    key = category_key(category_name(name, separators))
    return [one for one in names if category_key(one) == key]


# --- inside ---


def _arrow(separator: str, written: Callable[[str], str]) -> str:
    """The pattern of a separator that may be the head of an arrow; empty for others."""
    head = separator.lstrip()
    if not head.startswith(SEPARATOR):
        return ""
    # The guard looks at a row of dashes once, not once for each of them.
    return f"{written(separator.removesuffix(head))}(?:(?<![-=|])[-=|]+)?{written(head)}"
