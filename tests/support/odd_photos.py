"""Texts and photos of every shape, on which a tower must give what its model's own code gives."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

TEXTS = [
    "red dress",
    "a",
    "红色连衣裙",
    "!?",
    " ",
    "",
    "blue shirt " * 40,
    "T恤 2024",
    "red dress",
    "white socks for men",
]


FLOORS = {"fp32": 0.9999, "bf16": 0.999}


def files() -> list[bytes]:
    """Photos as files: wide, high, small, grey, with alpha, a line; each with structure, as photos have."""
    rng = np.random.default_rng(11)
    drawn = []
    for mode, size in [("RGB", (90, 60)), ("RGB", (33, 70)), ("L", (64, 64)), ("RGBA", (50, 41)), ("RGB", (12, 9))]:
        channels = len(mode)
        coarse = Image.fromarray(rng.integers(0, 256, (4, 5, channels), dtype=np.uint8).squeeze(), mode)
        drawn.append(coarse.resize(size, Image.Resampling.BICUBIC))
    drawn.append(Image.fromarray(rng.integers(0, 256, (3, 31, 3), dtype=np.uint8)))
    encoded = []
    for image in drawn:
        image.save(file := io.BytesIO(), "PNG")
        encoded.append(file.getvalue())
    return encoded


def on_white(raw: bytes) -> Image.Image:
    """What a viewer shows: Pillow's own composition, where the file has alpha."""
    image = Image.open(io.BytesIO(raw))
    if image.mode != "RGBA":
        return image.convert("RGB")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white
