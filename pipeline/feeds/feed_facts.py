"""What an import learns of a feed while its rows pass: which columns have values, where photos lie, how categories are
written. A config that fits is made of it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

_SEPARATORS = (">", "»", "›", " / ", "/", "|", "\\")  # the first that enough categories have
_ENOUGH = 0.1  # of the categories
_MOST_VALUES = 100_000  # different categories that are remembered
_HOST = r"^(?P<scheme>(?i:https?)://)(?:[^/?#@]*@)?(?P<host>[^/?#@\s]+)"  # with a port, where one is said
_MOST_HOSTS = 1_000
_SOME_PATHS = 20
_NUMBERED = ("id", "gtin", "item_group_id")
_CUT = r"^[0-9](?:[.,][0-9]+)?E\+[0-9]{1,2}$"  # as spreadsheets write long numbers
PHOTOS = ("image_link", "additional_image_link")


@dataclass
class FeedFacts:
    """Counts over all rows so far."""

    rows: int = 0
    values: Counter[str] = field(default_factory=Counter)  # of each column
    hosts: Counter[str] = field(default_factory=Counter)  # of photos by URL, as catalog.photo_hosts names them
    paths: list[str] = field(default_factory=list)  # the first photos that are no URL
    categories: Counter[str] = field(default_factory=Counter)
    cut: dict[str, tuple[int, str]] = field(default_factory=dict)  # column -> numbers that lost digits, and one of them

    def add(self, batch: pa.RecordBatch) -> None:
        """Count some rows more."""
        self.rows += batch.num_rows
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            self.values[name] += len(column) - column.null_count
        for name in _NUMBERED:
            if name in batch.schema.names:
                self._look_for_cut(name, batch.column(name))
        for name in PHOTOS:
            if name in batch.schema.names:
                self._add_photos(batch.column(name))
        if "product_type" in batch.schema.names and len(self.categories) < _MOST_VALUES:
            counted = batch.column("product_type").drop_null().value_counts()
            for one in counted.to_pylist():
                self.categories[one["values"]] += one["counts"]

    def separator(self) -> str | None:
        """What stands between the levels of a category; None where they have one level."""
        total = self.categories.total()
        for one in _SEPARATORS:
            if sum(count for value, count in self.categories.items() if one in value.strip()) > _ENOUGH * total:
                return one
        return None

    def first_levels(self) -> frozenset[str]:
        """The first levels of categories."""
        separator = self.separator()
        return frozenset(value.split(separator)[0].strip() if separator else value.strip() for value in self.categories)

    def _look_for_cut(self, name: str, column: pa.Array) -> None:
        if not pa.types.is_string(column.type):
            return
        found = column.filter(pc.match_substring_regex(column, _CUT))
        if len(found):
            count, example = self.cut.get(name, (0, found[0].as_py()))
            self.cut[name] = count + len(found), example

    def _add_photos(self, column: pa.Array) -> None:
        links = column.flatten() if pa.types.is_list(column.type) else column
        parts = pc.extract_regex(links, _HOST)
        hosts = pc.binary_join_element_wise(pc.struct_field(parts, "scheme"), pc.struct_field(parts, "host"), "")
        for one in pc.utf8_lower(hosts.drop_null()).value_counts().to_pylist():
            rule = one["values"].removeprefix("https://")
            if rule in self.hosts or len(self.hosts) < _MOST_HOSTS:
                self.hosts[rule] += one["counts"]
        if len(self.paths) < _SOME_PATHS:
            plain = links.filter(pc.and_(pc.is_valid(links), pc.is_null(hosts)))
            self.paths += plain[: _SOME_PATHS - len(self.paths)].to_pylist()
