"""The bytes of a delimited feed as blocks of whole lines in UTF-8, whatever they are encoded in.

What does not decode is marked, not replaced: the rows that have it are counted as bad, with what stood there.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO

from foundation.errors import InputError

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
    """The blocks of one file: `encoding` is as given, or found; None as long as all of it was ASCII."""

    def __init__(self, head: bytes, encoding: str | None) -> None:
        self.bom, self.encoding = 0, encoding and _known(encoding)
        for mark, name in _BOMS:
            if head.startswith(mark) and (self.encoding in (None, name, _generic(name))):
                self.bom, self.encoding = len(mark), name
                break
        if self.encoding is None:
            self.encoding = _wide(head)
        self._old_mac = b"\r" in head and b"\n" not in head  # whose lines end with a carriage return alone
        if self.encoding in ("utf-16", "utf-32"):
            self.encoding += "-le"

    def text(self, head: bytes) -> str:
        """The whole lines of a head, for whoever looks for the dialect."""
        self._settle(head[self.bom :])
        found = head[self.bom :].decode(self.encoding or _UTF8, "replace")
        found = found.replace("\r", "\n") if self._old_mac else found
        return found[: found.rfind("\n") + 1] or found

    def blocks(self, stream: BinaryIO) -> Iterator[bytes]:
        """UTF-8 of the file's lines, in blocks that end with one; the last may lack its end of line."""
        stream.read(self.bom)
        if self.encoding in _WIDE:
            yield from self._wide_blocks(stream)
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
        self._settle(block)
        if self.encoding in (None, _UTF8, "ascii"):
            try:
                block.decode(_UTF8)
            except UnicodeDecodeError:
                return block.decode(_UTF8, "vitrine-marked").encode()
            return block
        return block.decode(self.encoding, "vitrine-marked").encode()

    def _settle(self, block: bytes) -> None:
        """Decide on the encoding at the first bytes that ASCII does not have."""
        if self.encoding is None and not block.isascii():
            self.encoding = _found(block)

    def _wide_blocks(self, stream: BinaryIO) -> Iterator[bytes]:
        decoder = codecs.getincrementaldecoder(self.encoding or _UTF8)("vitrine-marked")
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


def _known(encoding: str) -> str:
    try:
        name = codecs.lookup(encoding).name
        "".encode(name)
    except (LookupError, TypeError) as err:
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


def _found(block: bytes) -> str:
    """UTF-8 where at least as many lines beyond ASCII are as are not, else what a sample of the others looks like."""
    lines = [line for line in block.splitlines(keepends=True) if not line.isascii()][:_SAMPLED_LINES]
    whole = lines if lines[-1].endswith(b"\n") else lines[:-1] or lines  # of a head the last line is cut
    others = [line for line in whole if not _decodes(line)]
    if 2 * len(others) < len(whole) or not others:
        return _UTF8
    from charset_normalizer import from_bytes

    sample = b"".join(others)
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
