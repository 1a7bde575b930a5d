"""Delimited feeds: TSV, CSV, and what Excel makes of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from foundation.errors import InputError
from pipeline.feeds.delimited.dialect import find_dialect
from pipeline.feeds.delimited.records import RecordReader
from pipeline.feeds.delimited.text_encoding import Decoder
from pipeline.feeds.syntax.base import FeedSyntax, Opened, RawRows, ReadOptions

_PROLOG = rb"(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*|<\?xml.*?\?>\s*)*"
_PAGE = re.compile(_PROLOG + rb"<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(rb"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_USTAR, _TAR = b"ustar", 257  # where an archive says that it is one
_OTHERS = {
    _USTAR: ("a tar archive", "take the file out of it"),
    b"\x1f\x8b": ("compressed twice", "decompress it once"),
    b"\x28\xb5\x2f\xfd": ("compressed twice", "decompress it once"),
    b"PK\x03\x04": ("a zip archive, as Excel's workbooks are", "save the sheet as CSV, or take the file out of it"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", "save the sheet as CSV"),
    b"%PDF": ("a PDF", "export the feed as CSV or TSV"),
    b"\x7fELF": ("a program", "correct SOURCE"),
    b"\xfd7zXZ\0": ("compressed by xz", "decompress it, or compress it by gzip or zstd"),
    b"7z\xbc\xaf": ("a 7z archive", "take the file out of it"),
    b"Rar!\x1a": ("a rar archive", "take the file out of it"),
    b"SQLite format 3\0": ("a database", "export the table of products as CSV"),
    b"{\\rtf": ("a document of a word processor", "save it as plain text"),
    b"\x89PNG": ("a photo", "correct SOURCE"),
    b"\xff\xd8\xff": ("a photo", "correct SOURCE"),
}


class Syntax(FeedSyntax):
    """A line of names, then a record for each item; a value in quotes may have delimiters and ends of lines."""

    rank = 100  # any text could be one: whoever knows better is asked before
    open_ended = False

    def __init__(self, file: Opened, options: ReadOptions) -> None:
        super().__init__(file, options)
        head = file.head
        _refuse_others(file.name, head)
        self._decoder = Decoder(head, options.encoding)
        text = self._decoder.text(head)
        if not text.strip():
            raise InputError("a feed with a line of names and items", f"{file.name} is empty", "export it again")
        _refuse_binary(file.name, text)
        self._dialect, self._header = find_dialect(text, options)

    @staticmethod
    def recognises(head: bytes) -> bool:
        """Anything that nobody else knows."""
        return True

    @property
    def columns(self) -> tuple[str, ...]:
        """The names in the first line; one that comes again has its number behind it."""
        return self._header.names

    @property
    def found(self) -> Mapping[str, str]:
        """Encoding, delimiter, quotes."""
        return {"encoding": self._decoder.encoding or "ascii", **self._dialect.described()}

    def read(self) -> Iterator[RawRows]:
        """See FeedSyntax."""
        reader = RecordReader(self.file.name, self._header.names, self._dialect, self._header.lines)
        with self.file.open() as stream:
            yield from reader.read(_behind(self._decoder.blocks(stream), self._header.lines))


# --- inside ---


# Characters that no name has. Those that some set between values stay: 01, 1c to 1f.
_NO_TEXT = re.compile("[\x00\x02-\x08\x0e-\x1b\x7f]")


def _refuse_binary(name: str, text: str) -> None:
    if _NO_TEXT.search(text.lstrip("\r\n").partition("\n")[0]):
        fix = "export it as CSV or TSV, or name its --encoding"
        raise InputError("a feed as text", f"{name}, which is none: it begins with {text[:40]!r}", fix)


def _behind(blocks: Iterator[bytes], lines: int) -> Iterator[bytes]:
    """The blocks without the first `lines`."""
    for block in blocks:
        at = 0
        while lines and (end := block.find(b"\n", at) + 1):
            at, lines = end, lines - 1
        if not lines and at < len(block):
            yield block[at:]


def _refuse_others(name: str, head: bytes) -> None:
    if _PAGE.match(head):
        title = _TITLE.search(head)
        said = f" titled {' '.join(title[1].decode('utf-8', 'replace').split())!r}" if title else ""
        fix = "look at SOURCE in a browser: the shop answers with a page where the feed should be"
        raise InputError("a feed", f"{name} is an HTML page{said}", fix)
    for mark, (what, fix) in _OTHERS.items():
        if head.startswith(mark, _TAR if mark == _USTAR else 0):
            raise InputError("a feed as text", f"{name} is {what}", fix)
