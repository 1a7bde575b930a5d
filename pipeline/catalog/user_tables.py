"""Small tables that a user gives beside the catalog, queries and judgments: read as carefully, and whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from foundation.errors import InputError, VitrineError
from foundation.machine import machine_fault
from pipeline.catalog import columns
from pipeline.catalog.pieces import Bounds, pieces_of
from pipeline.files.discover import open_file
from pipeline.files.footers import chunks_of

_MOST_BYTES = 2**28  # of the columns in use, once decoded
_MOST_ROWS = 5_000_000


def user_table(path: Path, option: str, wanted: Sequence[str]) -> tuple[pa.Table, list[str]]:
    """(those of the columns `wanted` that the file `option` has, without dictionaries, bytes as text; the names of all
    of its columns). InputError where it cannot be read, or has more rows or bytes than a table of queries may.
    """
    try:
        with open_file(str(path)) as file:
            names = file.schema_arrow.names
            twice = sorted({name for name in wanted if names.count(name) > 1})
            if twice:
                raise InputError("each column once", f"{path} with {', '.join(twice)} twice", "rename the columns")
            present = [name for name in wanted if name in names]
            if file.metadata.num_rows > _MOST_ROWS:
                raise _too_large(path, option, f"{file.metadata.num_rows:,} rows")
            tables, size = [file.schema_arrow.empty_table().select(present)], 0
            groups = chunks_of(str(path), file.metadata, range(file.num_row_groups), present)
            for piece in pieces_of(str(path), file, groups, present, Bounds(_MOST_BYTES, _MOST_BYTES)):
                size += sum(int(columns.row_bytes(chunk).sum()) for one in piece.table.columns for chunk in one.chunks)
                if size > _MOST_BYTES or piece.too_large.null_count < len(piece.too_large):
                    raise _too_large(path, option, "more bytes")
                tables.append(piece.table)
    except VitrineError as err:
        raise _with_option(err, path, option) from err
    except (OSError, ValueError) as err:  # ArrowInvalid is a ValueError
        raise machine_fault(err) or InputError("a Parquet file", f"{path}: {err}", f"correct {option}") from err
    plain = {name: _text_of([one.column(name) for one in tables], name, path) for name in present}
    return pa.table(plain), names


# --- inside ---


def _text_of(parts: Sequence[pa.ChunkedArray], name: str, path: Path) -> pa.ChunkedArray:
    """The parts of a column together, bytes as text but for photos; InputError for text that is not UTF-8."""
    texts = [pa.chunked_array([columns.plain(one)]) for one in parts]
    if name != "image":
        texts = [columns.as_text(one) for one in texts]
    for one in texts:
        if pa.types.is_string(one.type) and pc.any(columns.strings(columns.plain(one))[1]).as_py():
            raise InputError(f"{name} in UTF-8", f"other bytes in {path}", "write the file again with UTF-8 text")
    return pa.chunked_array([chunk for one in texts for chunk in one.chunks], texts[0].type)


def _too_large(path: Path, option: str, came: str) -> InputError:
    return InputError(
        f"at most {_MOST_ROWS:,} rows and {_MOST_BYTES:,} bytes of text for {option}, because all of it is held",
        f"{path} with {came}",
        f"give {option} in several smaller files, one after another",
    )


def _with_option(err: VitrineError, path: Path, option: str) -> VitrineError:
    """An error of the catalog's reader, as it is for this file."""
    cause = err.__cause__
    if isinstance(cause, Exception) and machine_fault(cause) is not None:
        return err
    if "once decoded" in err.expected or "once decoded" in err.came:
        return _too_large(path, option, "more bytes")
    return (
        err
        if isinstance(err, InputError) and cause is None
        else InputError(
            "a Parquet file", err.came if str(path) in err.came else f"{path}: {err.came}", f"correct {option}"
        )
    )
