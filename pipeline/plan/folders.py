"""Columns that stand in the names of folders, as `category=Shoes`: told, and where a file says otherwise, that too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.catalog import columns
from pipeline.catalog.pieces import first_rows
from pipeline.catalog.schema import as_meant, file_columns
from pipeline.config.sections import CatalogConfig
from pipeline.files.catalog import part_of
from pipeline.files.discover import CatalogFile, open_file
from pipeline.files.tables.hive import path_values
from pipeline.report.notices import Notice, notice

_ROWS = 512  # of a file that are compared with its folder
_MOST_BYTES = 2**24  # of these rows


def path_notices(files: Iterable[CatalogFile], settings: CatalogConfig) -> list[Notice]:
    """Columns in use that the path of a file has and the file has not; and those that both have, and differ in."""
    found: Counter[str] = Counter()
    differing: list[str] = []
    for file in files:
        known = path_values(file.path)
        if not known:
            continue
        with open_file(file.path, part=part_of(settings, file.path)) as opened:
            names = file_columns(opened.schema_arrow, settings, file.path)
            found.update({*names.values()} & {*known} - {*opened.schema_arrow.names})
            differing += _differing(opened, file.path, names, settings)
    named = [f"{name}: {count:,} files" for name, count in sorted(found.items())]
    told = "columns that stand in the file and in its folder, and differ: what the file says counts; column: file"
    return [
        *notice("columns_from_path", "columns read from folders like `name=value`:", named),
        *notice("columns_unlike_path", told, differing),
    ]


# --- inside ---


def _differing(file: pq.ParquetFile, path: str, names: dict[str, str], settings: CatalogConfig) -> Iterator[str]:
    """The columns of a file whose first rows have another value than its folder."""
    known = path_values(path)
    both = {column: name for name, column in names.items() if column in known and column in file.schema_arrow.names}
    if not both or not file.num_row_groups:
        return
    table = first_rows(path, file, 0, sorted(both), _ROWS, _MOST_BYTES)
    for column, name in sorted(both.items()):
        values = columns.plain(as_meant(table.column(column), name, settings))
        if pa.types.is_nested(values.type) or pa.types.is_binary(values.type):
            continue
        others = [one for one in _texts(values) if not _same(one, known[column])]
        if others:
            yield f"{column}: {path} has {others[0]!r} in its first rows, and the folder {known[column]!r}"


def _texts(values: pa.Array) -> list[str | None]:
    """Distinct `values` as folders write them."""
    texts: list[str | None] = columns.strings(values)[0].unique().to_pylist()
    return texts


def _same(one: str | None, other: str | None) -> bool:
    """Whether they are the same value; numbers may be written in several ways, as 01 and 1."""
    if one == other or one is None or other is None:
        return one == other
    try:
        return float(one) == float(other)
    except ValueError:
        return False
