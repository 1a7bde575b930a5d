"""What a syntax gives: batches of raw columns with the place of each row, and what could not be read, with its place.

A syntax is a file beside this one that defines `class Syntax(FeedSyntax)`; nothing lists them. It decides nothing about
products: columns keep the feed's names, values are the feed's texts (numbers and lists where the feed itself has them).
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO, ClassVar, Literal, Protocol

import pyarrow as pa

from foundation.errors import InputError

HEAD_BYTES = 2**18  # of a file, decompressed: by these it is recognised
BadRows = Literal["skip", "stop"]


class Opened(Protocol):
    """A file of the feed, whatever it was compressed by and wherever it lies."""

    @property
    def name(self) -> str:
        """As messages have it."""

    @property
    def head(self) -> bytes:
        """Its first HEAD_BYTES, decompressed."""

    @property
    def local_path(self) -> str | None:
        """Where it lies as it is on this machine; None for a stream, an object of a bucket, or compressed bytes."""

    def open(self) -> BinaryIO:
        """All of its bytes, decompressed. Of a stream once."""


@dataclass(frozen=True)
class ReadOptions:
    """What the command says of how a feed is written; None: find it."""

    encoding: str | None = None
    delimiter: str | None = None
    quote: str | None = None  # empty: quotes mean nothing
    bad_rows: BadRows = "skip"
    items: str | None = None  # where in a document the items are, as the map says


@dataclass(frozen=True)
class BadRow:
    """An item that could not be read: `row` counts the items of its file from 1, `line` the lines with the header's."""

    file: str
    row: int
    line: int | None
    expected: str
    came: str

    def place(self) -> str:
        """Where it is, for a message."""
        return f"{self.file}, row {self.row:,}" + ("" if self.line is None else f", line {self.line:,}")

    def error(self) -> InputError:
        """The error of a feed that must not have such rows."""
        fix = "correct it there, or leave such rows out: --bad-rows skip"
        return InputError(self.expected, f"{self.place()}: {self.came}", fix)


@dataclass(frozen=True)
class RawRows:
    """Some items, in the feed's order: `batch` has their raw columns, null for what is not there, and `place(i)` gives
    (row, line or None) of the i-th. `bad` are rows among and after them that could not be read.
    """

    batch: pa.RecordBatch
    place: Callable[[int], tuple[int, int | None]]
    bad: tuple[BadRow, ...] = ()


class FeedSyntax(ABC):
    """A file of a feed in one syntax. Constructing it looks at the head alone; InputError where that is none of it."""

    rank: ClassVar[int] = 0  # who is asked first whether it recognises a head: the lowest
    open_ended: ClassVar[bool] = True  # whether columns may come that `columns` did not name

    def __init__(self, file: Opened, options: ReadOptions) -> None:
        self.file, self.options = file, options

    @staticmethod
    @abstractmethod
    def recognises(head: bytes) -> bool:
        """Whether a file that begins so is of this syntax."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The raw columns as far as the head shows them."""

    @property
    def found(self) -> Mapping[str, str]:
        """What was found out of how the file is written, by name, for the report."""
        return {}

    @abstractmethod
    def read(self) -> Iterator[RawRows]:
        """The file's items, a few megabytes at a time. What cannot be read is a BadRow, never silently gone; of a file
        that ends too early, or is damaged past going on, InputError.
        """


@cache
def syntaxes() -> Mapping[str, type[FeedSyntax]]:
    """Name -> syntax of every file here that defines one, in the order in which they are asked."""
    package = importlib.import_module("pipeline.feeds.syntax")
    found: dict[str, type[FeedSyntax]] = {}
    for module in pkgutil.iter_modules(package.__path__):
        syntax = getattr(importlib.import_module(f"pipeline.feeds.syntax.{module.name}"), "Syntax", None)
        if syntax is not None:
            found[module.name] = syntax
    return dict(sorted(found.items(), key=lambda one: (one[1].rank, one[0])))


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names as columns have them: one that comes again gets its number, one without a name its place."""
    seen: Counter[str] = Counter()
    found = []
    for place, name in enumerate(names, 1):
        name = name or f"column {place}"
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(found)
