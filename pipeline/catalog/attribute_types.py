"""The types of attributes: one kind over all files of a catalog, and over all nights."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from encoders.errors import InputError
from lookup.prices import PRICE
from lookup.values import common_type, sort_of, type_name, type_named
from pipeline.catalog import columns
from pipeline.catalog.schema import path_values
from pipeline.config_sections import CatalogConfig

Types = dict[str, pa.DataType]  # canonical name of an attribute -> its type in shards; null: no value at all

_NAMED = 3  # files that a message names


def attribute_types(file: pq.ParquetFile, path: str, names: Mapping[str, str], settings: CatalogConfig) -> Types:
    """The types of the attributes of an open file, whose columns are `names`: as shards carry them."""
    empty = without_values(file.metadata)
    types: Types = {}
    for name in settings.attributes:
        column = names.get(name)
        kind = pa.null() if column is None or column in empty else _type_of(file.schema_arrow, column, path)
        if not pa.types.is_null(kind):
            kind = PRICE if name in settings.prices else columns.plain_type(columns.text_type(kind))
        types[name] = kind
    return types


def _type_of(schema: pa.Schema, column: str, path: str) -> pa.DataType:
    """The type of a column of a file, or of its path; null where neither has it."""
    if column in schema.names:
        return schema.field(column).type
    return pa.null() if path_values(path).get(column) is None else pa.string()


def one_type(types: Mapping[str, Types], settings: CatalogConfig) -> Types:
    """The type of each attribute in all files, file -> types; InputError that names the files of those that differ."""
    common: Types = {}
    problems = []
    for name in settings.attributes:
        kinds = {path: of[name] for path, of in types.items()}
        joined = common_type(list(dict.fromkeys(kinds.values())))
        if joined is None:
            problems.append((name, _differing(name, kinds)))
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
        if not pa.types.is_null(kind):
            files.setdefault((sort_of(kind).value, type_name(kind)), []).append(path)
    return f"{name} is " + ", ".join(
        f"{sort} ({kind}) in {_listed(paths)}"
        for (sort, kind), paths in sorted(files.items(), key=lambda one: len(one[1]))
    )


def _listed(paths: list[str]) -> str:
    more = len(paths) - _NAMED
    return " and ".join([", ".join(paths[:_NAMED]), *([f"{more:,} more"] if more > 0 else [])])


def without_values(metadata: pq.FileMetaData) -> set[str]:
    """The columns of a file that have nothing but nulls, as its footer says; `struct.field` for one in a struct."""
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
