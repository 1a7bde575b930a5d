"""Records out of blocks of lines. Arrow reads what is strictly well-formed, at its own speed; what is not is found.

A quote that nobody closed would take all that follows for one value. So before Arrow sees a block, each of its quotes
must stand where one may open or close a value; where one does not, the block's records are told apart one by one, and
a line that begins none is a bad row by itself.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from pipeline.feeds.delimited.dialect import Dialect
from pipeline.feeds.delimited.places import Places, WellFormed
from pipeline.feeds.delimited.quotes import quotes_of
from pipeline.feeds.delimited.text_encoding import MARK, spelled_marks
from pipeline.feeds.syntax.base import BadRow, RawRows

MOST_RECORD_BYTES = 2**20  # of several lines; what goes on for longer is a quote that nobody closed
_LEAST_DELIMITERS = 3  # of lines that are rows: of fewer, lines of a description may have as many
_SHOWN = 80  # characters of a bad row


@dataclass(frozen=True)
class Broken:
    """A line of a block that is no record: where it begins, and what is wrong with it."""

    start: int
    expected: str
    came: str


@dataclass(frozen=True)
class Split:
    """A block up to `end`, where its last whole record ends: what is well-formed of it, and what is not."""

    end: int
    good: WellFormed
    broken: tuple[Broken, ...] = ()


class RecordReader:
    """The records of one file, block by block; `lines` of it are its header's."""

    def __init__(self, file: str, names: Sequence[str], dialect: Dialect, lines: int) -> None:
        self._file, self._names, self._dialect = file, list(names), dialect
        self._rows, self._lines = 0, lines  # that came before the block

    def read(self, blocks: Iterator[bytes]) -> Iterator[RawRows]:
        """All records of the blocks, the first of which begins behind the header."""
        rest = b""
        for block in blocks:
            block = rest + block
            split = self._split(block, last=False)
            rest = block[split.end :]
            if split.end:
                yield self._parsed(block[: split.end], split)
        if rest:
            yield self._parsed(rest, self._split(rest, last=True))

    def _split(self, block: bytes, last: bool) -> Split:
        if block.count(b"\r") != block.count(b"\r\n"):  # Arrow takes each for the end of a line
            return self._told_apart(block, last)
        quotes = quotes_of(block, self._dialect.delimiter, self._dialect.quote)
        if quotes is None:
            end = len(block) if last else block.rfind(b"\n") + 1
            return Split(end, WellFormed(block[:end]))
        end = len(block) if last else quotes.last_end()
        endless = len(block) - end > MOST_RECORD_BYTES
        if not quotes.sound or endless or (last and not quotes.whole(len(block))):
            return self._told_apart(block, last)
        return Split(end, WellFormed(block[:end]))

    def _told_apart(self, block: bytes, last: bool) -> Split:
        """The same, record by record."""
        parts, pieces, broken = list[bytes](), list[tuple[int, int]](), list[Broken]()
        at = start = size = 0

        def keep() -> None:
            nonlocal size
            if at > start:
                pieces.append((size, start))
                parts.append(block[start:at])
                size += at - start

        while at < len(block):
            record = self._dialect.record.match(block, at)
            if record is not None and self._is_one(record[0]):
                at = record.end()
                continue
            short = len(block) - at <= MOST_RECORD_BYTES
            if record is None and short and not last and self._dialect.unclosed.match(block, at):
                break  # it may be whole once more of the file is there
            keep()
            line_end = block.find(b"\n", at) + 1 or len(block)
            broken.append(self._broken(block[at:line_end], at))
            at = start = line_end
        keep()
        return Split(at, WellFormed(b"".join(parts), tuple(pieces)), tuple(broken))

    def _is_one(self, record: bytes) -> bool:
        """Whether a record is one, and not lines that a stray quote joins."""
        if b"\n" not in record.rstrip(b"\r\n"):
            return True
        if len(record) > MOST_RECORD_BYTES or len(self._dialect.values(record)) != len(self._names):
            return False
        return not self._are_rows(record.decode("utf-8", "replace"))

    def _are_rows(self, text: str) -> bool:
        """Whether lines that two stray quotes join, one in each of two rows, are rows: each with as many delimiters as
        the header, none of which stands before a space as commas of sentences do.
        """
        delimiter, most = self._dialect.delimiter, len(self._names) - 1
        if most < _LEAST_DELIMITERS or f"{delimiter} " in text:
            return False
        return all(line.count(delimiter) == most for line in text.rstrip("\r\n").split("\n"))

    def _joins_rows(self, table: pa.RecordBatch) -> bool:
        """Whether a value of the table is of lines that are rows."""
        for column in table.columns:
            lines = pc.count_substring(column, "\n")
            inside = pc.count_substring(column, self._dialect.delimiter)
            joined = pc.and_(pc.greater(lines, 0), pc.equal(inside, pc.multiply(lines, len(self._names) - 1)))
            for row in pc.indices_nonzero(pc.fill_null(joined, False)).to_pylist():
                values = [one[row].as_py() or "" for one in table.columns]
                if self._are_rows(self._dialect.delimiter.join(values)):
                    return True
        return False

    def _broken(self, line: bytes, start: int) -> Broken:
        shown = _short(line.decode("utf-8", "replace"))
        if b"\r" in line.rstrip(b"\r\n"):
            return Broken(start, "lines that end alike", f"a carriage return inside of {shown}")
        quote = self._dialect.quote
        return Broken(start, f"{quote} to close a value that one opens, and two of them for one inside of it", shown)

    def _parsed(self, block: bytes, split: Split) -> RawRows:
        table, invalid = self._arrow(split.good.text)
        several = split.good.text.count(b"\n") > table.num_rows + len(invalid)  # lines of one value
        joined = any("\n" in one.text.rstrip("\r\n") for one in invalid) or (several and self._joins_rows(table))
        if not split.broken and joined:
            split = self._told_apart(block, last=True)
            table, invalid = self._arrow(split.good.text)
        numbers = [one.number - 1 for one in invalid]
        starts = [one.start for one in split.broken]
        places = Places(self._dialect, block, split.good, set(numbers), starts, self._rows, self._lines)
        self._rows += table.num_rows + len(invalid) + len(starts)
        self._lines += block.count(b"\n")
        bad = [(places.at(one.start), one.expected, one.came) for one in split.broken]
        for number, one in zip(numbers, invalid, strict=True):
            came = f"{one.actual_columns:,} in {_short(one.text)}"
            bad.append((places.of_record(number), f"{one.expected_columns:,} values, as the header has names", came))
        place = places.of_row
        lost = _names_again(table)
        if MARK in block:
            lost |= _undecoded(table)
        if lost:
            bad += [(places.of_row(row), *said) for row, said in lost.items()]
            rows = [row for row in range(table.num_rows) if row not in lost]
            table = table.take(pa.array(rows, pa.int64()))

            def place(number: int) -> tuple[int, int]:
                return places.of_row(rows[number])

        told = (BadRow(self._file, row, line, expected, came) for (row, line), expected, came in sorted(bad))
        return RawRows(table, place, tuple(told))

    def _arrow(self, text: bytes) -> tuple[pa.RecordBatch, list[Any]]:
        """(records as texts, null for empty ones; those with too many or too few values, see csv.InvalidRow)."""
        invalid = list[Any]()

        def skip(row: Any) -> str:
            invalid.append(row)
            return "skip"

        names = [str(number) for number in range(len(self._names))]  # the feed's own may come twice
        if not text.strip(b"\r\n"):
            return pa.record_batch([pa.array([], pa.string()) for _ in names], self._names), []
        if text.startswith(BOM_UTF8):
            text = b"\n" + text  # Arrow would take it for the mark of a file; a blank line is none
        quoted = quotes_of(text, self._dialect.delimiter, self._dialect.quote) is not None
        table = csv.read_csv(
            pa.BufferReader(text),
            csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=names),
            csv.ParseOptions(
                delimiter=self._dialect.delimiter,
                quote_char=self._dialect.quote if quoted else False,
                newlines_in_values=quoted,
                invalid_row_handler=skip,
            ),
            csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
        columns = [column.combine_chunks() for column in table.columns]
        columns = [one.chunk(0) if isinstance(one, pa.ChunkedArray) else one for one in columns]
        return pa.record_batch(columns, self._names), invalid


# --- inside ---


def _names_again(table: pa.RecordBatch) -> dict[int, tuple[str, str]]:
    """Rows that are the line of names once more, as where files were joined: what is expected there, what came."""
    names = table.schema.names
    if len(names) < 2:
        return {}
    firsts = pa.array([names[0], f"\ufeff{names[0]}"])
    hits = pc.indices_nonzero(pc.is_in(table.column(0), firsts)).to_pylist()
    rows = {row: [(column[row].as_py() or "").strip(" \ufeff") for column in table.columns] for row in hits}
    return {row: ("an item", "the line of names again") for row, values in rows.items() if values == names}


def _undecoded(table: pa.RecordBatch) -> dict[int, tuple[str, str]]:
    """Rows that have values which did not decode: what is expected there, and such a value."""
    found = dict[int, tuple[str, str]]()
    for name, column in zip(table.schema.names, table.columns, strict=True):
        hits = pc.indices_nonzero(pc.fill_null(pc.match_substring(column, MARK.decode()), False)).to_pylist()
        for row in hits:
            found.setdefault(row, ("text of one encoding", f"{name}: {_short(column[row].as_py())}"))
    return found


def _short(text: str) -> str:
    text = spelled_marks(text.rstrip("\r\n"))
    at = max(0, text.find("\\x") - _SHOWN // 2)
    text = text[at : at + _SHOWN] + ("..." if len(text) > at + _SHOWN else "")
    return repr(text).replace("\\\\x", "\\x")
