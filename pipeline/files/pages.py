"""What the pages of a column claim to become, read from their headers before anything is decompressed.

A header is a few bytes of Thrift in front of its page (parquet.thrift, compact protocol). Arrow believes it:
a page of a kilobyte that claims two gigabytes is given them. Footers say the same only of a whole column, and need not
be true.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import pyarrow.parquet as pq

from foundation.errors import VitrineError

_HEADER_BYTES = 1024, 2**24  # that are read at first, and at most: Arrow's own limit
_DATA, _DICTIONARY, _DATA_V2 = 5, 7, 8  # fields of a PageHeader that begin with a number of values
_BINARY, _LISTS, _MAP, _STRUCT = 8, (9, 10), 11, 12
_WIDTHS = {1: 0, 2: 0, 3: 1, 7: 8}  # of types of a fixed size: true, false, byte, double
_DEEPEST = 8  # structs in structs; a page header has three


class DamagedPageError(VitrineError):
    """A page header that cannot be read."""


class Page(NamedTuple):
    """A page as its header has it: bytes once decompressed, values (nulls and items of lists count), and whether it is
    a dictionary.
    """

    size: int
    values: int
    dictionary: bool


def pages_of(file: BinaryIO, path: str, chunk: pq.ColumnChunkMetaData) -> Iterator[Page]:
    """The pages of a column chunk, in order; DamagedPageError where a header cannot be read."""
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset:
        start = min(start, chunk.dictionary_page_offset)
    end, left = start + chunk.total_compressed_size, chunk.num_values
    while start < end and left > 0:
        try:
            length, fields = _header(file, start, end)
        except (ValueError, IndexError) as err:
            raise DamagedPageError(
                f"a page header at byte {start:,} of {path}, in column {chunk.path_in_schema}",
                "other bytes",
                "write this catalog file again; nothing was published, and the next run goes on from here",
            ) from err
        dictionary = _DICTIONARY in fields
        values = fields.get(_DATA, fields.get(_DATA_V2, fields.get(_DICTIONARY, 0)))
        yield Page(fields.get(2, 0), values, dictionary)
        start += length + max(0, fields.get(3, 0))
        left -= 0 if dictionary else max(1, values)


def _header(file: BinaryIO, start: int, end: int) -> tuple[int, dict[int, int]]:
    """(its length, field -> its number or its first inner number) of the page header at `start`."""
    for size in _HEADER_BYTES:
        raw = os.pread(file.fileno(), min(size, end - start), start)
        try:
            return _struct(raw, 0, 0)
        except IndexError:  # statistics can hold values of any length
            if len(raw) < size:
                raise
    raise ValueError("a page header of more than 16 MB")


def _struct(raw: bytes, at: int, depth: int) -> tuple[int, dict[int, int]]:
    """(where it ends, field -> number, or of a struct the number of its field 1)."""
    if depth > _DEEPEST:
        raise ValueError("structs without end")
    found: dict[int, int] = {}
    field = 0
    while raw[at]:
        step, kind = raw[at] >> 4, raw[at] & 15
        at += 1
        if step:
            field += step
        else:
            at, field = _number(raw, at)
        if kind in (4, 5, 6):
            at, found[field] = _number(raw, at)
        elif kind == _STRUCT:
            at, inner = _struct(raw, at, depth + 1)
            found[field] = inner.get(1, 0)
        else:
            at = _skipped(raw, at, kind, depth)
    return at + 1, found


def _skipped(raw: bytes, at: int, kind: int, depth: int) -> int:
    """Where a value ends that nobody asks for."""
    if kind in _WIDTHS:
        at += _WIDTHS[kind]
    elif kind == _BINARY:
        at, size = _varint(raw, at)
        at += size
    elif kind in (4, 5, 6):
        at, _ = _varint(raw, at)
    elif kind == _STRUCT:
        at, _ = _struct(raw, at, depth + 1)
    elif kind in _LISTS:
        size, inner = raw[at] >> 4, raw[at] & 15
        at += 1
        if size == 15:
            at, size = _varint(raw, at)
        for _ in range(min(size, len(raw))):
            at = _skipped(raw, at, inner if inner > 2 else 3, depth + 1)
    else:
        raise ValueError(f"type {kind} in a page header")
    if at > len(raw):
        raise IndexError
    return at


def _number(raw: bytes, at: int) -> tuple[int, int]:
    at, value = _varint(raw, at)
    return at, (value >> 1) ^ -(value & 1)


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
        if byte < 128:
            return at, value
        if shift > 63:
            raise ValueError("a number of more than 64 bits in a page header")
