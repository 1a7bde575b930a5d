"""Row groups decoded a piece at a time, within the bytes that a worker may hold.

Nothing is believed before it is measured: pages by their headers (pages.py), so that none is decompressed that is too
large; text as dictionaries, which a file has once and a row may have a thousand times, so that it is counted before it
is spelled out.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from foundation.errors import InputError, VitrineError
from foundation.liveness import beat
from foundation.machine import machine_fault
from pipeline.catalog import columns
from pipeline.files.discover import UNREADABLE, PartFile, bytes_of, first_line, open_file
from pipeline.files.footers import Chunks, Leaf, chunks_of
from pipeline.files.pages import DamagedPageError, Page, pages_of
from pipeline.files.parts import PLAIN, Part, Positions, stored

# Rows of a unit at most. A larger row group is cut into pieces of so many, and each costs decoding what stands before
# it: pieces of half the size would cost twice the decoding, of twice the size twice the memory.
PIECE_ROWS = 32_768
_BATCH_ROWS = 4_096  # decoded at a time, where so many cannot be too much
MOST_BYTES = 2**30  # whatever is allowed: Arrow's strings end at 2 GB, and cleaning can make text longer
_PAGE_BYTES = 2**24  # of a page that is never too large, however little a unit may have
_SHARE = 4  # of what a unit may have is decoded at a time
_LEVEL_BYTES = 16  # of a value of a list while it is decoded, null or not: levels, offset, validity
_KEPT_BYTES = 1_024  # of a value that stays in a row that is too large: ids and categories have fewer


class Bounds(NamedTuple):
    """Bytes at most of the columns in use, once decoded: of a row, and of a unit. A larger row is a reject, a larger
    unit an error.
    """

    row: int
    unit: int


class Decoded(NamedTuple):
    """Some columns of those of PIECE_ROWS rows at most that are not deleted, where these stand, and which were too
    large: of these only short values are left.
    """

    table: pa.Table
    too_large: pa.Array  # int64: the bytes of such a row; null for the others
    at: pa.Array  # int32: the number of each row, counted from the first of the row groups, deleted rows included
    span: int = 0  # rows, deleted ones included


def unit_rows(
    path: str, file: PartFile, groups: Sequence[int], first_row: int, names: Sequence[str], bounds: Bounds
) -> Decoded:
    """Some columns of a unit: at most PIECE_ROWS rows of `groups` from `first_row` on."""
    pieces = pieces_of(path, file, chunks_of(path, file.metadata, groups, names), names, bounds)
    found = next(itertools.islice(pieces, first_row // PIECE_ROWS, None), None)
    if found is None:
        return Decoded(_empty(file, names), pa.array([], pa.int64()), pa.array([], pa.int32()))
    return found


def pieces_of(
    path: str, file: PartFile, groups: Sequence[Chunks], names: Sequence[str], bounds: Bounds
) -> Iterator[Decoded]:
    """The columns `names` of some row groups, PIECE_ROWS rows at a time; the last has the rest. One piece is held."""
    limit, gone = min(bounds.unit, MOST_BYTES), _deleted(file, groups)
    held: list[Decoded] = []
    first, span, size = 0, 0, 0
    for batch in _batches(path, file, groups, names, limit):
        start = 0
        while start < batch.num_rows:
            end = min(batch.num_rows, start + PIECE_ROWS - span)
            at, rows = _live(batch.slice(start, end - start), first + span, gone)
            sizes, span, start = _row_bytes(rows), span + end - start, end
            too_large = sizes > bounds.row
            size += int(sizes[~too_large].sum())
            if size > limit:
                raise _too_much(path, groups, (first, first + span - 1), size, limit)
            table = pa.Table.from_batches([_spelled_out(rows, too_large)])
            held.append(Decoded(table, pa.array(sizes, mask=~too_large), at, 0))
            if span == PIECE_ROWS:
                yield joined(held)._replace(span=span)
                held, first, span, size = [], first + PIECE_ROWS, 0, 0
    if held:
        yield joined(held)._replace(span=span)


def joined(several: Sequence[Decoded]) -> Decoded:
    """Some rows, and after them others of the same row groups."""
    tables, masks, places = ([one[number] for one in several] for number in range(3))
    return Decoded(pa.concat_tables(tables), pa.concat_arrays(masks), pa.concat_arrays(places), 0)


def refuse_pages(path: str, groups: Iterable[Chunks], max_bytes: int) -> None:
    """InputError for a page of some columns that is too large to be decoded."""
    for group in groups:
        with contextlib.suppress(DamagedPageError):  # the unit that meets it says so
            _rows_at_once(path, group, min(max_bytes, MOST_BYTES))


def has_values(path: str, file: PartFile, name: str, max_bytes: int) -> bool:
    """Whether a column has any value; decoded up to the first one, since footers may say otherwise."""
    groups = chunks_of(path, file.metadata, range(file.num_row_groups), [name])
    gone, first = _deleted(file, groups), 0
    for batch in _batches(path, file, groups, [name], min(max_bytes, MOST_BYTES)):
        _, rows = _live(batch, first, gone)
        if rows.column(0).null_count < rows.num_rows:
            return True
        first += batch.num_rows
    return False


def _too_much(path: str, groups: Sequence[Chunks], rows: tuple[int, int], size: int, limit: int) -> InputError:
    return InputError(
        f"at most {limit:,} bytes in the columns used by {PIECE_ROWS:,} rows, because a worker holds them",
        f"{path}: rows {rows[0]:,} to {rows[1]:,} of {_named(groups)} have {size:,} bytes once decoded",
        "write the catalog with smaller row groups (row_group_size=...), lower catalog.max_row_bytes, which makes "
        f"rejects of large rows, or raise shards.max_unit_bytes, of which {MOST_BYTES:,} count",
    )


def picked(path: str, file: PartFile, group: int, names: Sequence[str], rows: Sequence[int], bounds: Bounds) -> Decoded:
    """Some columns of the rising `rows` of a row group; the others are decoded a few at a time and dropped."""
    found: list[Decoded] = []
    start, at = 0, np.asarray(rows, dtype=np.int64)
    for batch in _batches(path, file, chunks_of(path, file.metadata, [group], names), names, bounds.unit):
        inside = at[(at >= start) & (at < start + batch.num_rows)] - start
        start += batch.num_rows
        if len(inside):
            chosen = batch.take(pa.array(inside))
            sizes = _row_bytes(chosen)
            table = pa.Table.from_batches([_spelled_out(chosen, sizes > bounds.row)])
            numbers = pa.array(inside + (start - batch.num_rows), pa.int32())
            found.append(Decoded(table, pa.array(sizes, mask=sizes <= bounds.row), numbers, 0))
        if start > rows[-1]:
            break
    return joined(found)


def first_rows(path: str, file: PartFile, group: int, names: Sequence[str], rows: int, most: int) -> pa.Table:
    """The first `rows` of a row group, or as many as have at most `most` bytes; nothing is decoded for none."""
    held: list[pa.RecordBatch] = []
    left, chunks, first = rows, chunks_of(path, file.metadata, [group], names), 0
    gone = _deleted(file, chunks)
    for read in () if not rows else _batches(path, file, chunks, names, most):
        _, batch = _live(read, first, gone)
        first += read.num_rows
        sizes = np.cumsum(_row_bytes(batch.slice(0, left)))
        fits = int(np.searchsorted(sizes, most, side="right"))
        held.append(_spelled_out(batch.slice(0, fits), np.zeros(fits, np.bool_)))
        most, left = most - int(sizes[fits - 1] if fits else 0), left - fits
        if not left or fits < batch.num_rows:
            break
    return pa.Table.from_batches(held) if held else _empty(file, names)


# --- inside ---


def _deleted(file: PartFile, groups: Sequence[Chunks]) -> Positions:
    """Numbers of the deleted rows of some row groups, counted from the first of them."""
    found, start = [np.empty(0, np.int64)], 0
    for group in groups if file.part.deleted else ():
        found.append(file.part.deleted_in(file.metadata, group.number) + start)
        start += group.rows
    return np.concatenate(found)


def _live(batch: pa.RecordBatch, first: int, gone: Positions) -> tuple[pa.Array, pa.RecordBatch]:
    """(int32 numbers, rows) of those of `batch`, which begins at the row `first`, that are not `gone`."""
    at = np.arange(first, first + batch.num_rows, dtype=np.int32)
    low, high = np.searchsorted(gone, [first, first + batch.num_rows])
    if low == high:
        return pa.array(at), batch
    at = np.delete(at, gone[low:high] - first)
    return pa.array(at), batch.take(pa.array(at - first))


def _row_bytes(batch: pa.RecordBatch) -> columns.Sizes:
    return sum((columns.row_bytes(column) for column in batch.columns), np.zeros(batch.num_rows, np.int64))


def _spelled_out(batch: pa.RecordBatch, too_large: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> pa.RecordBatch:
    """`batch` without dictionaries, and without long values in the rows that are too large."""
    arrays = list(batch.columns)
    if too_large.any():
        for place, array in enumerate(arrays):
            keep = ~(too_large & (columns.row_bytes(array) > _KEPT_BYTES))
            rows = pa.array(np.where(keep, np.arange(len(array)), 0), pa.int64(), mask=~keep)
            arrays[place] = array.take(rows)
    arrays = [columns.spelled_out(array) for array in arrays]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _batches(
    path: str, file: PartFile, groups: Sequence[Chunks], names: Sequence[str], limit: int
) -> Iterator[pa.RecordBatch]:
    """Some columns of some row groups, decoded as they are asked for; VitrineError when the bytes cannot be read."""
    present = _present(file, names)
    try:
        for group in groups:
            rows = _rows_at_once(path, group, limit)
            texts = [leaf.schema.path for leaf, chunk in group.pairs if _stays_dictionary(leaf.schema, chunk)]
            with open_file(path, file.metadata, texts) as decoder:
                for batch in decoder.iter_batches(rows, row_groups=[group.number], columns=present, use_threads=False):
                    beat()
                    yield _completed(file.part, batch, names)
    except UNREADABLE as err:
        raise (
            machine_fault(err)
            or _null_lists(path, file.schema_arrow, present, err)
            or VitrineError(
                f"{_named(groups)} of {path} to be readable",
                first_line(err),
                "write this catalog file again; nothing was published, and the next run goes on from here",
            )
        ) from err


def _null_lists(path: str, schema: pa.Schema, names: Sequence[str], err: Exception) -> InputError | None:
    """The error for lists of a fixed size of which some are null: Parquet keeps no items of these, and Arrow's reader
    wants as many of each. None where `err` says something else; without nulls such lists can be read.
    """
    fixed = [name for name in names if name in schema.names and pa.types.is_fixed_size_list(schema.field(name).type)]
    if not fixed or not str(err).startswith("Expected all lists to be of size"):
        return None
    named = ", ".join(fixed)
    return InputError(
        f"lists that can be read, in {named}: of a fixed size without null rows, or of variable size",
        f"{path}: {first_line(err)}",
        f"write {named} as a list of variable size, as in pyarrow.list_(pyarrow.string())",
    )


def _named(groups: Sequence[Chunks]) -> str:
    return f"row groups {groups[0].number} to {groups[-1].number}"


def _completed(part: Part, batch: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    """A batch with the columns that its file lacks: of its path or its table, or null."""
    arrays = [_column(part, batch, name) for name in names]
    return pa.RecordBatch.from_arrays(arrays, names=list(names))


def _column(part: Part, batch: pa.RecordBatch, name: str) -> pa.Array:
    if name in batch.schema.names:
        return stored(batch.column(name))
    if "." in name and name in PLAIN.columns(batch.schema, [name]):
        top, *path = name.split(".")
        return stored(pc.struct_field(batch.column(top), path))
    value = part.constant(name)
    return pa.nulls(batch.num_rows) if value is None else pa.repeat(value, batch.num_rows)


def _present(file: PartFile, names: Sequence[str]) -> list[str]:
    """Those of `names` that the file has, as a column or as a field of one that is a struct."""
    schema = file.schema_arrow
    inner = {name for name in names if "." in name and name in PLAIN.columns(schema, [name])}
    return [name for name in names if name in schema.names or name in inner]


def _empty(file: PartFile, names: Sequence[str]) -> pa.Table:
    present = [name for name in _present(file, names) if name in file.schema_arrow.names]
    return pa.Table.from_batches(
        [_completed(file.part, batch, names) for batch in file.schema_arrow.empty_table().select(present).to_batches()]
        or [_completed(file.part, pa.RecordBatch.from_pylist([], schema=file.schema_arrow), names)]
    )


def _rows_at_once(path: str, group: Chunks, limit: int) -> int:
    """How many rows of a row group can be decoded together, all columns counted; InputError for a page that is too
    large by itself.
    """
    chunks: list[tuple[Sequence[Page], pq.ColumnChunkMetaData, pq.ColumnSchema]] = []
    with bytes_of(path) as raw:
        for leaf, chunk in group.pairs:
            if raw is not None:
                pages = list(pages_of(raw, path, chunk))
            else:  # headers of objects in a bucket would cost a request each: their footers are believed
                pages = [Page(chunk.total_uncompressed_size // max(1, group.rows // _BATCH_ROWS), 1, False)]
            _refuse_large(path, pages, chunk, leaf, limit)
            chunks.append((pages, chunk, leaf.schema))
    # A page of each column is held whatever is asked for: many columns of few bytes are not decoded row by row.
    room = max(limit // _SHARE, 2 * sum(max((page.size for page in pages), default=0) for pages, *_ in chunks))
    rows = _BATCH_ROWS
    while rows > 1 and sum(_bytes_within(*one, group.rows, rows) for one in chunks) > room:
        rows //= 2
    return rows


def _refuse_large(path: str, pages: Sequence[Page], chunk: pq.ColumnChunkMetaData, leaf: Leaf, limit: int) -> None:
    """InputError for a page that takes too much before the first of its values can be had."""
    level = _LEVEL_BYTES if leaf.schema.max_repetition_level else 0  # a page of nulls in lists is a few bytes long
    worst = max((max(page.size, level * page.values) for page in pages), default=0)
    if worst > max(limit, _PAGE_BYTES):
        raise InputError(
            f"pages of at most {max(limit, _PAGE_BYTES):,} bytes once decoded, because a worker holds them",
            f"{path}: one of column {chunk.path_in_schema} that takes {worst:,}",
            "write the catalog with smaller pages or row groups, or raise shards.max_unit_bytes",
        )


def _bytes_within(
    pages: Sequence[Page], chunk: pq.ColumnChunkMetaData, column: pq.ColumnSchema, rows: int, count: int
) -> int:
    """The most that `count` of the `rows` of a column can take while they are decoded, whatever is in its pages; 0 for
    numbers.

    Dictionaries are not spelled out here. But a value of DELTA_BYTE_ARRAY may repeat all of its page before it (no
    more: prefixes begin anew with each page), one of a fixed length may stand in the file once, and some pages have
    larger values than others.
    """
    if column.physical_type == "FIXED_LEN_BYTE_ARRAY":
        fixed: int = column.length * chunk.num_values // max(1, rows)
        return count * max(1, fixed)
    if column.physical_type != "BYTE_ARRAY":
        return 0
    data = [page for page in pages if not page.dictionary]
    each: int = count * max(1, chunk.num_values // max(1, rows))
    if "DELTA_BYTE_ARRAY" in chunk.encodings or (_is_delta(chunk) and len(data) < len(pages)):
        return each * max((page.size for page in pages), default=0)
    return _widest(data, each)


def _widest(pages: Sequence[Page], count: int) -> int:
    """The most bytes that pages have together on which `count` values in a row can lie."""
    ends = np.cumsum([page.values for page in pages], dtype=np.int64)
    sizes = np.cumsum([0, *(page.size for page in pages)], dtype=np.int64)
    last = np.minimum(np.searchsorted(ends, ends + count - 1, side="left") + 1, len(pages))
    each: list[int] = (sizes[last] - sizes[:-1]).tolist()
    return max(each, default=0)


def _stays_dictionary(column: pq.ColumnSchema, chunk: pq.ColumnChunkMetaData) -> bool:
    """Whether a column can be decoded without spelling its dictionary out; Arrow cannot where pages are delta-coded."""
    is_text = column.physical_type == "BYTE_ARRAY" and column.logical_type.type != "DECIMAL"
    return is_text and not _is_delta(chunk)


def _is_delta(chunk: pq.ColumnChunkMetaData) -> bool:
    return any(one.startswith("DELTA") for one in chunk.encodings)
