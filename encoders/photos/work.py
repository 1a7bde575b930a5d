"""How much work a photo is, told from its bytes without decoding them.

C decoders cannot be interrupted in a thread, and a small file can be hours of work: 75 bytes of JPEG are one more scan
over all pixels, a comment of GIF or a tag of TIFF can make its reader quadratic. A file of the ordinary make is bounded
by its pixels and bytes; what is not is decoded by a process that may be killed (decoder_process.py).

Worst cases measured, CPU ns: PNG of 16 bits with alpha 66 a pixel, WebP 53, AVIF 75; JPEG 25 a pixel at once, and
progressive 1 a pixel and scan beside 27 a byte.
"""

from __future__ import annotations

from PIL import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from encoders.photos.faults import format_of
from encoders.photos.limits import PhotoError, PhotoLimits

_PIXEL_SECONDS = 80e-9
_JPEG_SECONDS = {"pixel": 10e-9, "scan of a pixel": 1.5e-9, "byte": 30e-9}
_SCAN_SECONDS = 1e-9  # of a pixel, at least what any machine of today needs: beyond this nothing needs to be tried
_SAFE = 4  # machines may be slower than the one measured, by this factor
_MOST_PIXELS = 64_000_000  # decoded in this process: Pillow warns from 89 million on, whatever is allowed
# More of these than any photo has; each costs Pillow microseconds in Python, or a copy of all before it.
_MOST_SEGMENTS, _MOST_IDATS, _MOST_CHUNKS = 512, 10_000, 64
_MOST_EXIF = 2**16  # bytes; each of its entries may ask for a copy of all of it
_MOST_GIF = 2**20  # bytes; a comment of 20 MB is put together in 80,000 copies
_JPEG_BARE = {0x01, *range(0xD0, 0xDA)}  # markers without a length (ITU-T T.81, B.1.1.3)
_ARITHMETIC = {0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}  # frames that are not Huffman coded: ten times the work a byte


def is_unbounded(raw: bytes) -> bool:
    """Whether opening or decoding `raw` may cost more than its pixels and bytes say, by the make of the file."""
    kind = format_of(raw)
    if kind == "JPEG":
        return _odd_jpeg(raw)
    if kind == "PNG":
        return _odd_png(raw)
    if kind == "WebP":
        return _odd_webp(raw)
    if kind == "GIF":
        return len(raw) > _MOST_GIF
    if kind == "BMP":
        return int.from_bytes(raw[30:34], "little") in (1, 2)  # run lengths, which Pillow decodes in Python
    # TIFF holds any other codec, strips without number, and tags that overlap; AVIF grids, layers and sequences.
    return kind in ("TIFF", "AVIF")


def is_much_work(image: ImageFile.ImageFile, raw: bytes, limits: PhotoLimits) -> bool:
    """Whether decoding an opened file may come near its seconds; PhotoError where it certainly needs more."""
    pixels = image.width * image.height
    if not isinstance(image, JpegImageFile):
        return pixels > _MOST_PIXELS or pixels * _PIXEL_SECONDS * _SAFE > limits.max_seconds
    # In coded data FF is followed by 00 or a restart: FF DA is a scan, or a few bytes of a profile or a small preview.
    scans = raw.count(b"\xff\xda")
    if scans * pixels * _SCAN_SECONDS > limits.max_seconds:
        came = f"{scans:,} scans of {pixels:,} pixels"
        raise PhotoError("image_too_slow", f"more than {limits.max_seconds:g} s of work: {came}")
    costs = _JPEG_SECONDS
    seconds = pixels * (costs["pixel"] + scans * costs["scan of a pixel"]) + len(raw) * costs["byte"]
    return pixels > _MOST_PIXELS or seconds * _SAFE > limits.max_seconds


def claimed_size(raw: bytes) -> tuple[int, int] | None:
    """(width, height) that a TIFF or AVIF says, of AVIF the largest of its items; None where none is found."""
    kind = format_of(raw)
    if kind == "AVIF":
        return _avif_size(raw)
    return _tiff_size(raw) if kind == "TIFF" else None


def _odd_jpeg(raw: bytes) -> bool:
    at, exif = 2, 0
    for _ in range(_MOST_SEGMENTS):
        at = raw.find(b"\xff", at)
        if raw[at : at + 256] == b"\xff" * 256:
            return True
        while at >= 0 and raw[at + 1 : at + 2] == b"\xff":  # filled up in front
            at += 1
        code = raw[at + 1] if 0 <= at < len(raw) - 1 else 0xD9
        if code in (0xDA, 0xD9):
            return exif > _MOST_EXIF
        if code in _ARITHMETIC:
            return True
        length = 0 if code in _JPEG_BARE or code == 0 else int.from_bytes(raw[at + 2 : at + 4], "big")
        exif += length if code == 0xE1 and raw[at + 4 : at + 8] == b"Exif" else 0
        at += 2 + length
    return True


def _odd_png(raw: bytes) -> bool:
    at, idats, others = 8, 0, 0
    while at + 8 <= len(raw):
        length, kind = int.from_bytes(raw[at : at + 4], "big"), raw[at + 4 : at + 8]
        if kind == b"IEND":
            break
        if kind == b"IDAT":
            idats += 1
        else:
            others += 1
        if idats > _MOST_IDATS or others > _MOST_CHUNKS or (kind == b"eXIf" and length > _MOST_EXIF):
            return True
        at += 12 + length
    return False


def _odd_webp(raw: bytes) -> bool:
    at = 12
    for _ in range(_MOST_CHUNKS):
        length = int.from_bytes(raw[at + 4 : at + 8], "little")
        if raw[at : at + 4] == b"EXIF" and length > _MOST_EXIF:
            return True
        at += 8 + length + length % 2
        if at >= len(raw):
            return False
    return True


def _avif_size(raw: bytes) -> tuple[int, int] | None:
    """The largest box `ispe` (ISO 23008-12, 6.5.3: version, flags, width, height) in the first 64 kB."""
    head, at, found = raw[: 2**16], 0, list[tuple[int, int]]()
    while (at := head.find(b"ispe", at)) >= 0 and len(found) < _MOST_SEGMENTS:
        sides = (int.from_bytes(head[at + first : at + first + 4], "big") for first in (8, 12))
        found.append((next(sides), next(sides)))
        at += 4
    return max(found, key=lambda size: size[0] * size[1], default=None)


def _tiff_size(raw: bytes) -> tuple[int, int] | None:
    """ImageWidth and ImageLength (TIFF 6.0, tags 256 and 257) of the first IFD, of TIFF with 32 bits."""
    order: str = "little" if raw[:2] == b"II" else "big"

    def number(at: int, length: int) -> int:
        return int.from_bytes(raw[at : at + length], order)  # type: ignore[arg-type]

    if number(2, 2) != 42:
        return None
    ifd, sides = number(4, 4), dict[int, int]()
    for entry in range(ifd + 2, ifd + 2 + 12 * min(number(ifd, 2), _MOST_SEGMENTS), 12):
        if number(entry, 2) in (256, 257):
            sides[number(entry, 2)] = number(entry + 8, 2 if number(entry + 2, 2) == 3 else 4)
    return (sides[256], sides[257]) if len(sides) == 2 else None
