"""JPEG by torchcodec: the same pixels as Pillow's; with the resize, 1.3 times as fast (`benchmarks/encode.py`).

Only encoders that load torch anyway use it; importing torch costs seconds. torchvision's decoders are not used: they
are deprecated, and damaged PNGs kill the process. torchcodec survived 7,500 damaged files.
"""

from __future__ import annotations

from importlib.metadata import version

from encoders.base import Photo
from encoders.errors import InputError
from encoders.photo import PhotoLimits, decode


def decode_photo(raw: bytes, limits: PhotoLimits) -> Photo:
    """(h, w, 3) uint8 RGB of an image file, or PhotoError: `encoders.photo.decode` with a faster decoder of JPEG."""
    return decode(raw, limits, _decode_jpeg)


def jpeg_identity() -> str:
    """torchcodec and its version."""
    return f"torchcodec {version('torchcodec')}"


def check_torchcodec() -> None:
    """InputError when torchcodec does not load: its wheels are built for one torch, and nothing makes them agree."""
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, OSError, RuntimeError) as err:
        import torch

        came = f"torchcodec {version('torchcodec')} does not load beside torch {torch.__version__}: {err}"
        raise InputError("a torchcodec that fits torch", came, "install both from one place: make setup") from err


def _decode_jpeg(raw: bytearray) -> Photo:
    import torch
    from torchcodec.decoders import decode_jpeg

    # Of bytes it would make a tensor itself, under warnings.catch_warnings, which is not safe in several threads.
    photo: Photo = decode_jpeg(torch.frombuffer(raw, dtype=torch.uint8), mode="RGB").permute(1, 2, 0).numpy()
    return photo
