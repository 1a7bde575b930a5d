"""What a plan tells of the files of a catalog: which table, what was left out, what some of them lack."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from pipeline.catalog.columns import plain_type
from pipeline.catalog.price_columns import currency_column
from pipeline.catalog.schema import unmarked_columns
from pipeline.config.sections import CatalogConfig
from pipeline.files.catalog import part_of
from pipeline.files.discover import CatalogFile, Found, open_file
from pipeline.report.notices import Notice, notice

_LOOKED_AT = 16  # files, for what is mostly in all of them


def file_notices(found: Found, missing: Mapping[str, list[str]], settings: CatalogConfig) -> list[Notice]:
    """All of it; `missing` are columns in use -> the files that lack them."""
    files = list(found.files)
    told = [*_table(found), *_left_out(found), *_lacking(missing), *_unmarked(files, settings)]
    return [*told, *_lists(files, settings), *_prices(files, settings)]


def cleaned_notice(ids: int) -> list[Notice]:
    """How many ids are not kept as they are written."""
    told = f"{ids:,} ids have white space or invisible characters at their ends, or are not NFC: they are kept without"
    return [Notice(what="ids_cleaned", count=ids, told=told)] if ids else []


# --- inside ---


def _table(found: Found) -> list[Notice]:
    return [Notice(what="table_version", count=len(found.files), told=found.told)] if found.told else []


def _left_out(found: Found) -> list[Notice]:
    named = [f"{path}: {why}" for path, why in found.left_out]
    return notice("files_left_out", f"left out of the catalog, {len(named):,} that are no Parquet files:", named)


def _lacking(missing: Mapping[str, list[str]]) -> list[Notice]:
    named = [f"{column}: {path}" for column, paths in sorted(missing.items()) for path in paths]
    return notice("columns_missing", "columns that some files lack, null in all of their rows; column: file", named)


def _unmarked(files: list[CatalogFile], settings: CatalogConfig) -> list[Notice]:
    found: dict[str, int] = {}
    for file in files:
        with open_file(file.path, part=part_of(settings, file.path)) as opened:
            for name in unmarked_columns(opened.schema_arrow, settings, file.path):
                found[name] = found.get(name, 0) + 1
    named = [f"{name}: {count:,} files" for name, count in sorted(found.items())]
    return notice("columns_of_bytes", "columns of bytes (BINARY without the UTF8 mark), read as UTF-8 text:", named)


def _lists(files: list[CatalogFile], settings: CatalogConfig) -> list[Notice]:
    """Categories that are lists."""
    if settings.partition is None:
        return []
    name, found = settings.columns.get(settings.partition, settings.partition), 0
    for file in files:
        with open_file(file.path, part=part_of(settings, file.path)) as opened:
            column = opened.part.columns(opened.schema_arrow, [name]).get(name)
        found += column is not None and pa.types.is_list(plain_type(column.type))
    told = f"{name} is a list in {found:,} of {len(files):,} files: the first category of each row counts"
    return [Notice(what="categories_of_lists", count=found, told=told)] if found else []


def _prices(files: list[CatalogFile], settings: CatalogConfig) -> list[Notice]:
    """Attributes that are no declared prices, and have currencies beside them: a filter compares their bare numbers."""
    others = [name for name in settings.attributes if name not in settings.prices]
    written = {name: settings.columns.get(name, name) for one in others for name in (one, currency_column(one))}
    found = set[str]()
    for file in files[:_LOOKED_AT] if others else ():
        with open_file(file.path, part=part_of(settings, file.path)) as opened:
            known = opened.part.columns(opened.schema_arrow, {*written.values()})
        found |= {name for name in others if written[name] in known and written[currency_column(name)] in known}
    told = (
        "columns that have currencies beside them, which a filter does not see; if they are prices, set "
        f"catalog.prices=[{','.join([*settings.prices, *sorted(found)])}]:"
    )
    return notice("prices_undeclared", told, sorted(found))
