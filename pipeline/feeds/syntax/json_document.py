"""JSON documents: a list of items, or an object that has the list inside, as APIs of shops answer."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, BinaryIO

from foundation.errors import InputError
from pipeline.feeds.delimited.text_encoding import MARK, Decoder, spelled_marks
from pipeline.feeds.json_items import JsonItems
from pipeline.feeds.nested import MOST_DEPTH, batch_of, is_too_deep, whole
from pipeline.feeds.syntax.base import BadRow, FeedSyntax, Opened, RawRows, ReadOptions

_ROWS = 1_024  # of a batch: items of documents are large
_HEAD_ITEMS = 200
_MARK = MARK.decode()
_EXPECTED = "a JSON object"


class Syntax(FeedSyntax):
    """A document, or several one after the other."""

    rank = 30  # after JSON lines, which begin alike

    def __init__(self, file: Opened, options: ReadOptions) -> None:
        super().__init__(file, options)
        decoder = Decoder(file.head, options.encoding)
        decoder.text(file.head)
        self._bom, self._encoding = decoder.bom, decoder.encoding
        self._columns = tuple(self._head_columns())

    @staticmethod
    def recognises(head: bytes) -> bool:
        """Whether it begins as an object or a list does."""
        text = Decoder(head, None).text(head)
        return re.match(r'[\ufeff\s]*(\[\s*[{\]]|\{\s*["}])', text) is not None

    @property
    def columns(self) -> tuple[str, ...]:
        """The keys of the items in the head."""
        return self._columns

    @property
    def found(self) -> Mapping[str, str]:
        """The encoding."""
        return {"encoding": self._encoding or "ascii"}

    def read(self) -> Iterator[RawRows]:
        """See FeedSyntax. What is no JSON ends it: nobody could say where the next item begins."""
        row = 0
        with self.file.open() as stream:
            items = iter(self._items(stream))
            while some := list(islice(items, _ROWS)):
                good, places, bad = list[dict[str, Any]](), list[tuple[int, int]](), list[BadRow]()
                for line, item in some:
                    row += 1
                    came = _why_bad(item)
                    if came is None:
                        good.append(item)
                        places.append((row, line))
                    else:
                        bad.append(BadRow(self.file.name, row, line, _EXPECTED, came))
                yield RawRows(batch_of(good), places.__getitem__, tuple(bad))

    # --- inside ---

    def _items(self, stream: BinaryIO) -> JsonItems:
        stream.read(self._bom)
        return JsonItems(self.file.name, stream, self._encoding or "utf-8", self.options.items)

    def _head_columns(self) -> list[str]:
        """As far as the head is whole; what is wrong behind it is told when the file is read."""
        names = dict[str, None]()
        try:
            for _, item in islice(iter(self._items(io.BytesIO(self.file.head))), _HEAD_ITEMS):
                names.update(dict.fromkeys(map(whole, item)) if isinstance(item, dict) else {})
        except InputError:
            if not names:
                raise
        return list(names)


# --- inside ---


def _why_bad(item: Any) -> str | None:
    if not isinstance(item, dict):
        return f"{item!r:.80}"
    try:
        text = repr(item)
    except RecursionError:
        text = "[" * MOST_DEPTH
    if text.count("[") + text.count("{") >= MOST_DEPTH and is_too_deep(item):
        return f"values nested deeper than {MOST_DEPTH} levels"
    return f"bytes that are not of the encoding: {spelled_marks(text)[:80]}" if _MARK in text else None
