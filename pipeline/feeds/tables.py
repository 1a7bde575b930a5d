"""What Parquet and Arrow feeds have in common: typed columns as a map takes them, and files that are read at will."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from foundation.errors import InputError
from pipeline.feeds.syntax.base import Opened, RawRows, unique_names

UNREADABLE = (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, UnicodeDecodeError)


def table_rows(name: str, batches: Iterator[pa.RecordBatch]) -> Iterator[RawRows]:
    """The rows of a table; InputError where it cannot be read on."""
    row = 1
    while True:
        try:
            batch = next(batches, None)
            if batch is not None:
                batch.validate(full=True)  # a page without a checksum may hold anything
        except UNREADABLE as err:
            raise unreadable(name, err) from err
        if batch is None:
            return
        columns = [_plain(name, field.name, batch.column(at)) for at, field in enumerate(batch.schema)]
        yield RawRows(pa.record_batch(columns, unique_names(batch.schema.names)), _from(row))
        row += batch.num_rows


def at_will(file: Opened, holder: object) -> Any:
    """The file for those who jump in it: its path where it lies on this machine, else a copy, which is gone with
    `holder`.
    """
    if file.local_path is not None:
        return file.local_path
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - closed with its holder
    weakref.finalize(holder, copy.close)
    with file.open() as stream:
        shutil.copyfileobj(stream, copy)
    copy.seek(0)
    return copy


def unreadable(name: str, err: BaseException) -> InputError:
    """The error of a table that Arrow cannot read."""
    said = (str(err).splitlines() or [type(err).__name__])[0]
    return InputError("a table that is whole", f"{name}: {said}", "export the file again; nothing was written")


# --- inside ---


def _from(start: int) -> Callable[[int], tuple[int, int | None]]:
    return lambda row: (start + row, None)


def _plain(name: str, column: str, values: pa.Array) -> pa.Array:
    """Without dictionaries, views and wide offsets; bytes as the texts that they are."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return _plain(name, column, values.dictionary_decode())
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return values.cast(pa.string())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        try:
            return values.cast(pa.binary()).cast(pa.string())
        except pa.ArrowInvalid as err:
            fix = "leave the column out; a catalog of photos as bytes is Parquet already: name it as catalog.path"
            raise InputError(f"texts and numbers in {column}", f"{name}: bytes that are no text", fix) from err
    if pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind):
        return values.cast(pa.list_(kind.value_type))
    return values
