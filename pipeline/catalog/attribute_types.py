"""The types of attributes: one kind over all files of a catalog, and over all nights."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from foundation.errors import InputError
from lookup.filters.prices import PRICE
from lookup.filters.values import common_type, sort_of, type_name, type_named
from pipeline.catalog import columns
from pipeline.catalog.pieces import has_values
from pipeline.catalog.schema import file_columns
from pipeline.config.sections import CatalogConfig
from pipeline.files.catalog import part_of
from pipeline.files.discover import open_file

Types = dict[str, pa.DataType]  # canonical name of an attribute -> its type in shards; null: no value at all

_NAMED = 3  # files that a message names


def attribute_types(schema: pa.Schema, path: str, settings: CatalogConfig) -> Types:
    """The types of the attributes of a file: as shards carry them, with or without values; null where the file has no
    such column.
    """
    types: Types = {}
    written = {name: settings.columns.get(name, name) for name in settings.attributes}
    known = part_of(settings, path).columns(schema, written.values())
    for name, own in written.items():
        column = known.get(own)
        kind = pa.null() if column is None else column.type
        if not pa.types.is_null(kind):
            kind = PRICE if name in settings.prices else columns.plain_type(columns.text_type(kind))
            kind = pa.float64() if name in settings.numbers and columns.is_text(kind) else kind
        types[name] = kind
    return types


def valued(path: str, name: str, settings: CatalogConfig, max_bytes: int) -> bool:
    """Whether the attribute `name` has a value in a file. One of nested values counts as if it had."""
    with open_file(path, part=part_of(settings, path)) as file:
        column = file_columns(file.schema_arrow, settings, path)[name]
        if column not in file.schema_arrow.names or pa.types.is_nested(file.schema_arrow.field(column).type):
            return True
        return has_values(path, file, column, max_bytes)


def one_type(types: Mapping[str, Types], settings: CatalogConfig, has_value: Callable[[str, str], bool]) -> Types:
    """The type of each attribute in all files, file -> types; InputError that names the files of those that differ. A
    file whose column is empty has no say: `has_value` tells of a file and an attribute, and is asked of one file of
    each type where that has a value.
    """
    common: Types = {}
    problems = []
    for name in settings.attributes:
        files: dict[pa.DataType, list[str]] = {}
        for path, of in types.items():
            files.setdefault(of[name], []).append(path)
        files.pop(pa.null(), None)
        joined = common_type([kind for kind, paths in files.items() if any(has_value(path, name) for path in paths)])
        if joined is None:
            full = {path: kind for kind, paths in files.items() for path in paths if has_value(path, name)}
            problems.append((name, _differing(name, full)))
        else:
            common[name] = joined
    if problems:
        names = [name for name, _ in problems]
        raise InputError(
            f"{', '.join(names)} of one kind in all files, or a filter on it could mean one of them only",
            "; ".join(told for _, told in problems),
            f"if these are prices, declare them: catalog.prices=[{','.join(names)}]; else write the column with one "
            "type in all files",
        )
    return common


def _differing(name: str, kinds: Mapping[str, pa.DataType]) -> str:
    """Which files have which kind: `price is text (string) in d.parquet, number (int64) in a.parquet and 3 more`."""
    files: dict[tuple[str, str], list[str]] = {}
    for path, kind in kinds.items():
        files.setdefault((sort_of(kind).value, type_name(kind)), []).append(path)
    return f"{name} is " + ", ".join(
        f"{sort} ({kind}) in {_listed(paths)}"
        for (sort, kind), paths in sorted(files.items(), key=lambda one: len(one[1]))
    )


def _listed(paths: list[str]) -> str:
    more = len(paths) - _NAMED
    return " and ".join([", ".join(paths[:_NAMED]), *([f"{more:,} more"] if more > 0 else [])])


def without_values(metadata: pq.FileMetaData) -> set[str]:
    """The columns of a shard that have nothing but nulls, as its footer says; `struct.field` for one in a struct.

    Only for files of the store, whose bytes were compared with their digest: see `footers`.
    """
    nulls: dict[str, int] = {}
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for column in map(group.column, range(group.num_columns)):
            known = column.is_stats_set and column.statistics.has_null_count
            count = column.statistics.null_count if known else 0
            nulls[column.path_in_schema] = nulls.get(column.path_in_schema, 0) + count
    return {name for name, count in nulls.items() if count == metadata.num_rows}


def named(types: Mapping[str, pa.DataType]) -> dict[str, str]:
    """The types as a manifest has them."""
    return {name: type_name(kind) for name, kind in types.items()}


def joined(mine: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, str | None]:
    """The types of a snapshot's attributes, as a manifest has them, with those of another: None where they do not
    compare.
    """
    both = {name: [type_named(of[name]) for of in (theirs, mine) if name in of] for name in mine}
    types = {name: common_type(kinds) for name, kinds in both.items()}
    return {name: None if kind is None else type_name(kind) for name, kind in types.items()}


def changed(mine: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Name -> (type there, type here) of the attributes that do not compare with those of another snapshot."""
    return {name: (theirs[name], mine[name]) for name, kind in joined(mine, theirs).items() if kind is None}
