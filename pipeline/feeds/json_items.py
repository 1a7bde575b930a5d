"""The items of a JSON document one by one, in the memory of one: a list, or an object that has the list inside."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from foundation.errors import InputError
from pipeline.feeds.nested import SCALARS, holds_items

_CHUNK = 2**20
_MOST_ITEM = 2**25  # characters of an item, or of what stands beside the items
_FIX = "export the file again; nothing was written"
_ENDS = tuple(",:]} \t\r\n")  # what stands behind a value
_SPACE = " \t\r\n\ufeff"


class JsonItems:
    """The objects of the list at `path` (`products`, `data.products`); without one of the first list of objects.

    Documents may follow one another, or stand in a list, as pages of an API that were put in one file do.
    """

    def __init__(self, name: str, stream: BinaryIO, encoding: str, path: str | None) -> None:
        self._name, self._stream = name, stream
        self._decode = codecs.getincrementaldecoder(encoding)("vitrine-marked").decode
        self._path = path.split(".") if path else None
        self._values = json.JSONDecoder(**SCALARS)
        self._text, self._at, self._ended = "", 0, False
        self._line, self._counted = 1, 0  # the line of a position in the text
        self._rows = 0

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        """(line on which it begins, item); InputError where the document is none, or ends too early."""
        while self._next():
            if self._text[self._at] != "[":
                yield from self._page()
                continue
            self._take("[")
            if not self._pages_follow():
                yield from self._items()
                continue
            while self._peek() != "]":
                yield from self._page()
                self._after("]")
            self._take("]")

    # --- inside ---

    def _page(self) -> Iterator[tuple[int, Any]]:
        """The items of an object that has the list of them inside."""
        if not self._enter(self._path):
            where = f"a list of objects at {'.'.join(self._path)}" if self._path else "a list of objects"
            came = f"{self._name} has none" if not self._rows else f"{self._place(self._at)}: a document without"
            raise InputError(f"a JSON document with {where}", came, "say `items:` in a map")
        yield from self._items()
        self._leave()

    def _pages_follow(self) -> bool:
        """Whether a list that begins here is one of pages, told by its first object."""
        first = self._decoded()[0] if self._peek() == "{" else None
        return isinstance(first, dict) and (self._path[0] in first if self._path else holds_items(first))

    def _items(self) -> Iterator[tuple[int, Any]]:
        while self._next() and self._text[self._at] != "]":
            self._rows += 1
            line = self._here()
            yield line, self._value()
            self._after("]")
        self._take("]")

    def _enter(self, path: list[str] | None) -> bool:
        """Go to the first item; whether there is a list of them. What stands before it is read and left."""
        self._take("{")
        self._depth = 1
        while self._peek() != "}":
            key = self._value()
            self._take(":")
            if path is None and self._peek() == "[":
                self._take("[")
                if self._peek() in "{]":
                    return True
                self._rest_of_list()
            elif path is not None and key == path[0] and self._peek() == ("[" if len(path) == 1 else "{"):
                self._take(self._peek())
                if len(path) == 1:
                    return True
                path, self._depth = path[1:], self._depth + 1
                continue
            else:
                self._value()
            self._after("}")
        return False

    def _leave(self) -> None:
        """Go behind the document whose items were read."""
        for _ in range(self._depth):
            self._after("}")
            while self._peek() != "}":
                self._value()
                self._take(":")
                self._value()
                self._after("}")
            self._take("}")

    def _rest_of_list(self) -> None:
        while self._peek() != "]":
            self._value()
            self._after("]")
        self._take("]")

    def _after(self, end: str) -> None:
        """Go behind a comma, or to the `end`."""
        if self._peek() != end:
            self._take(",")
            if self._peek() == end:
                raise self._wrong("a value after the comma", repr(end))

    def _value(self) -> Any:
        found, self._at = self._decoded()
        return found

    def _decoded(self) -> tuple[Any, int]:
        """(the next value, where in the text it ends)."""
        self._peek()
        while True:
            try:
                found, end = self._values.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as err:
                if len(self._text) - self._at < _MOST_ITEM and self._more():
                    continue
                said = err.msg if isinstance(err, json.JSONDecodeError) else "it nests without end"
                at = err.pos if isinstance(err, json.JSONDecodeError) else self._at
                raise self._wrong("JSON", f"{said} at {self._text[at : at + 40]!r}", at) from err
            if self._text[end : end + 1] not in _ENDS and self._more():  # of a number more may come
                continue
            return found, end

    def _take(self, wanted: str) -> None:
        if (came := self._peek()) != wanted:
            raise self._wrong(repr(wanted), repr(came))
        self._at += 1

    def _peek(self) -> str:
        """The next character that is no space."""
        if not self._next():
            raise InputError("a JSON document that is whole", f"{self._place(self._at)}: it ends here", _FIX)
        return self._text[self._at]

    def _next(self) -> bool:
        """Go to the next character that is no space; whether there is one."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text):
                return True
            if not self._more():
                return False

    def _more(self) -> bool:
        """Read on, and forget what is behind; whether there was more."""
        if self._ended:
            return False
        chunk = self._stream.read(max(_CHUNK, len(self._text) - self._at))
        self._ended = not chunk
        self._here()
        self._text, self._at = self._text[self._at :] + self._decode(chunk, self._ended), 0
        self._counted = 0
        return bool(chunk) or self._at < len(self._text)

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _place(self, at: int) -> str:
        line = self._line + self._text.count("\n", self._counted, at)
        return f"{self._name}, item {self._rows:,}, line {line:,}"

    def _wrong(self, expected: str, came: str, at: int | None = None) -> InputError:
        return InputError(expected, f"{self._place(self._at if at is None else at)}: {came}", _FIX)
