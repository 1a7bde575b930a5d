"""Pillow opens and decodes photos: 8-bit RGB the right way up, or a PhotoError, whatever bytes come.

Only the formats of product photos are tried (Pillow knows 43, one of which starts Ghostscript), and size is judged from
the header, because 92 bytes of PNG can claim 100,000 x 100,000 pixels. Pillow's own limit of 179 million pixels is not
asked: the limits of the caller are the only ones.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from encoders.photos.faults import fault_of
from encoders.photos.limits import PhotoError, PhotoLimits
from encoders.photos.paths import ENDINGS
from foundation.arrays import Photo
from foundation.machine import machine_fault

JpegDecoder = Callable[[bytearray], Photo]  # (h, w, 3) RGB of a JPEG file, as stored

FORMATS = tuple(filter(None, ENDINGS))

# Pillow 12.3 raised the first four for 32,000 damaged files (2,000 each of 16 variants of the formats); the others
# guard header fields that chance did not reach. They hide no fault of ours: `guarded` wraps calls of Pillow, `_rgb`
# and `_decoded_by`. What says that the machine is at fault is no damage: see `guarded`.
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    RuntimeError,
    struct.error,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    SystemError,
    Warning,
)
_SCAN, _APP1 = 0xDA, 0xE1
_BARE = {0x00, 0x01, *range(0xD0, 0xDA)}  # stuffed zeros, and markers without a length
_ORIENTATION = 0x0112  # TIFF 6.0, tag 274; the values are those of the same page
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Result = TypeVar("Result")


def opened(raw: bytes, limits: PhotoLimits) -> ImageFile.ImageFile:
    """The image file in `raw`, its header read; PhotoError when it is none, or claims more pixels than are allowed."""
    check_pixels(_webp_size(raw), limits)
    image = guarded(raw, lambda: _by_its_plugin(raw))
    check_pixels(image.size, limits)
    return image


def pixels_of(image: ImageFile.ImageFile, raw: bytes, jpeg: JpegDecoder | None) -> Photo:
    """(h, w, 3) uint8 RGB of an opened file: upright, on white where transparent, the first frame of an animation.

    `jpeg` decodes JPEG of grey or RGB in place of Pillow. The rules above are the same for both.
    """
    if jpeg is not None and isinstance(image, JpegImageFile) and image.mode in ("L", "RGB"):
        pixels = guarded(raw, lambda: _decoded_by(jpeg, raw, image))
        transpose = _TRANSPOSE.get(_orientation(image))
        return pixels if transpose is None else np.array(Image.fromarray(pixels).transpose(transpose))
    guarded(raw, image.load)
    orientation = _orientation(image)
    upright = image.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else image
    return np.array(guarded(raw, lambda: _rgb(upright)))


def check_pixels(size: tuple[int, int], limits: PhotoLimits) -> None:
    """PhotoError when width x height is more than is allowed."""
    width, height = size
    if width * height > limits.max_pixels:
        came = f"{width:,} x {height:,} = {width * height:,}"
        raise PhotoError("image_too_large", f"more than {limits.max_pixels:,} pixels: {came}")


def guarded(raw: bytes, call: Callable[[], Result]) -> Result:
    """What `call` returns; PhotoError for whatever a decoder raises on damaged input.

    MemoryError, and what else may be the machine's fault, is raised as it is: OSErrors with a number (Pillow's own have
    none, all that it reads is in memory), and errors whose words tell it.
    """
    try:
        return call()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as err:
        raise PhotoError("image_too_large", f"more pixels in a part than Pillow takes: {err}") from err
    except _DAMAGED as err:
        if _is_of_machine(err):
            raise
        raise PhotoError("image_undecodable", fault_of(raw, err)) from err


def _is_of_machine(err: BaseException) -> bool:
    if isinstance(err, OSError):
        return err.errno is not None
    return machine_fault(err) is not None


def _by_its_plugin(raw: bytes) -> ImageFile.ImageFile:
    """`Image.open` for our formats, less its limit on pixels, which is global and would hide behind the caller's."""
    refused: Exception | None = None
    for name in FORMATS:
        if name not in Image.OPEN:
            Image.init()
        factory, accept = Image.OPEN[name]
        try:
            if accept is None or accept(raw[:16]) is True:
                image: ImageFile.ImageFile = factory(io.BytesIO(raw), "")
                return image
        except (SyntaxError, LookupError, TypeError, struct.error) as err:
            refused = err  # as Pillow: another format may look alike
    raise refused or SyntaxError("no known beginning")


def _decoded_by(jpeg: JpegDecoder, raw: bytes, image: JpegImageFile) -> Photo:
    """(h, w, 3) uint8 RGB, as stored; ValueError when they are not of the size that Pillow read in the header.

    Decoders that turn pictures find their EXIF in a segment APP1. Those are left out, so that Pillow's reading of it
    alone decides, whatever decodes.
    """
    pixels = jpeg(_without_app1(raw))
    if pixels.shape != (image.height, image.width, 3):
        raise ValueError(f"the header says {image.width} x {image.height} pixels, decoded were {pixels.shape}")
    return pixels


def _without_app1(raw: bytes) -> bytearray:
    """A JPEG file without the segments APP1 before its first scan (ITU-T T.81, B.1.1: markers and their lengths)."""
    out, at = bytearray(), 0
    while 0 <= (marker := raw.find(b"\xff", at)) < len(raw) - 3:
        code = raw[marker + 1]
        end = marker + 2 + int.from_bytes(raw[marker + 2 : marker + 4], "big")
        if code == _SCAN:
            break
        if code == 0xFF:  # a marker may be filled up in front
            end = marker + 1
        elif code in _BARE:
            end = marker + 2
        out += raw[at:marker] if code == _APP1 else raw[at:end]
        at = end
    return out + raw[at:]


def _webp_size(raw: bytes) -> tuple[int, int]:
    """The canvas of an extended WebP, else (0, 0): Pillow allocates two canvases before it tells the size.

    Layout: RIFF, size, WEBP, VP8X, size, flags, then width - 1 and height - 1 in 24 bits each (RFC 9649, 2.7).
    Plain WebP is at most 16,383 x 16,383 and takes its size from the picture itself.
    """
    if raw[:4] != b"RIFF" or raw[8:16] != b"WEBPVP8X" or len(raw) < 30:
        return 0, 0
    return int.from_bytes(raw[24:27], "little") + 1, int.from_bytes(raw[27:30], "little") + 1


def _orientation(image: ImageFile.ImageFile) -> int:
    """The EXIF orientation, 1 to 8. Damaged EXIF counts as none, as browsers have it: the picture itself is whole."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except _DAMAGED as err:
        if _is_of_machine(err):
            raise
        return 1
    return value if isinstance(value, int) else 1


def _rgb(image: Image.Image) -> Image.Image:
    """Any of Pillow's modes as 8-bit RGB."""
    if image.mode.startswith("I;16"):
        # convert() would clip at 255. 65535 / 257 = 255: the whole range is used, rounded to the nearest.
        deep = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((deep + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"{image.mode!r} pixels of 32 bits have no agreed white; save the photo with 8 or 16 bits")
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode == "RGBa" or image.has_transparency_data:
        colours = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # converting to the same mode would copy
