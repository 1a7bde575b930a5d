"""Catalog columns as plain Arrow arrays: whatever encoding a writer chose, what goes on is string, list and number."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from encoders.photos.paths import PHOTO_NAME
from encoders.text import ONLY_NFKC, clean_texts
from pipeline.photos.inline import decoded, inline

Sizes = npt.NDArray[np.int64]
_ITEM_BYTES = 8

_PATH_BYTES = 65_536  # of a list of paths; what is longer is a photo
_PATH = re.compile(rf"\s*(?:(?:file:/|[a-z][a-z0-9+.-]*://).*|{PHOTO_NAME})\s*", re.IGNORECASE)
PHOTO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

_STRINGS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
_NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
_DIGITS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
_TIMES = (pa.types.is_timestamp, pa.types.is_date)

# --- types ---


def value_type(kind: pa.DataType) -> pa.DataType:
    """The type of a column's values: a dictionary's is that of its entries."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type that a column of type `kind` is read as; a column without any value (type null) is one of strings."""
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if _any(_STRINGS, kind):
        return pa.string()
    if _any(_BYTES, kind):
        return pa.binary()
    if pa.types.is_decimal32(kind) or pa.types.is_decimal64(kind):
        return pa.decimal128(kind.precision, kind.scale)  # which all of Arrow's functions take
    if _any(_LISTS, kind):
        return pa.list_(plain_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, plain_type(field.type)) for field in kind])
    return kind


def text_type(kind: pa.DataType) -> pa.DataType:
    """The type of a column that holds no photos: bytes of any length are text whose writer left the mark out, as
    Impala, Hive and Spark do.
    """
    if pa.types.is_dictionary(kind):
        return text_type(kind.value_type)
    if _any(_LISTS, kind):
        return pa.list_(text_type(kind.value_type))
    return pa.string() if _any(_BYTES, kind) and not pa.types.is_fixed_size_binary(kind) else kind


def is_text(kind: pa.DataType) -> bool:
    """Whether a column can be text."""
    return bool(pa.types.is_string(plain_type(kind)))


def is_name(kind: pa.DataType) -> bool:
    """Whether a column can be ids or categories; of floats and decimals whole numbers can."""
    return is_text(kind) or _any(_DIGITS, value_type(kind))


def is_category(kind: pa.DataType) -> bool:
    """Whether a column can be categories: names, or lists of them, of which the first counts."""
    plain = plain_type(kind)
    return is_name(plain.value_type if pa.types.is_list(plain) else kind)


def is_version(kind: pa.DataType) -> bool:
    """Whether a column can be versions of photos: a name or a time."""
    return is_name(kind) or _any(_TIMES, plain_type(kind))


def is_photo(kind: pa.DataType) -> bool:
    """Whether a column can be photos: paths, bytes or structs with `bytes`, or lists of them."""
    plain = plain_type(kind)
    one = plain.value_type if pa.types.is_list(plain) else plain
    if pa.types.is_struct(one):
        types = {field.name: field.type for field in one}
        return bool(types.get("bytes") == pa.binary() and types.get("path", pa.string()) == pa.string())
    return bool(pa.types.is_string(one) or pa.types.is_binary(one))


def is_attribute(kind: pa.DataType) -> bool:
    """Whether a column can be carried to hits: text, numbers, times, and lists of text."""
    plain = plain_type(kind)
    return plain in (pa.string(), pa.list_(pa.string())) or _any((*_NUMBERS, *_TIMES), plain)


def is_price(kind: pa.DataType) -> bool:
    """Whether a column can be prices: text or numbers."""
    plain = plain_type(kind)
    return bool(pa.types.is_string(plain)) or (_any(_NUMBERS, plain) and not pa.types.is_boolean(plain))


# --- values ---


def plain(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array of its plain type; its strings are as they come, UTF-8 or not.

    Arrow counts their bytes in 32 bits and overflows without a word: look at `row_bytes` before.
    """
    kind = plain_type(column.type)
    # combine_chunks() of no chunks gives a chunked array again.
    chunks = [chunk.cast(kind, safe=False) for chunk in column.chunks]
    return pa.concat_arrays(chunks) if chunks else pa.array([], kind)


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of bytes, or of lists of them, as strings that may not be UTF-8; any other as it is."""
    plain_kind = plain_type(column.type)
    kind = text_type(plain_kind)
    return column if kind == plain_kind else pa.chunked_array([plain(column).cast(kind, safe=False)])


def first_of(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The first item of each list, null where there is none; a column of no lists as it is."""
    if not pa.types.is_list(plain_type(column.type)):
        return column
    lists = plain(column)
    some = pc.fill_null(pc.greater(pc.list_value_length(lists), 0), False)
    firsts = pc.list_element(lists.filter(some), 0)
    return pa.chunked_array([pc.replace_with_mask(pa.nulls(len(lists), firsts.type), some, firsts)])


def row_bytes(values: pa.Array) -> Sizes:
    """(n,) int64: about how many bytes each row takes once plain. A dictionary's entry counts where it is used, an item
    of a list 8 bytes more.
    """
    kind, n = values.type, len(values)
    if pa.types.is_null(kind):
        return np.zeros(n, np.int64)
    if pa.types.is_dictionary(kind):
        entries = np.append(row_bytes(values.dictionary), 0)
        used = values.indices.fill_null(len(values.dictionary)).to_numpy(zero_copy_only=False)
        return np.asarray(entries[used], np.int64)
    if pa.types.is_struct(kind):
        return sum((row_bytes(field) for field in values.flatten()), np.zeros(n, np.int64))
    if _any(_LISTS, kind):
        inner = np.concatenate([[0], np.cumsum(row_bytes(values.flatten()) + _ITEM_BYTES)])
        ends = np.concatenate([[0], np.cumsum(_null_as_zero(pc.list_value_length(values)))])
        return np.asarray(inner[ends[1:]] - inner[ends[:-1]], np.int64)
    lengths = _lengths(values)
    return np.full(n, max(1, kind.bit_width // 8), np.int64) if lengths is None else _null_as_zero(lengths)


def spelled_out(values: pa.Array) -> pa.Array:
    """`values` without dictionaries: look at `row_bytes` before."""
    kind = _spelled_type(values.type)
    return values if kind == values.type else values.cast(kind)


def strings(values: pa.Array) -> tuple[pa.Array, pa.Array]:
    """(plain `values` as strings, null where they are not UTF-8; mask of those)."""
    texts = values if pa.types.is_string(values.type) else pc.cast(values, pa.string())
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        decoded = pa.array([_utf8(raw) for raw in texts.view(pa.binary()).to_pylist()], pa.string())
        return decoded, pc.and_(pc.is_null(decoded), pc.is_valid(texts))
    return texts, repeat(False, len(texts))


def attribute(values: pa.Array) -> tuple[pa.Array, pa.Array]:
    """(plain `values` as they are carried to hits, null where they have text that is not UTF-8; mask of those)."""
    if pa.types.is_string(values.type):
        return strings(values)
    if not pa.types.is_list(values.type):
        return values, repeat(False, len(values))
    wrong = strings(values.flatten())[1]
    rows = pc.list_parent_indices(values).filter(wrong)
    mask = pc.is_in(pa.array(np.arange(len(values))), rows)
    return pc.if_else(mask, pa.scalar(None, values.type), values), mask


def readable(values: pa.Array) -> pa.Array:
    """The string `values`; those that are not UTF-8 have their odd bytes spelled out in ASCII."""
    texts, wrong = strings(values)
    if not pc.any(wrong).as_py():
        return texts
    raw = values.view(pa.binary()).to_pylist()
    return pa.array([None if one is None else one.decode("utf-8", "backslashreplace") for one in raw], pa.string())


def cleaned(values: pa.Array, max_chars: int) -> pa.Array:
    """`encoders.text.clean_texts` of the string `values`: null as the empty text, null for what cannot be cleaned.

    Most texts of a catalog need only NFKC, which Arrow does for a whole column in a fifth of the time; the rest are
    cleaned one by one.
    """
    values = pc.fill_null(values, "")
    easy = pc.and_(pc.match_substring_regex(values, ONLY_NFKC), pc.less_equal(pc.utf8_length(values), max_chars))
    normal = pc.utf8_normalize(pc.if_else(easy, values, ""), "NFKC")  # of the rest its time may grow as its square
    if pc.all(easy).as_py():
        return normal
    rest = clean_texts(values.filter(pc.invert(easy)).to_pylist(), max_chars)
    return pc.replace_with_mask(normal, pc.invert(easy), pa.array(rest, pa.string()))


def joined(columns: Sequence[pa.Array], n: int) -> pa.Array:
    """The non-empty texts of each of `n` rows joined by new lines; null where there is none."""
    if not columns:
        return pa.nulls(n, pa.string())
    # Not `null_handling="skip"`: where all are null, pyarrow 25.0.1 gives a column without rows.
    texts = columns[0]
    for column in columns[1:]:
        both = pc.binary_join_element_wise(texts, column, "\n")
        texts = pc.if_else(pc.equal(texts, ""), column, pc.if_else(pc.equal(column, ""), texts, both))
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def photos_of(first: pa.Array | None, more: pa.Array | None, n: int, base64: bool = False) -> pa.Array:
    """`photo_lists` of the plain columns of the first and of further photos, of which strings are lists.

    They are what stands between commas, the form of Google's text feeds; a comma that belongs to a path is written
    `%2C` there. With `base64` all texts are photos, one each.
    """
    if base64:
        first, more = (None if one is None else _inline(one) for one in (first, more))
    further = [more]
    if more is not None and pa.types.is_binary(more.type):
        paths = paths_in(more)
        further = [paths, pc.if_else(pc.is_valid(paths), pa.scalar(None, more.type), more)]
    columns = [first, *further]
    columns[1:] = [
        pc.split_pattern(one, ",") if one is not None and pa.types.is_string(one.type) else one for one in further
    ]
    return photo_lists([column for column in columns if column is not None], n)


def first_paths(photos: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The path of the first photo of each row of `photo_lists`; null where it has none."""
    paths = pc.struct_field(pc.list_element(photos, 0), "path")
    return pc.if_else(pc.starts_with(paths, "data:", ignore_case=True), pa.scalar(None, pa.string()), paths)


def paths_in(values: pa.Array) -> pa.Array:
    """Those of the plain binary `values` that are the paths of photos, strings; null where there are photos.

    No photo is a line of text that ends as the name of one does, or begins as a URL.
    """
    short = pc.fill_null(pc.less_equal(pc.binary_length(values), _PATH_BYTES), False)
    found = pa.array([_photo_path(raw) for raw in values.filter(short).to_pylist()], pa.string())
    return pc.replace_with_mask(pa.nulls(len(values), pa.string()), short, found)


def photo_lists(columns: Sequence[pa.Array], n: int) -> pa.Array:
    """list<struct<bytes, path>> of the photos of each of `n` rows, in the order of the plain `columns`; null where
    there is none.
    """
    if not columns:
        return pa.nulls(n, pa.list_(PHOTO))
    nested = [pa.types.is_list(values.type) for values in columns]
    found = [_photos(values.flatten() if many else values) for values, many in zip(columns, nested, strict=True)]
    owners = [
        pc.list_parent_indices(values).to_numpy() if many else np.arange(n)
        for values, many in zip(columns, nested, strict=True)
    ]
    photos, owner = pa.concat_arrays(found), np.concatenate(owners)
    present = pc.or_(pc.is_valid(photos.field("bytes")), pc.is_valid(photos.field("path")))
    photos, owner = photos.filter(present), owner[present.to_numpy(zero_copy_only=False)]
    if len(columns) > 1:
        photos = photos.take(pa.array(np.argsort(owner, kind="stable")))
    counts = np.bincount(owner, minlength=n)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), photos, mask=pa.array(counts == 0))


def repeat(value: Any, n: int) -> pa.Array:
    """`value` n times."""
    return pa.repeat(pa.scalar(value), n)


# --- inside ---


def _photos(values: pa.Array) -> pa.StructArray:
    """struct<bytes, path> of paths, bytes or structs, without nulls of its own."""
    n = len(values)
    raw, path = pa.nulls(n, pa.binary()), pa.nulls(n, pa.string())
    if pa.types.is_struct(values.type):
        raw = pc.struct_field(values, "bytes")  # null where the struct is; field() would not be
        if values.type.get_field_index("path") >= 0:
            path = _path(pc.struct_field(values, "path"))
    elif pa.types.is_binary(values.type):
        path = _path(paths_in(values))
        raw = pc.if_else(pc.is_valid(path), pa.scalar(None, values.type), values)
    else:
        path = _path(values)
    raw = pc.if_else(pc.equal(pc.binary_length(raw), 0), None, raw)  # no bytes: the path, if any, is the photo
    return pa.StructArray.from_arrays([raw, path], fields=list(PHOTO))


def _inline(values: pa.Array) -> pa.Array:
    """Structs <bytes, path> of texts or bytes in base64, or lists of them; other types as they are. What cannot be
    decoded is a path, see pipeline/photos/inline.py.
    """
    if pa.types.is_list(values.type):
        ends = np.cumsum(_null_as_zero(pc.list_value_length(values)))
        offsets = pa.array(np.concatenate([[0], ends]), pa.int32())
        return pa.ListArray.from_arrays(offsets, _inline(values.flatten()), mask=values.is_null())
    if not _any((*_STRINGS[:1], *_BYTES[:1]), values.type):
        return values
    texts = _path(values if pa.types.is_string(values.type) else values.cast(pa.string(), safe=False))
    return pa.array([None if text is None else _decoded(inline(text)) for text in texts.to_pylist()], PHOTO)


def _decoded(uri: str) -> dict[str, Any]:
    try:
        return {"bytes": decoded(uri), "path": None}
    except ValueError:
        return {"bytes": None, "path": uri}


def _photo_path(raw: bytes) -> str | None:
    text = _utf8(raw)
    return text if text and text.strip().isprintable() and _PATH.fullmatch(text) else None


def _path(values: pa.Array) -> pa.Array:
    """Trimmed paths; null for blank ones. One that is not UTF-8, spelled out, names no file."""
    trimmed = pc.utf8_trim_whitespace(readable(values))
    return pc.if_else(pc.equal(trimmed, ""), None, trimmed)


def _lengths(values: pa.Array) -> pa.Array | None:
    """Bytes of each string; None where there are no strings."""
    kind = values.type
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        values = values.cast(pa.large_binary())
    return pc.binary_length(values) if _any((*_STRINGS[:-1], *_BYTES), kind) else None


def _null_as_zero(lengths: pa.Array) -> Sizes:
    """Null as 0."""
    return np.asarray(pc.fill_null(lengths, 0).to_numpy(zero_copy_only=False), np.int64)


def _spelled_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_large_list(kind):
        return pa.large_list(_spelled_type(kind.value_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_spelled_type(kind.value_type), kind.list_size)
    if pa.types.is_list(kind):
        return pa.list_(_spelled_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _spelled_type(field.type)) for field in kind])
    return kind


def _utf8(raw: bytes | None) -> str | None:
    try:
        return None if raw is None else raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _any(checks: Sequence[Callable[[pa.DataType], bool]], kind: pa.DataType) -> bool:
    return any(check(kind) for check in checks)
