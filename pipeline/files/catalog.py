"""The files that a catalog is made of, whatever `catalog.path` is: Parquet files, folders of them, or a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import Protocol, cast

from foundation.errors import InputError
from pipeline.files.discover import Found, find_files
from pipeline.files.parts import PLAIN, Part
from pipeline.files.tables import hive


class Catalog(Protocol):
    """The keys of the section `catalog` that say where it is."""

    @property
    def path(self) -> str:
        """A file, a folder, a glob, or a table."""

    @property
    def table(self) -> str | None:
        """The kind of table that it is: a file of `tables/`; None: Parquet files."""

    @property
    def version(self) -> int | str | None:
        """The version of the table; None: the latest."""

    @property
    def parts(self) -> Mapping[str, Part] | None:
        """How files are read that are not plain, by path, as a plan found them; None before there is one."""


def find_catalog(catalog: Catalog) -> Found:
    """Its files and how each is read; InputError where there is none, or one that cannot be read."""
    if catalog.table is not None:
        of_table = import_module(f"{__package__}.tables.{catalog.table}")  # whose library is in an extra
        return cast(Found, of_table.find_files(catalog.path, catalog.version))
    if catalog.version is not None:
        raise InputError(
            "the kind of table that catalog.version is of",
            f"catalog.version={catalog.version}, and catalog.table is null",
            "set catalog.table to delta or iceberg, or leave out catalog.version",
        )
    found = find_files(catalog.path)
    return replace(found, parts=hive.parts_of(file.path for file in found.files))


def part_of(catalog: Catalog, path: str) -> Part:
    """How a file of the catalog is read: as the plan found it; before there is one, by its path alone."""
    if catalog.parts is None and catalog.table is not None:
        raise TypeError(f"{path} is of a table, and is not read before that is planned: see Plan.reading")
    return hive.part_of(path) if catalog.parts is None else catalog.parts.get(path, PLAIN)
