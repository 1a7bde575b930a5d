"""JPEG by torchcodec: the same pixels as Pillow's; with the resize, 1.3 times as fast (`benchmarks/encode.py`).

Only encoders that load torch anyway use it; importing torch costs seconds. torchvision's decoders are not used: they
are deprecated, and damaged PNGs kill the process. torchcodec survived 7,500 damaged files.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib.metadata import version

import numpy as np
import PIL

from encoders.photos.c_messages import are_kept, messages
from encoders.photos.decode import PhotoLimits, decode
from encoders.photos.foreign import note
from encoders.photos.golden import golden_photos, pixels_by_pillow
from encoders.photos.pixels import JpegDecoder, opened, pixels_of
from foundation.arrays import Photo
from foundation.errors import InputError

_log = logging.getLogger(__name__)

# In identities. Pillow's pixels decide; torchcodec's are held against them, see `check_torchcodec`. The version is that
# under which stores were made first.
JPEG_IDENTITY = "torchcodec 0.17.0"


def decode_photo(raw: bytes, limits: PhotoLimits) -> Photo:
    """(h, w, 3) uint8 RGB of an image file, or PhotoError: `photos.decode.decode` with a faster decoder of JPEG."""
    return decode(raw, limits, _faster())


def jpeg_identity() -> str:
    """torchcodec and its version, for people."""
    return f"torchcodec {version('torchcodec')}"


def check_torchcodec() -> None:
    """InputError when torchcodec does not load: its wheels are built for one torch, and nothing makes them agree.

    One that loads, and gives other pixels than Pillow, is not used: a store's vectors are those of Pillow's pixels.
    """
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, OSError, RuntimeError) as err:
        import torch

        came = f"{jpeg_identity()} does not load beside torch {torch.__version__}: {err}"
        raise InputError("a torchcodec that fits torch", came, "install both from one place: make setup") from err
    _faster()


@cache
def _faster() -> JpegDecoder | None:
    """torchcodec, where it gives Pillow's pixels of every JPEG of `golden/`; else None, and Pillow decodes.

    Nor where what its libjpeg prints of a damaged file could not be told with the file's name. Pillow's prints nothing.
    """
    if not are_kept():
        _log.info("Pillow decodes JPEG: what torchcodec prints on this system would name no photo")
        return None
    for raw in golden_photos(".jpg"):
        with opened(raw, PhotoLimits()) as image:
            if not np.array_equal(pixels_of(image, raw, _decode_jpeg), pixels_by_pillow(raw)):
                said = f"{jpeg_identity()} gives other pixels than Pillow {PIL.__version__}"
                _log.warning("%s: Pillow decodes JPEG, which takes longer", said)
                return None
    return _decode_jpeg


def _decode_jpeg(raw: bytearray) -> Photo:
    import torch
    from torchcodec.decoders import decode_jpeg

    lines: list[str] = []
    try:
        with messages() as lines:
            # Of bytes it would make a tensor itself, under warnings.catch_warnings, which is not safe in threads.
            photo: Photo = decode_jpeg(torch.frombuffer(raw, dtype=torch.uint8), mode="RGB").permute(1, 2, 0).numpy()
    finally:
        for line in lines:
            note(f"libjpeg: {line}")
    return photo
