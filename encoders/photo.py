"""Decoding photos from anywhere: what comes out is 8-bit RGB the right way up, or a PhotoError with a reason code.

The decoder is Pillow: it survived 7,500 damaged files where others crashed the process. Only the formats of product
photos are tried (Pillow knows 43, one of which starts Ghostscript), and size is judged from the header, because 92
bytes of PNG can claim 100,000 x 100,000 pixels.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import PIL
from PIL import Image, ImageFile

from encoders.base import Photo

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "BMP", "TIFF")

# Pillow 12.3 raised the first four for 32,000 damaged files (2,000 each of 16 variants of the formats); the others
# guard header fields that chance did not reach. They hide no fault of ours: `_guarded` wraps calls of Pillow, and
# `_rgb`.
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
    MemoryError,
    SystemError,
    Warning,
)
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


@dataclass(frozen=True)
class PhotoLimits:
    """The largest photo that is decoded: bytes of the file, pixels of the picture."""

    max_bytes: int = 20 * 2**20
    max_pixels: int = 50_000_000


class PhotoError(Exception):
    """A photo that cannot be used. `code` is the reason of the reject: `image_undecodable`, `image_too_large`, ..."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


def decode(raw: bytes, limits: PhotoLimits) -> Photo:
    """(h, w, 3) uint8 RGB of an image file: upright, on white where transparent, the first frame of an animation."""
    if len(raw) > limits.max_bytes:
        raise PhotoError("image_too_large", f"at most {limits.max_bytes} bytes are decoded, the file has {len(raw)}")
    _check_pixels(_webp_size(raw), limits)
    with _guarded(lambda: Image.open(io.BytesIO(raw), formats=FORMATS)) as image:
        _check_pixels(image.size, limits)
        _guarded(image.load)
        orientation = _orientation(image)
        upright = image.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else image
        return np.array(_guarded(lambda: _rgb(upright)))


def decoder_identity() -> str:
    """The decoder and its version: another one gives other pixels, so it belongs into every fingerprint."""
    return f"pillow {PIL.__version__}"


def _guarded(call: Callable[[], Result]) -> Result:
    """What `call` returns; PhotoError for whatever Pillow raises on damaged input."""
    try:
        return call()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as err:
        raise PhotoError("image_too_large", str(err)) from err
    except _DAMAGED as err:
        known = ", ".join(FORMATS)
        raise PhotoError("image_undecodable", f"no whole {known} photo ({type(err).__name__})") from err


def _check_pixels(size: tuple[int, int], limits: PhotoLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        came = f"the header claims {width} x {height} = {width * height}"
        raise PhotoError("image_too_large", f"at most {limits.max_pixels} pixels are decoded, {came}")


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
    except _DAMAGED:
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
    return image.convert("RGB")
