"""Why bytes are no photo, in words that lead to the cause: a page of HTML, half a download, another format.

`expected` of a decoder is always the same; what its reader wants to know is what came.
"""

from __future__ import annotations

import re

_OTHERS = (  # beginnings of what lies where photos should: (where, bytes, what it is)
    (0, b"%PDF", "PDF, not a photo"),
    (0, b"8BPS", "Photoshop's format is not read"),
    (0, b"\xff\x0a", "JPEG XL is not read"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL is not read"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000 is not read"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000 is not read"),
    (0, b"%!PS", "PostScript is not read"),
    (0, b"\xc5\xd0\xd3\xc6", "PostScript is not read"),
    (0, b"\x00\x00\x01\x00", "icons are not read"),
    (0, b"PK\x03\x04", "ZIP, not a photo"),
    (0, b"\x1f\x8b", "gzip, not a photo"),
    (0, b"PAR1", "Parquet, not a photo"),
    (0, b"\x1aE\xdf\xa3", "video, not a photo"),
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the photo itself"),
    (4, b"ftyphei", "HEIC is not read"),
    (4, b"ftyphev", "HEIC is not read"),
    (4, b"ftypmif1", "HEIC is not read"),
    (4, b"ftypmp4", "video, not a photo"),
    (4, b"ftypisom", "video, not a photo"),
    (4, b"ftypqt", "video, not a photo"),
)
_MARKUP = (
    (re.compile(rb"\s*(<!doctype html|<html|<head|<body)", re.I), "HTML, not a photo"),
    (re.compile(rb"\s*(<\?xml.*?)?(<!--.*?-->\s*)?(<!doctype svg.*?)?<svg", re.I | re.DOTALL), "SVG is not read"),
    (re.compile(rb"\s*<\?xml", re.I), "XML, not a photo"),
    (re.compile(rb"\s*[\[{]\s*[\"\]}]"), "JSON, not a photo"),
)  # fmt: skip
_LOOKED_AT = 4096  # bytes that tell what a file is


def fault_of(raw: bytes, err: BaseException) -> str:
    """What is wrong with `raw`, at which a decoder raised `err`: fixed words, then behind `: ` what is this one's."""
    if not raw:
        return "empty: 0 bytes"
    kind = format_of(raw)
    if kind is None:
        return _other(raw)
    claimed = _claimed_bytes(raw, kind)
    if claimed is not None and claimed > len(raw):
        least = "at least " if kind == "PNG" else ""
        return f"truncated {kind}: {len(raw):,} of {least}{claimed:,} bytes"
    if isinstance(err, MemoryError):
        return f"{kind} that needs more memory than a photo may take: {len(raw):,} bytes in the file"
    if kind == "JPEG" and b"\xff\xd9" not in raw[-1024:]:
        return f"truncated JPEG: {len(raw):,} bytes without its end"
    return f"damaged {kind}: {plain_words(err)}"


def format_of(raw: bytes) -> str | None:
    """Which of our formats `raw` begins as; None for any other."""
    beginnings = {
        b"\xff\xd8\xff": "JPEG",
        b"\x89PNG\r\n\x1a\n": "PNG",
        b"GIF87a": "GIF",
        b"GIF89a": "GIF",
        b"BM": "BMP",
    }
    for beginning, kind in beginnings.items():
        if raw.startswith(beginning):
            return kind
    if raw[:4] == b"RIFF" and raw[8:12] == b"WEBP":
        return "WebP"
    if raw[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):  # the last two are BigTIFF
        return "TIFF"
    return "AVIF" if raw[4:8] == b"ftyp" and b"avi" in raw[8:64] else None


def plain_words(err: BaseException, most: int = 120) -> str:
    """A foreign error in one line of printable characters, with its type."""
    told = "".join(character if character.isprintable() else " " for character in str(err))
    told = re.sub(r" at 0x[0-9a-f]+", "", " ".join(told.split()))
    name = type(err).__name__
    return f"{name}: {told[:most]}" if told else name


def _other(raw: bytes) -> str:
    head = raw[:_LOOKED_AT]
    for at, beginning, what in _OTHERS:
        if head.startswith(beginning, at):
            return what
    for pattern, what in _MARKUP:
        if pattern.match(head):
            return what
    if not any(head):
        return f"zeros, not a photo: {len(raw):,} bytes"
    shown = head[:40].decode("ascii", "replace")
    if shown.isprintable() and shown.isascii():
        return f"text, not a photo: it begins {shown!r}"
    return f"no JPEG, PNG, WebP, GIF, AVIF, BMP or TIFF: it begins with the bytes {head[:8].hex(' ')}"


def _claimed_bytes(raw: bytes, kind: str) -> int | None:
    """How long the file says that it is; None where it does not."""
    if kind == "WebP":
        return 8 + int.from_bytes(raw[4:8], "little")
    if kind == "BMP":
        return int.from_bytes(raw[2:6], "little")
    return _png_end(raw) if kind == "PNG" else None


def _png_end(raw: bytes) -> int | None:
    """Where a PNG ends at the earliest, by its chunks: beyond the file's own end when that was cut."""
    at = 8
    for _ in range(100_000):
        if at + 8 > len(raw):
            return at + 12  # no chunk is shorter
        kind, at = raw[at + 4 : at + 8], at + 12 + int.from_bytes(raw[at : at + 4], "big")
        if not kind.isalpha():
            return None  # damaged before its end
        if kind == b"IEND":
            return at
        if at > len(raw):
            return at + 12  # the chunk that is cut, and the end
    return None
