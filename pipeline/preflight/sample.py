"""A few hundred rows from all over the catalog, as values: what its columns really hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from foundation.errors import InputError, VitrineError
from foundation.machine import machine_fault
from pipeline.catalog import columns
from pipeline.catalog.categories import partition_names, renamed
from pipeline.catalog.names import names_of
from pipeline.catalog.pieces import first_rows
from pipeline.catalog.schema import as_meant, file_columns
from pipeline.config.sections import CatalogConfig
from pipeline.files.catalog import part_of
from pipeline.files.discover import PartFile, open_file
from pipeline.plan.units import Plan

_ROWS, _PLACES = 512, 8  # rows, and row groups they are from
_MOST_BYTES = 2**24  # of the rows of one row group


@dataclass(frozen=True)
class Rows:
    """The first rows of one row group: its columns by canonical name, as a run reads them from file and path."""

    path: str
    group: int
    table: pa.Table
    names: dict[str, str]


@dataclass(frozen=True)
class Sample:
    """Rows of up to 8 row groups, the same for the same catalog."""

    places: tuple[Rows, ...]
    settings: CatalogConfig
    of: int  # rows of the plan

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(place.table.num_rows for place in self.places)

    @property
    def whole(self) -> bool:
        """Whether it is every row that a run would read."""
        return self.rows == self.of

    def row_bytes(self) -> list[int]:
        """About how many bytes each row takes in the columns in use, as `catalog.max_row_bytes` counts them."""
        batches = [batch for place in self.places for batch in place.table.to_batches()]
        none = [np.zeros(batch.num_rows, np.int64) for batch in batches]
        sizes = [sum(map(columns.row_bytes, batch.columns), zero) for batch, zero in zip(batches, none, strict=True)]
        return [size for one in sizes for size in one.tolist()]

    def words(self, name: str) -> list[str | None]:
        """The strings of a column, row by row; None where there is none, or where the column is no text."""
        return [word for place in self.places for word in self._strings(place, name)[0].to_pylist()]

    def not_utf8(self, names: Iterable[str]) -> list[bool]:
        """Row by row, whether one of some columns has text that is not UTF-8."""
        found = [[self._strings(place, name)[1] for place in self.places] for name in names]
        return [any(row) for row in zip(*(pa.chunked_array(one, pa.bool_()).to_pylist() for one in found), strict=True)]

    @cached_property
    def photos(self) -> list[list[dict[str, Any]]]:
        """The photos of each row, dicts of `bytes` and `path`."""
        wanted = (self.settings.image, self.settings.more_images)
        found: list[list[dict[str, Any]]] = []
        for place in self.places:
            first, more = (self._plain(place, name) if name else None for name in wanted)
            lists = columns.photos_of(first, more, place.table.num_rows, self.settings.image_type == "base64")
            found += [one or [] for one in lists.to_pylist()]
        return found

    def paths_in_bytes(self, name: str) -> list[str]:
        """The paths among the values of a column of bytes."""
        plain = [self._plain(place, name) for place in self.places]
        given = [column.flatten() if pa.types.is_list(column.type) else column for column in plain]
        raw = [values for values in given if pa.types.is_binary(values.type)]
        return [path for values in raw for path in columns.paths_in(values).drop_null().to_pylist()]

    def other_columns(self) -> dict[str, list[str]]:
        """Strings of the columns of the first file that no key names: what might have been meant."""
        if not self.places:
            return {}
        place = self.places[0]
        with open_file(place.path, part=part_of(self.settings, place.path)) as file:
            fields = [field for field in file.schema_arrow if columns.is_text(field.type)]
            names = [field.name for field in fields if field.name not in place.names.values()]
            table = _first_rows(file, place.path, place.group, names, 64)
        return {
            name: [value for value in columns.strings(columns.plain(table.column(name)))[0].to_pylist() if value]
            for name in names
        }

    def _strings(self, place: Rows, name: str) -> tuple[pa.Array, pa.Array]:
        """(strings, mask of those that are not UTF-8) of a column; null where it is no text."""
        column = self._plain(place, name)
        if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
            column = pa.nulls(len(column), pa.string())
        return columns.strings(column)

    def _plain(self, place: Rows, name: str) -> pa.Array:
        return columns.plain(as_meant(place.table.column(place.names[name]), name, self.settings))


def sampled(plan: Plan, settings: CatalogConfig) -> Sample:
    """The sample of a plan: row groups drawn by a fixed seed, of each its first rows."""
    groups = list(dict.fromkeys((u.path, g) for u in plan.units for g in range(u.first_group, u.end_group)))
    drawn = np.random.default_rng(0).permutation(len(groups))[:_PLACES]
    chosen = [groups[number] for number in sorted(drawn.tolist())]
    categories = {unit.category for unit in plan.units} - {""}
    spellings = {name: called for unit in plan.units for name, called in unit.spellings.items()}
    places = []
    for path, group in chosen:
        with open_file(path, part=part_of(settings, path)) as file:
            names = file_columns(file.schema_arrow, settings, path)
            table = _first_rows(file, path, group, sorted({*names.values()}), _ROWS // len(chosen))
        places.append(Rows(path, group, _of_categories(table, names, settings, categories, spellings), names))
    return Sample(tuple(places), settings, plan.rows)


# --- inside ---


def _of_categories(
    table: pa.Table,
    names: dict[str, str],
    settings: CatalogConfig,
    categories: set[str],
    spellings: Mapping[str, str],
) -> pa.Table:
    """The rows of a category, where the run has one."""
    if not categories or settings.partition is None:
        return table
    column = table.column(names[settings.partition])
    values = names_of(as_meant(column, settings.partition, settings), settings.partition).values
    found = renamed(partition_names(values, settings), spellings)
    return table.filter(pa.compute.is_in(found, pa.array(sorted(categories))))


def _first_rows(file: PartFile, path: str, group: int, names: Sequence[str], rows: int) -> pa.Table:
    """The first `rows` of a row group, or as many as stay within some bytes; none where they are damaged."""
    try:
        return first_rows(path, file, group, names, rows, _MOST_BYTES)
    except InputError:  # a page that is too large is refused by the plan
        raise
    except VitrineError as err:
        if err.__cause__ is not None and machine_fault(err.__cause__) is not None:
            raise
        # damaged: the step that needs all of it says so, and what stands beside it is not lost
        return first_rows(path, file, group, names, 0, 0)
