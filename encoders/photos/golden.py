"""Which pixels the decoder of this machine gives: of small photos that ship in `golden/`, one of each kind.

What a decoder is, is decided by its pixels and not by its version: vectors of two machines compare where their pixels
are equal. The digests are part of each photo encoder's identity, format by format, so that a message can say which one
differs; the versions stand beside them for whoever has to mend it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import PIL
from blake3 import blake3

from encoders.photos import pixels as photo_pixels
from encoders.photos.limits import PhotoError, PhotoLimits
from foundation.identity import identity_of

FOLDER = Path(__file__).parent / "golden_files"
PIXELS = "pixels of "  # how the parts of an identity begin that only photos' vectors depend on
_FORMATS = {".avif": "AVIF", ".bmp": "BMP", ".gif": "GIF", ".jpg": "JPEG", ".png": "PNG", ".tiff": "TIFF"}
_FORMATS |= {".webp": "WebP"}
# The name of what decodes so, by the digest over all formats: that of the version in which it was seen first. Stores
# were made under this name, so it stays, whatever later versions give the same pixels.
_NAMED = {"7fd258f6a70ae5e3a34d056fecfbc258": "pillow 12.3.0"}


def golden_photos(suffix: str = "") -> list[bytes]:
    """The files, in the order of their names; of one suffix, such as `.jpg`, if it is given."""
    paths = sorted(path for path in FOLDER.iterdir() if path.suffix in _FORMATS and path.name.endswith(suffix))
    return [path.read_bytes() for path in paths]


def pixel_digests() -> dict[str, str]:
    """`pixels of JPEG` and so on -> 16 hex digits, or what went wrong: measured once per process and decoder."""
    return dict(_measured(PIL.__version__, photo_pixels.pixels_of))


def decoder_name() -> str:
    """What stands for the decoder in identities: the same wherever it gives the same pixels."""
    digest = identity_of(pixel_digests())[:32]
    return _NAMED.get(digest, f"pixels {digest}")


def pixels_by_pillow(raw: bytes) -> Any:
    """(h, w, 3) uint8 RGB of one of the files, decoded here: each takes far less than a millisecond."""
    with photo_pixels.opened(raw, PhotoLimits()) as image:
        return photo_pixels.pixels_of(image, raw, None)


@lru_cache(maxsize=8)
def _measured(version: str, decode: object) -> tuple[tuple[str, str], ...]:
    hashers = {kind: blake3() for kind in _FORMATS.values()}
    faults: dict[str, str] = {}
    for path in sorted(FOLDER.iterdir()):
        kind = _FORMATS.get(path.suffix)
        if kind is None:
            continue
        try:
            pixels = pixels_by_pillow(path.read_bytes())
        except PhotoError as err:
            faults[kind] = str(err.code)
            continue
        hashers[kind].update(str(pixels.shape).encode() + pixels.tobytes())
    return tuple((PIXELS + kind, faults.get(kind) or hasher.hexdigest()[:16]) for kind, hasher in hashers.items())
