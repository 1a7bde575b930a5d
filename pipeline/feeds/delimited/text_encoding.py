"""The bytes of a delimited feed as blocks of whole lines in UTF-8, whatever they are encoded in.

What does not decode is marked, not replaced: the rows that have it are counted as bad, with what stood there.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

from foundation.errors import InputError
from pipeline.feeds.delimited.code_pages import latin_code_page

BLOCK_BYTES = 2**22
_UTF8, _WESTERN = "utf-8", "cp1252"
_MARKED = "\ufdd0%02x\ufdd1"  # noncharacters: no text has them
MARK = "\ufdd0".encode()
_MARKS = re.compile("\ufdd0([0-9a-f]{2})\ufdd1")
_BOMS = (
    (codecs.BOM_UTF8, _UTF8),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE = {"utf-16-le": 2, "utf-16-be": 2, "utf-32-le": 4, "utf-32-be": 4}
_MOST_LINE_BYTES = 2**26
# Letters that stand alone among others are those of Western languages; of few nobody else could say more.
_BEYOND, _RUN, _FEW = re.compile(rb"[\x80-\xff]"), re.compile(rb"[\x80-\xff]{3}"), 32
_ALL_BYTES = bytes(range(256))
_SAMPLED_LINES = 400  # with bytes beyond ASCII


def marked(err: UnicodeError) -> tuple[str, int]:
    """An error handler of codecs: bytes that do not decode, each between two noncharacters."""
    if not isinstance(err, UnicodeDecodeError):
        raise err
    return "".join(_MARKED % byte for byte in err.object[err.start : err.end]), err.end


codecs.register_error("vitrine-marked", marked)


def spelled_marks(text: str) -> str:
    """A text with what did not decode spelled out, as Python spells bytes."""
    return _MARKS.sub(r"\\x\1", text)


class Decoder:
    """The blocks of one file, in the encoding that is given or that its first bytes say; else each block is UTF-8 where
    most of its lines are, and what the first of the others looks like where they are not.
    """

    def __init__(self, head: bytes, encoding: str | None) -> None:
        self.bom, self._fixed = 0, encoding and _known(encoding)
        for mark, name in _BOMS:
            if head.startswith(mark) and (self._fixed in (None, name, _generic(name))):
                self.bom, self._fixed = len(mark), name
                break
        if self._fixed is None:
            self._fixed = _wide(head)
        self._other: str | None = None
        self._seen = set[str]()
        self._old_mac = b"\r" in head and b"\n" not in head  # whose lines end with a carriage return alone
        if self._fixed in ("utf-16", "utf-32"):
            self._fixed += "-le"

    @property
    def encoding(self) -> str | None:
        """What the file is encoded in, as far as it was read; None as long as all of it was ASCII."""
        return self._fixed or " and ".join(sorted(self._seen)) or None

    def text(self, head: bytes) -> str:
        """The whole lines of a head, for whoever looks for the dialect."""
        head = head[self.bom :]
        found = head.decode(self._fixed or self._found(head), "replace")
        found = found.replace("\r", "\n") if self._old_mac else found
        return found[: found.rfind("\n") + 1] or found

    def blocks(self, stream: BinaryIO) -> Iterator[bytes]:
        """UTF-8 of the file's lines, in blocks that end with one; the last may lack its end of line."""
        stream.read(self.bom)
        if self._fixed in _WIDE:
            yield from self._wide_blocks(stream, self._fixed)
            return
        rest = b""
        while chunk := stream.read(BLOCK_BYTES):
            chunk = chunk.replace(b"\r", b"\n") if self._old_mac else chunk
            end = chunk.rfind(b"\n") + 1
            if end:
                yield self._utf8(rest + chunk[:end])
                rest = chunk[end:]
            else:
                rest += chunk
                _refuse_endless(len(rest))
        if rest:
            yield self._utf8(rest)

    def _utf8(self, block: bytes) -> bytes:
        name = self._fixed or self._found(block)
        if name != _UTF8:
            return self._line_by_line(block, name) if self._fixed is None else _in_utf8(block, name)
        return block if _decodes(block) else block.decode(_UTF8, "vitrine-marked").encode()

    def _line_by_line(self, block: bytes, name: str) -> bytes:
        """Where files of several encodings were joined, lines of UTF-8 are what they are: a line in a code page is
        hardly ever well-formed UTF-8 as well. Of encodings with several bytes a letter it often is.
        """
        if len(_ALL_BYTES.decode(name, "replace")) < len(_ALL_BYTES):
            return _in_utf8(block, name)
        lines = block.splitlines(keepends=True)
        if not any(not line.isascii() and _decodes(line) for line in lines):
            return _in_utf8(block, name)
        self._seen.add(_UTF8)
        return b"".join(line if _decodes(line) else _in_utf8(line, name) for line in lines)

    def _found(self, block: bytes) -> str:
        if block.isascii():
            return _UTF8
        name = _UTF8
        if not _decodes(block) and (others := _others(block)):
            name = self._other = self._other or _looks_like(others)
        self._seen.add(name)
        return name

    def _wide_blocks(self, stream: BinaryIO, encoding: str) -> Iterator[bytes]:
        decoder = codecs.getincrementaldecoder(encoding)("vitrine-marked")
        rest = ""
        while chunk := stream.read(BLOCK_BYTES):
            text = rest + decoder.decode(chunk)
            text = text.replace("\r", "\n") if self._old_mac else text
            end = text.rfind("\n") + 1
            if end:
                yield text[:end].encode()
            rest = text[end:]
            _refuse_endless(len(rest))
        if rest := rest + decoder.decode(b"", final=True):
            yield rest.encode()


# --- inside ---


def _in_utf8(raw: bytes, encoding: str) -> bytes:
    return raw.decode(encoding, "vitrine-marked").encode()


def _known(encoding: str) -> str:
    try:
        name = codecs.lookup(encoding).name
        b"a\n".decode(name, "vitrine-marked")
    except (LookupError, TypeError, UnicodeError) as err:
        raise InputError(
            "an encoding that Python knows, such as utf-8, cp1252 or gb18030", f"--encoding {encoding}", "correct it"
        ) from err
    return _UTF8 if name == "utf-8-sig" else name


def _generic(name: str) -> str:
    return name.rpartition("-")[0]


def _wide(head: bytes) -> str | None:
    """UTF-16 without a mark: every other byte of ASCII text is zero."""
    some = head[: 2**12]
    if len(some) < 4 or b"\0" not in some:
        return None
    even, odd = some[::2].count(0) / len(some[::2]), some[1::2].count(0) / len(some[1::2])
    if max(even, odd) < 0.5 or min(even, odd) > 0.1:
        return None
    return "utf-16-be" if even > odd else "utf-16-le"


def _refuse_endless(size: int) -> None:
    if size > _MOST_LINE_BYTES:
        expected, came = "a feed of lines", f"{size:,} bytes without an end of line"
        raise InputError(expected, came, "name the map that the feed is of with --as, or the right --encoding")


def _others(block: bytes) -> list[bytes]:
    """Lines that are not UTF-8, where at least half of those beyond ASCII are not; else none."""
    lines = [line for line in block.splitlines(keepends=True) if not line.isascii()][:_SAMPLED_LINES]
    whole = lines if lines[-1].endswith(b"\n") else lines[:-1] or lines  # of a head the last line is cut
    others = [line for line in whole if not _decodes(line)]
    return others if 2 * len(others) >= len(whole) else []


def _looks_like(lines: list[bytes]) -> str:
    """The encoding that some lines look like."""
    from charset_normalizer import from_bytes

    sample = b"".join(lines)
    if (latin := latin_code_page(sample)) is not None:
        return latin
    if len(_BEYOND.findall(sample)) < _FEW and not _RUN.search(sample):
        with suppress(UnicodeDecodeError):
            sample.decode(_WESTERN)
            return _WESTERN
    best = from_bytes(sample).best()
    found = codecs.lookup(best.encoding).name if best is not None else _WESTERN
    try:  # several code pages say the same of a sample: the one that most feeds have is right of the rest
        return _WESTERN if sample.decode(_WESTERN) == sample.decode(found) else found
    except UnicodeDecodeError:
        return found


def _decodes(line: bytes) -> bool:
    try:
        line.decode(_UTF8)
    except UnicodeDecodeError:
        return False
    return True
