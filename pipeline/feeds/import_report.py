"""What an import did, or would do: rows in and out, columns, what was left out or not read, with examples."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.feeds.syntax.base import BadRow

REPORT = "_import.json"
BAD_ROW, MISSING_ID = "bad_row", "missing_id"
_EXAMPLES = 5  # of each kind


@dataclass(frozen=True)
class Example:
    """One thing that could not be read, and where it stands."""

    what: str  # bad_row, missing_id, or the canonical column of a value
    file: str
    row: int
    line: int | None
    came: str
    expected: str


@dataclass(frozen=True)
class ColumnReport:
    """A column of the catalog: where it comes from, its type, how many values it has and how many were not read."""

    name: str
    sources: tuple[str, ...]
    type: str
    values: int
    unparsed: int


@dataclass
class Tally:
    """What is counted while rows pass."""

    read: int = 0
    written: int = 0
    joined: int = 0  # rows of an item that has another row, which counts as read or rejected
    rejected: Counter[str] = field(default_factory=Counter)
    unparsed: Counter[str] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)  # raw columns that came too late to be carried
    examples: dict[str, list[Example]] = field(default_factory=dict)

    def bad(self, rows: Iterable[BadRow]) -> None:
        """Rows that could not be read."""
        for one in rows:
            self.rejected[BAD_ROW] += 1
            self.example(Example(BAD_ROW, one.file, one.row, one.line, one.came, one.expected))

    def wants(self, what: str) -> bool:
        """Whether one more example of a kind is of use."""
        return len(self.examples.get(what, ())) < _EXAMPLES

    def example(self, one: Example) -> None:
        """Keep an example, if there are few of its kind."""
        if self.wants(one.what):
            self.examples.setdefault(one.what, []).append(one)


@dataclass(frozen=True)
class ImportReport:
    """All of it. `products` and `config` are null of a check."""

    source: str
    files: tuple[dict[str, Any], ...]
    map: str
    map_identity: str
    syntax: str
    found: dict[str, str]
    rows_read: int
    rows_written: int
    rows_joined: int  # further rows of items that are several: with those written and rejected they are those read
    rejected: dict[str, int]
    columns: tuple[ColumnReport, ...]
    carried: tuple[str, ...]
    dropped: tuple[str, ...]
    late: dict[str, int]
    examples: tuple[Example, ...]
    notices: tuple[str, ...]
    seconds: float
    products: str | None = None
    config: str | None = None
    config_digest: str | None = None

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    def raw(self) -> bytes:
        """The file that lies beside the products."""
        return (json.dumps(self.document(), ensure_ascii=False, indent=1) + "\n").encode("utf-8", "backslashreplace")
