"""The dialect of a delimited feed: what stands between values, what quotes mean, and which line has the names."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from foundation.errors import InputError
from pipeline.feeds.syntax.base import ReadOptions, unique_names

_DELIMITERS = ("\t", ",", ";", "|")
_NAMES = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar", " ": "space"}
_WORDS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "bar": "|", "pipe": "|"}
_SEP = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)  # Excel's own line
_MOST_VALUE = 2**30  # characters; a block has fewer
_SAMPLED = 200  # records
_LINES = 20  # behind a quote, by which it is told whether it opens a value of many lines


@dataclass(frozen=True)
class Dialect:
    """How records are written. `quote` is empty where quotes mean nothing."""

    delimiter: str
    quote: str

    @cached_property
    def record(self) -> re.Pattern[bytes]:
        """One record with its end of line, strictly: a quoted value ends before a delimiter, a quote inside of it comes
        twice; elsewhere a quote is a character as any.
        """
        return re.compile(rb"%b(?:\r?\n|\Z)" % self._values)

    @cached_property
    def unclosed(self) -> re.Pattern[bytes]:
        """A record up to a value that is still open where the text ends."""
        if not self.quote:
            return re.compile(b"(?!)")  # nothing
        delimiter, quote = re.escape(self.delimiter.encode()), re.escape(self.quote.encode())
        return re.compile(rb"(?:%b%b)?%b(?:[^%b]++|%b%b)*+\Z" % (self._values, delimiter, *[quote] * 4))

    @property
    def _values(self) -> bytes:
        delimiter, quote = re.escape(self.delimiter.encode()), re.escape(self.quote.encode())
        field = rb"[^%b\r\n]*+" % delimiter
        if quote:
            plain = rb"[^%b%b\r\n][^%b\r\n]*+" % (quote, delimiter, delimiter)
            field = rb"(?:%b(?:[^%b]++|%b%b)*+%b|%b)?" % (*[quote] * 5, plain)
        return rb"%b(?:%b%b)*" % (field, delimiter, field)

    def values(self, record: bytes) -> list[str]:
        """The values of one record that `record` matches."""
        text = record.decode("utf-8", "replace")
        if not self.quote:
            return text.rstrip("\r\n").split(self.delimiter)
        csv.field_size_limit(_MOST_VALUE)  # of the process; by itself it is 131,072, and raises
        read = csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter, quotechar=self.quote)
        return next(read, [])

    def described(self) -> dict[str, str]:
        """For the report."""
        quote = {"": "none", '"': "double", "'": "single"}.get(self.quote, self.quote)
        return {"delimiter": _NAMES.get(self.delimiter, self.delimiter), "quotes": quote}


@dataclass(frozen=True)
class Header:
    """What stands before the first item: the names of the columns, and how many lines that takes."""

    names: tuple[str, ...]
    lines: int


def find_dialect(text: str, options: ReadOptions) -> tuple[Dialect, Header]:
    """The dialect of a feed that begins with `text`, and its header; what the options say is not looked for."""
    sep = _SEP.match(text)
    body = text[sep.end() :] if sep else text
    told = _delimiter(options.delimiter) if options.delimiter is not None else sep[1] if sep else None
    quote = '"' if options.quote is None else _quote(options.quote)
    raw = body.encode()
    if told is None:
        told = max(_DELIMITERS, key=lambda one: _evenness(raw, Dialect(one, quote)))
    dialect = Dialect(told, quote)
    if options.quote is None:
        dialect = max((Dialect(told, one) for one in ('"', "", "'")), key=lambda one: _quoting(raw, one))
    return dialect, _header(raw, dialect, 1 if sep else 0)


# --- inside ---


def _delimiter(given: str) -> str:
    found = _WORDS.get(given, given)
    if len(found) != 1 or not found.isascii() or found in "\r\n\"'":
        raise InputError("one ASCII character, or tab, comma, semicolon, bar", f"--delimiter {given!r}", "correct it")
    return found


def _quote(given: str) -> str:
    found = {"none": "", "double": '"', "single": "'"}.get(given, given)
    if len(found) > 1 or not found.isascii():
        raise InputError("one ASCII character, or none", f"--quote {given!r}", "correct it")
    return found


def _records(raw: bytes, dialect: Dialect) -> Iterator[bytes | None]:
    """The first records but blank ones, up to a value that goes on behind the text; None for a line that is none."""
    at = count = 0
    while at < len(raw) and count < _SAMPLED:
        match = dialect.record.match(raw, at)
        if match is None and _goes_on(raw, at, dialect):
            return
        end = match.end() if match else raw.find(b"\n", at) + 1 or len(raw)
        if end == at:
            break
        if raw[at:end].strip(b"\r\n"):
            count += 1
            yield match[0] if match else None
        at = end


def _goes_on(raw: bytes, at: int, dialect: Dialect) -> bool:
    """Whether the record that begins there has a value longer than the text: one that is open at its end, with lines
    that are no records of their own.
    """
    if not dialect.unclosed.match(raw, at):
        return False
    line, *more = raw[at:].split(b"\n", _LINES)[:_LINES]
    values = line.count(dialect.delimiter.encode())
    return not any(one.count(dialect.delimiter.encode()) == values for one in more if one.strip())


def _evenness(raw: bytes, dialect: Dialect) -> tuple[float, int]:
    """How well a delimiter fits: the share of records with as many values as the first, then how many these are."""
    sizes = [0 if one is None else len(dialect.values(one)) for one in _records(raw, dialect)]
    if not sizes or sizes[0] < 2:
        return 0.0, 0
    most = Counter(sizes)[sizes[0]]
    return round(most / len(sizes), 1), sizes[0]


def _quoting(raw: bytes, dialect: Dialect) -> float:
    """How well a quote fits: values that it encloses count for it, lines that it breaks against it."""
    quote = dialect.quote.encode()
    if not quote:
        return 0.0
    edge = rb"(?:^|%b)%b" % (re.escape(dialect.delimiter.encode()), quote)
    score = 0.1 if dialect.quote == '"' else 0.0  # what others write that have met no quote yet
    for record in _records(raw, dialect):
        score += -1 if record is None else bool(re.search(edge, record)) and 1
    return score


def _header(raw: bytes, dialect: Dialect, before: int) -> Header:
    at = 0
    while raw[at : at + 1] in (b"\r", b"\n"):
        at += 1
    match = dialect.record.match(raw, at)
    line = match[0] if match else raw[at : raw.find(b"\n", at) + 1 or len(raw)]
    names = dialect.values(line) if match else line.decode("utf-8", "replace").split(dialect.delimiter)
    lines = before + raw[:at].count(b"\n") + line.count(b"\n") + (not line.endswith(b"\n"))
    return Header(unique_names([name.strip().lstrip("\ufeff") for name in names]), lines)
