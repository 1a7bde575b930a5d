"""An import from its top: find the feed, recognise it, read, map, write, report. Memory holds a few megabytes of it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import pyarrow as pa

from foundation.disk import replace_file
from foundation.errors import InputError
from lookup.filters.prices import parse_price
from pipeline.engine.progress import Progress
from pipeline.feeds.catalog_file import PRODUCTS, CatalogFile, writing
from pipeline.feeds.destination import refuse_destination, refuse_own_catalog
from pipeline.feeds.feed_facts import FeedFacts
from pipeline.feeds.grouping import Grouping
from pipeline.feeds.import_report import (
    BAD_ROW,
    MISSING_ID,
    REPORT,
    ColumnReport,
    Example,
    ImportReport,
    Tally,
)
from pipeline.feeds.mapping import CatalogMapping, MapOptions
from pipeline.feeds.recognise import AUTO, Recognised, recognise
from pipeline.feeds.shop_config import write_config
from pipeline.feeds.source import FeedFile, find_feed, folders_in
from pipeline.feeds.syntax.base import BadRow, FeedSyntax, RawRows, ReadOptions

METADATA = b"vitrine.import"  # in the footer: what the file was made of
_STEP = "import"  # of the progress
_LEAST_BAD = 10  # bad rows from which on a feed that has more of them than of good ones is refused


@dataclass(frozen=True)
class ImportRequest:
    """What to import, and whereto. Without a folder nothing is written; `sample` rows of each file are enough."""

    source: str
    folder: Path | None
    map: str = AUTO
    reading: ReadOptions = field(default_factory=ReadOptions)
    values: MapOptions = field(default_factory=MapOptions)
    sample: int | None = None
    store: str | None = None  # that the config names
    photos: bool = False  # whether it takes photos by URL


def import_feed(request: ImportRequest, progress: Progress) -> ImportReport:
    """Make a catalog of a feed: `products.parquet`, the report beside it, and a config that fits. InputError where the
    feed cannot be read or has no item; then what was in the folder before stays.
    """
    began = time.monotonic()
    if request.folder is not None:
        refuse_destination(request.folder, request.source, request.store)
    files = find_feed(request.source)
    if request.folder is not None:
        refuse_own_catalog(request.folder, files)
    feed = recognise(files, request.map, request.reading)
    mapping = CatalogMapping(feed.map, feed.columns, feed.open_ended, request.values)
    importing = _Import(request, feed, mapping, files, progress)
    rows = importing.rows()
    before = list(_up_to_items(rows))  # the first items tell the decimal mark
    mapping.look_at(before[-1].batch if before else pa.record_batch([], []))
    rows = chain(before, rows)
    schema = mapping.schema.with_metadata({METADATA: importing.described()})
    folder = request.folder
    with nullcontext() if folder is None else writing(folder, schema) as file:
        for raw in rows:
            importing.take(raw, file)
        importing.refuse_useless()
    report = importing.report(time.monotonic() - began)
    if folder is None:
        return report
    report = replace(report, products=str(folder / PRODUCTS))
    report = write_config(report, importing.facts, folder, request.store, request.photos)
    replace_file(folder / REPORT, report.raw())
    return report


# --- inside ---


class _Import:
    """What has been taken of a feed so far."""

    def __init__(
        self,
        request: ImportRequest,
        feed: Recognised,
        mapping: CatalogMapping,
        files: list[FeedFile],
        progress: Progress,
    ) -> None:
        self._request, self._feed, self._mapping = request, feed, mapping
        self._files, self._progress = files, progress
        self._group = mapping.key_of(feed.map.group)
        self.tally, self.facts, self._rows_of = Tally(), FeedFacts(), dict[str, int]()

    def rows(self) -> Iterator[RawRows]:
        """The items of all files."""
        for file in self._feed.files:
            self._of_file = file
            rows = self._counted(file)
            if self._group is None:
                yield from rows
                continue
            grouping = Grouping(file.file.name, self._group)
            yield from grouping.group(rows)
            self.tally.joined += grouping.joined

    def _counted(self, file: FeedSyntax) -> Iterator[RawRows]:
        left = self._request.sample
        for raw in file.read():
            raw = raw if left is None else _cut(raw, left)
            self._count(raw, file)
            yield raw
            left = None if left is None else left - raw.batch.num_rows - len(raw.bad)
            if left is not None and left <= 0:
                return

    def take(self, raw: RawRows, file: CatalogFile | None) -> None:
        """Map some items, write them, count them."""
        name = self._of_file.file.name
        if raw.bad and self._request.reading.bad_rows == "stop":
            raise raw.bad[0].error()
        self.tally.bad(raw.bad)
        mapped = self._mapping.map(raw.batch)
        for row in mapped.without_id:
            self.tally.rejected[MISSING_ID] += 1
            if self.tally.wants(MISSING_ID):
                self._stop_or_keep(raw, name, row, MISSING_ID, _beginning(raw.batch, row), "an id")
        self.tally.unparsed.update(mapped.unparsed)
        for one in mapped.examples:
            if self.tally.wants(one.column):
                expected = _expected(self._feed.map.columns[one.column].type, one.value)
                self.tally.example(Example(one.column, name, *raw.place(one.row), one.value, expected))
        self.tally.late.update(self._mapping.unnamed(raw.batch))
        self.facts.add(mapped.table)
        self.tally.written += mapped.table.num_rows
        if file is not None:
            file.write(mapped.table)

    def refuse_useless(self) -> None:
        """InputError for a feed without items, or one of which little can be read: its dialect is another."""
        bad, written = self.tally.rejected[BAD_ROW], self.tally.written
        first = next(iter(self.tally.examples.get(BAD_ROW, ())), None)
        if bad > written and (bad >= _LEAST_BAD or not written) and first is not None:
            place = BadRow(first.file, first.row, first.line, "", "").place()
            raise InputError(
                f"a feed most of whose rows can be read: {first.expected}",
                f"{bad:,} of {self.tally.read:,} rows cannot, as {place}: {first.came}",
                "correct that, or name its --delimiter, --quote or --encoding; --check says what was found",
            )
        if not written:
            rejected = self.tally.rejected[MISSING_ID]
            came = f"{self._request.source} has none"
            if rejected:
                shown = self.tally.examples[MISSING_ID][0]
                came += f", but {rejected:,} rows without an id, such as row {shown.row:,}: {shown.came}"
            fix = "say in a map where the items are, or which column has their ids: docs/feeds.md"
            fix = fix if rejected else "export it again; nothing was written"
            raise InputError("a feed with at least one item that has an id", came, fix)

    def described(self) -> bytes:
        """What the file is made of, for its footer: equal for equal input."""
        told = {
            "source": [os.path.basename(one.name) for one in self._files],
            "map": self._feed.map.name,
            "map_identity": self._feed.map.identity,
            "languages": self._request.values.languages,
            **self._found(),
        }
        return json.dumps(told, ensure_ascii=False, sort_keys=True).encode()

    def report(self, seconds: float) -> ImportReport:
        """All that is to be said."""
        schema, mapped = self._mapping.schema, self._mapping.sources
        of = {**mapped, **{name: (raw,) for name, raw in self._mapping.carried.items()}}
        columns = [
            ColumnReport(
                one.name,
                tuple(of.get(one.name, of.get(one.name.removesuffix("_currency"), ()))),
                str(one.type),
                self.facts.values[one.name],
                self.tally.unparsed[one.name],
            )
            for one in schema
        ]
        return ImportReport(
            source=self._request.source,
            files=tuple(
                {"name": one.name, "bytes": one.taken, "compression": one.compression, "rows": self._rows_of[one.name]}
                for one in self._files
                if one.name in self._rows_of
            ),
            map=self._feed.map.name,
            map_identity=self._feed.map.identity,
            syntax=self._feed.syntax,
            found=self._found(),
            rows_read=self.tally.read,
            rows_written=self.tally.written,
            rows_joined=self.tally.joined,
            rejected=dict(sorted(self.tally.rejected.items())),
            columns=tuple(columns),
            carried=tuple(self._mapping.carried),
            dropped=self._mapping.dropped,
            late=dict(self.tally.late.most_common(_MOST_LATE)),
            examples=tuple(one for kind in self.tally.examples.values() for one in kind),
            notices=tuple(self._notices()),
            seconds=round(seconds, 3),
        )

    def _found(self) -> dict[str, str]:
        found = {name: value for one in reversed(self._feed.files) for name, value in one.found.items()}
        mark = self._mapping.decimal_mark
        return found | ({"decimal_mark": mark} if mark else {})

    def _notices(self) -> Iterator[str]:
        if folders := folders_in(self._request.source, self._request.folder):
            yield f"not read, because only files of a folder are: {', '.join(folders)}"
        for name in ("encoding", "delimiter"):
            several = sorted({one.found[name] for one in self._feed.files if name in one.found})
            if len(several) > 1:
                yield f"files differ in their {name}: {', '.join(several)}"
        for name, (count, example) in self.facts.cut.items():
            told = f"{count:,} values of {name} are numbers that a spreadsheet cut, as {example}"
            yield f"{told}: export the column as text"
        empty = [one for one in self._mapping.sources if not self.facts.values[one]]
        if empty:
            yield f"columns without any value: {', '.join(empty)}"

    def _count(self, raw: RawRows, file: FeedSyntax) -> None:
        rows = raw.batch.num_rows + len(raw.bad)
        self.tally.read += rows
        self._rows_of[file.file.name] = self._rows_of.get(file.file.name, 0) + rows
        size, taken = sum(one.size or 0 for one in self._files), sum(one.taken for one in self._files)
        total = max(self.tally.read, int(self.tally.read * size / taken) if taken else 0)
        self._progress(_STEP, self.tally.read, total)

    def _stop_or_keep(self, raw: RawRows, name: str, row: int, what: str, came: str, expected: str) -> None:
        bad = BadRow(name, *raw.place(row), f"a row with {expected}", came)
        if self._request.reading.bad_rows == "stop":
            raise bad.error()
        self.tally.example(Example(what, bad.file, bad.row, bad.line, came, expected))


_EXPECTED = {
    "price": "a price, as 12.99 USD",
    "number": "a number",
    "whole": "a whole number",
    "availability": "in_stock, out_of_stock, preorder or backorder",
    "boolean": "yes or no",
}
_MOST_LATE = 100  # columns that are named


def _expected(kind: str, came: str) -> str:
    """What a value of a type has to be; 1,299 could be one if somebody said what its comma is."""
    if kind in ("price", "number") and parse_price(came, ".") is not None:
        return f"{_EXPECTED[kind]} in one way: --decimal-mark says which"
    return _EXPECTED.get(kind, kind)


def _up_to_items(rows: Iterator[RawRows]) -> Iterator[RawRows]:
    """The first batch that has some, and those before it, which have what could not be read."""
    for raw in rows:
        yield raw
        if raw.batch.num_rows:
            return


def _cut(raw: RawRows, rows: int) -> RawRows:
    return raw if raw.batch.num_rows <= rows else RawRows(raw.batch.slice(0, rows), raw.place, raw.bad)


def _beginning(batch: pa.RecordBatch, row: int) -> str:
    """A row's first values, for a message."""
    values = {name: column[row].as_py() for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    firsts = {name: next(filter(None, one), None) if isinstance(one, list) else one for name, one in values.items()}
    return (
        ", ".join([f"{name}={str(one)[:40]}" for name, one in firsts.items() if str(one or "").strip()][:4])
        or "nothing"
    )
