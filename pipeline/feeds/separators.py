"""Texts as the lists that they spell: what separates values, and what only looks like it."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.feeds.conversions import filled, relisted

_URL = "^(?i:https?)://"
_BETWEEN = "\ufdd2"  # no character: stands between URLs
_COMMA = "\ufdd0"  # no character either: stands for a comma that separates nothing


def split(values: pa.Array, separators: Sequence[str]) -> pa.Array:
    """Strings as the lists of what stands between the first of `separators` that each has. Of URLs a comma stands
    before another one: that of `w_100,h_100` inside of one is a part of it.
    """
    found = _split_at(values, separators[-1])
    for separator in reversed(separators[:-1]):
        found = pc.if_else(pc.match_substring(values, separator), _split_at(values, separator), found)
    return filled(found)


def escaped(values: pa.Array) -> pa.Array:
    r"""Strings whose `\n` are ends of lines, and whose `\,` no separator finds until they are `unescaped`."""
    if pa.types.is_list(values.type):
        return relisted(values, escaped(values.flatten()))
    return pc.replace_substring(pc.replace_substring(values, r"\n", "\n"), r"\,", _COMMA)


def unescaped(values: pa.Array) -> pa.Array:
    """What was `escaped`, with commas as they are."""
    if pa.types.is_list(values.type):
        return relisted(values, unescaped(values.flatten()))
    return pc.replace_substring(values, _COMMA, ",")


# --- inside ---


def _split_at(values: pa.Array, separator: str) -> pa.Array:
    if separator.strip() != ",":
        return pc.split_pattern(values, separator)
    urls = pc.fill_null(pc.match_substring_regex(values, _URL), False)
    marked = pc.replace_substring_regex(values, rf"\s*,\s*({_URL[1:]})", rf"{_BETWEEN}\1")
    return pc.if_else(urls, pc.split_pattern(marked, _BETWEEN), pc.split_pattern(values, separator))
