"""A product's photo as a shopper might have taken it: nearer or askew, in another light, less sharp, compressed again.

Queries by photo are asked with photos that no catalog has. An index that is tuned with the catalog's own finds less of
those: tuned to 0.95, 0.893 of what was asked with 296 photos taken by phone.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from foundation.arrays import Photo

_SIDE = (0.6, 1.0)  # of each side that is seen
_TURNED = 12.0  # degrees at most
_LIGHT = (0.6, 1.4)  # brightness, contrast and colour, times what they are
_BLUR = 0.01  # of the shorter side at most: the radius
_QUALITY = (40, 90)  # of JPEG
_MOST = 1024  # pixels of the longer side: encoders look at fewer


def as_taken(photo: Photo, rng: np.random.Generator) -> Photo:
    """A view of a photo, (h, w, 3) uint8, drawn by `rng`."""
    image = Image.fromarray(photo)
    image.thumbnail((_MOST, _MOST))
    if rng.random() < 0.5:
        image = image.rotate(rng.uniform(-_TURNED, _TURNED), Image.Resampling.BILINEAR, fillcolor=_edge(image))
    width, height = (max(1, round(side * rng.uniform(*_SIDE))) for side in image.size)
    left, top = (int(rng.integers(0, room + 1)) for room in (image.width - width, image.height - height))
    image = image.crop((left, top, left + width, top + height))
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = change(image).enhance(rng.uniform(*_LIGHT))
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, _BLUR) * min(image.size)))
    raw = io.BytesIO()
    image.save(raw, "JPEG", quality=int(rng.integers(*_QUALITY)))
    return np.asarray(Image.open(raw).convert("RGB"))


def _edge(image: Image.Image) -> Any:
    """The colour of the first pixel: what is left free when a photo is turned looks like its background."""
    return image.getpixel((0, 0))
