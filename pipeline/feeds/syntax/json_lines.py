"""JSON lines: an item a line, as warehouses, crawlers and Amazon Berkeley Objects write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from foundation.errors import InputError
from pipeline.feeds.delimited.text_encoding import MARK, Decoder, spelled_marks
from pipeline.feeds.nested import MOST_DEPTH, batch_of, holds_items, is_too_deep, read_json, whole
from pipeline.feeds.syntax.base import BadRow, FeedSyntax, Opened, RawRows, ReadOptions

_MOST_LINE = 2**25  # bytes of an item
_EXPECTED = "a JSON object on a line of its own"
_ROWS = 8_192  # of a batch


class Syntax(FeedSyntax):
    """A JSON object on each line; empty lines are none."""

    rank = 20

    def __init__(self, file: Opened, options: ReadOptions) -> None:
        super().__init__(file, options)
        self._decoder = Decoder(file.head, options.encoding)
        self._columns = _columns(self._decoder.text(file.head))
        if not self._columns:
            raise InputError("a feed of JSON objects, one a line", f"{file.name} begins with none", "export it again")

    @staticmethod
    def recognises(head: bytes) -> bool:
        """Whether the first line is an object, and not a document that has the items inside."""
        text = Decoder(head, None).text(head).lstrip("\ufeff \t\r\n")
        if not text.startswith("{"):
            return False
        first, _, more = text.partition("\n")
        try:
            found = read_json(first)
        except ValueError:
            return False
        return isinstance(found, dict) and (bool(more.strip()) or not holds_items(found))

    @property
    def columns(self) -> tuple[str, ...]:
        """The keys of the objects in the head."""
        return self._columns

    @property
    def found(self) -> Mapping[str, str]:
        """The encoding."""
        return {"encoding": self._decoder.encoding or "ascii"}

    def read(self) -> Iterator[RawRows]:
        """See FeedSyntax."""
        row = line = 0
        with self.file.open() as stream:
            for block in self._decoder.blocks(stream):
                items, places, bad = list[dict[str, Any]](), list[tuple[int, int]](), list[BadRow]()
                for raw in block.split(b"\n")[: None if not block.endswith(b"\n") else -1]:
                    line += 1
                    if not raw.strip():
                        continue
                    row += 1
                    item, came = _item(raw)
                    if item is None:
                        bad.append(BadRow(self.file.name, row, line, _EXPECTED, came))
                        continue
                    items.append(item)
                    places.append((row, line))
                    if len(items) == _ROWS:
                        yield RawRows(batch_of(items), places.__getitem__, tuple(bad))
                        items, places, bad = [], [], []
                yield RawRows(batch_of(items), places.__getitem__, tuple(bad))


# --- inside ---


def _item(raw: bytes) -> tuple[dict[str, Any] | None, str]:
    """(the object of a line or None, what came instead)."""
    if len(raw) > _MOST_LINE:
        return None, f"{len(raw):,} bytes on one line; at most {_MOST_LINE:,} are read"
    text = raw.decode()
    if MARK in raw:
        return None, f"bytes that are not of the encoding: {_shown(spelled_marks(text))}"
    try:
        found = read_json(text)
    except ValueError as err:
        return None, f"{err}: {_shown(text)}"
    if raw.count(b"[") + raw.count(b"{") > MOST_DEPTH and is_too_deep(found):
        return None, f"values nested deeper than {MOST_DEPTH} levels: {_shown(text)}"
    return (found, "") if isinstance(found, dict) else (None, _shown(text))


def _columns(text: str) -> tuple[str, ...]:
    names = dict[str, None]()
    for line in text.split("\n"):
        try:
            found = read_json(line)
        except ValueError:  # told when it is read; or the head ends in it
            continue
        if isinstance(found, dict):
            names.update(dict.fromkeys(map(whole, found)))
    return tuple(names)


def _shown(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
