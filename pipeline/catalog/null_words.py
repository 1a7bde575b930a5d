"""Words that stand for nothing where exports write `nan`, `None` or `NULL` for null.

They are null in every column once `catalog.null_words` has them. Not before: None can be a pattern, NA a brand. What
looks like one is told, with the setting.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.catalog import columns
from pipeline.config.sections import CatalogConfig
from pipeline.report.notices import Notice

_SHOWN = 20
_SHORT = 1_024  # bytes, of which a word has fewer
# In small letters: what pandas, Python, Java, SQL, Hive and spreadsheets write.
_WORDS = pa.array(
    ["nan", "none", "null", "(null)", "nil", "undefined", "nat", "<na>", "na", "n/a", "#n/a", "\\n", "-", "--", "?"]
)
_KNOWN = frozenset(_WORDS.to_pylist())


def stands_for_nothing(text: str) -> bool:
    """Whether a text is one of the words that mostly stand for nothing, in any case."""
    return text.strip().lower() in _KNOWN


def spellings_of_nothing(values: pa.Array) -> Counter[str]:
    """The words for nothing among strings, trimmed, as they are written -> how often."""
    trimmed = pc.utf8_trim_whitespace(values)
    found = pc.value_counts(trimmed.filter(pc.is_in(pc.utf8_lower(trimmed), _WORDS)))
    return Counter({one["values"]: one["counts"] for one in found.to_pylist()})


def nulled(column: pa.ChunkedArray, settings: CatalogConfig) -> pa.ChunkedArray:
    """`column` with null for the texts that are one of `catalog.null_words` once trimmed, also in lists and structs."""
    words = sorted({word.strip() for word in settings.null_words})
    if not words or not _has_text(columns.plain_type(column.type)):
        return column
    return pa.chunked_array([_nulled(columns.plain(column), pa.array(words))])


def null_words_notice(
    what: str, of: str, found: Mapping[str, int], settings: CatalogConfig, named: Sequence[str] = ()
) -> list[Notice]:
    """What is told of the words `found` (spelling -> how often); `of` says what they were taken for, `named` has the
    examples where these are others than the words.
    """
    if not found:
        return []
    count = sum(found.values())
    told = (
        f"{count:,} {of} like any other word, but such words mostly stand for nothing; if they do, set "
        f"{_setting(settings, found)}, and they are null in all columns:"
    )
    most = sorted(found.items(), key=lambda one: (-one[1], one[0]))
    shown = named or [f"{word!r} ({rows:,})" for word, rows in most]
    return [Notice(what=what, count=count, told=told, examples=tuple(shown[:_SHOWN]), kinds=len(shown))]


# --- inside ---


def _setting(settings: CatalogConfig, found: Iterable[str]) -> str:
    words = list(dict.fromkeys([*settings.null_words, *sorted(found)]))
    return f"catalog.null_words='{json.dumps(words, ensure_ascii=False)}'"


def _has_text(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind):
        return _has_text(kind.value_type)
    if pa.types.is_struct(kind):
        return any(_has_text(field.type) for field in kind)
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def _nulled(values: pa.Array, words: pa.Array) -> pa.Array:
    """Plain `values` without the words."""
    kind = values.type
    if pa.types.is_string(kind):
        texts = columns.strings(values)[0]  # what is not UTF-8 is none of the words
        return pc.if_else(pc.is_in(pc.utf8_trim_whitespace(texts), words), pa.scalar(None, kind), values)
    if pa.types.is_binary(kind):
        short = pc.if_else(pc.less(pc.binary_length(values), _SHORT), values, None)  # the others are photos
        gone = pc.and_(pc.is_valid(short), pc.is_null(_nulled(short.view(pa.string()), words)))
        return pc.if_else(gone, pa.scalar(None, kind), values)
    if pa.types.is_list(kind):
        ends = pc.cumulative_sum(pc.fill_null(pc.list_value_length(values), 0))
        offsets = pa.concat_arrays([pa.array([0], ends.type), ends])
        return pa.ListArray.from_arrays(offsets, _nulled(values.flatten(), words), mask=pc.is_null(values))
    if pa.types.is_struct(kind):
        fields = [_nulled(field, words) for field in values.flatten()]
        return pa.StructArray.from_arrays(fields, fields=list(kind), mask=pc.is_null(values))
    return values
