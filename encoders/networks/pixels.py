"""Photos as networks want them: resized with an antialiased filter and cropped as uint8, normalised on the device.

torch resizes uint8 pixels directly; it differs from Pillow in fewer than 1 value of 100, by at most 2 of 255, and is
the resizer that transformers' own image processors use. It gives the GIL back, so decoding threads run side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from blake3 import blake3
from PIL import Image

from encoders.networks.device import Room, convolutional, encode_distinct, to_device
from encoders.networks.jpeg import JPEG_IDENTITY, check_torchcodec
from encoders.photos.decode import decoder_identity
from encoders.photos.golden import golden_photos, pixels_by_pillow
from foundation.arrays import Photo, Vectors
from foundation.errors import InputError

if TYPE_CHECKING:
    import torch

Filter = Literal["bilinear", "bicubic"]
_PILLOW_FILTERS: dict[int, Filter] = {2: "bilinear", 3: "bicubic"}  # the values of Pillow's Resampling
_MOST_OBLONG = 16  # see _centre
# Photos in one forward, by kind of device. A CPU gains nothing beyond; the large maps of a convolutional network stay
# nearer to its caches by 8 (resnet50: 1.8 times as fast as by 32).
PHOTOS = {"cpu": 32, "cuda": 256}
_CONVOLUTIONAL = 8


@dataclass(frozen=True)
class Framing:
    """How photos come to the size of a network: (height, width) to resize to, or the length of the shorter side."""

    size: tuple[int, int] | int
    crop: tuple[int, int] | None  # of the centre: (height, width)
    filter: Filter
    mean: tuple[float, ...]  # of the values 0..1
    std: tuple[float, ...]
    rounds: bool = False  # the crop's corner: torchvision rounds half a pixel to even, transformers cuts it off


# In identities: the resizer as torch had it when stores were made first. `check_resizer` holds the torch in use to it.
_RESIZER = "torch 2.15.0 antialias uint8"
_OFF = 2  # of 255, at most, from Pillow's


def pixel_provenance() -> dict[str, str]:
    """What decides the pixels besides the model's own files; read without torch."""
    return {"decoder": f"{decoder_identity()}, {JPEG_IDENTITY}", "resizer": _RESIZER}


@cache
def check_resizer() -> None:
    """InputError when this torch resizes otherwise than the one that identities name: by more than 2 of 255 from
    Pillow, which resizes the same everywhere.
    """
    filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    for raw in golden_photos(".png"):
        photo = pixels_by_pillow(raw)
        for name, resampling in filters.items():
            expected = np.asarray(Image.fromarray(photo).resize((16, 12), resampling)).astype(int)
            off = int(np.abs(resize(photo, 12, 16, cast(Filter, name)) - expected).max())
            if off > _OFF:
                raise InputError(
                    f"a torch that resizes photos as Pillow does, to {_OFF} of 255",
                    f"torch {version('torch')}: {off} off, {name}",
                    "install the torch of requirements/*.lock: make setup",
                )


@dataclass(frozen=True)
class Frames:
    """Photos of one size, for a forward that takes `pixel_values`."""

    framing: Framing

    def prepare(self, photo: Photo) -> Photo:
        """(height, width, 3) uint8 of the size that the framing ends with, of (h, w, 3) uint8 RGB."""
        framing = self.framing
        if isinstance(framing.size, int):
            photo = _centre(photo)
            short = min(photo.shape[:2])
            # As torchvision and transformers have it: the longer side is cut, not rounded.
            height, width = (framing.size * side // short for side in photo.shape[:2])
        else:
            height, width = framing.size
        resized = resize(photo, height, width, framing.filter)
        return np.ascontiguousarray(_cropped(resized, framing.crop, framing.rounds) if framing.crop else resized)

    def inputs(self, photos: Sequence[Photo], device: torch.device, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        """`pixel_values` (n, 3, height, width) float on `device`: 0..1, less the mean, by the deviation."""
        import torch

        pixels = to_device(np.stack(photos), device).permute(0, 3, 1, 2).to(torch.float32)
        mean, std = (
            torch.tensor(values, device=device).view(1, -1, 1, 1) * 255
            for values in (self.framing.mean, self.framing.std)
        )
        return {"pixel_values": ((pixels - mean) / std).to(dtype)}


def photos_at_once(network: torch.nn.Module, device: torch.device) -> int:
    """How many photos go into one forward of `network`.

    One that is `convolutional` is laid out channels last on a CPU: its convolutions are made so, and depthwise ones are
    ten times as slow otherwise. The vectors are the same to rounding.
    """
    import torch

    if device.type != "cpu" or not convolutional(network):
        return PHOTOS[device.type]
    network.to(memory_format=torch.channels_last)
    return _CONVOLUTIONAL


def check_pixels_here() -> None:
    """InputError where the decoder of JPEG does not load, or the resizer gives other pixels than identities name."""
    check_torchcodec()
    check_resizer()


def resize(photo: Photo, height: int, width: int, filter_name: Filter) -> Photo:
    """(height, width, 3) uint8, antialiased, of (h, w, 3) uint8."""
    if photo.shape[:2] == (height, width):
        return photo
    import torch

    # The new axis stands first when the others are permuted: so torch sees channels last, and keeps them last.
    pixels = torch.from_numpy(np.require(photo, requirements=["C", "W"]))[None].permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(pixels, (height, width), mode=filter_name, antialias=True)
    out: Photo = resized.permute(0, 2, 3, 1)[0].numpy()
    return out


def photo_keys(photos: Sequence[Photo]) -> list[Hashable]:
    """What is equal for equal prepared photos only."""
    return [(photo.shape, blake3(photo.tobytes()).digest()) for photo in photos]


def encode_photos(photos: Sequence[Photo], forward: Callable[[Sequence[Photo]], Vectors], room: Room) -> Vectors:
    """(n, d) float32, in the order of `photos`: equal ones once, in pieces that fit `room`."""
    vectors, places = encode_distinct(photos, photo_keys(photos), [1] * len(photos), forward, room)
    result: Vectors = vectors[places]
    return result


def processor_framing(processor: Any, where: Path) -> Framing:
    """What the settings of a transformers image processor say; InputError for a step that is not known here."""
    size = {key: value for key, value in dict(processor.size or {}).items() if value is not None}
    if size.keys() == {"shortest_edge"}:
        target: tuple[int, int] | int = size["shortest_edge"]
    elif size.keys() == {"height", "width"}:
        target = (size["height"], size["width"])
    else:
        raise _unknown(where, f"size: {size}")
    crop = (processor.crop_size["height"], processor.crop_size["width"]) if processor.do_center_crop else None
    if isinstance(target, int) and crop is None:
        raise _unknown(where, "photos of many sizes: resized by the shorter side and not cropped")
    return framing_of(processor, where, target, crop)


def framing_of(processor: Any, where: Path, size: tuple[int, int] | int, crop: tuple[int, int] | None) -> Framing:
    """`size` and `crop` with the filter, mean and deviation of an image processor."""
    steps = {name: getattr(processor, name) for name in ("do_resize", "do_rescale", "do_normalize")}
    if not all(steps.values()) or abs(processor.rescale_factor * 255 - 1) > 1e-6:
        raise _unknown(where, f"{steps}, rescale_factor {processor.rescale_factor}")
    if int(processor.resample) not in _PILLOW_FILTERS:
        raise _unknown(where, f"resample: {processor.resample}")
    mean, std = tuple(processor.image_mean), tuple(processor.image_std)
    return Framing(size, crop, _PILLOW_FILTERS[int(processor.resample)], mean, std)


def _unknown(where: Path, came: str) -> InputError:
    return InputError(
        "photos resized (bilinear or bicubic), cropped at the centre, scaled to 0..1, normalised, all of one size",
        f"the image settings of {where}: {came}",
        "choose another model",
    )


def _centre(photo: Photo) -> Photo:
    """The middle of a photo that is more oblong than 16 to 1, else all of it.

    The crop that follows keeps a square of its middle anyway, and resizing a line of 1 x 10,000 pixels by its shorter
    side would take gigabytes.
    """
    height, width = photo.shape[:2]
    short = min(height, width)
    top, left = (max(0, (side - _MOST_OBLONG * short) // 2) for side in (height, width))
    return photo[top : height - top, left : width - left]


def _cropped(photo: Photo, crop: tuple[int, int], rounds: bool) -> Photo:
    """The centre; black is added around what is too small, as both libraries do."""
    for axis, side in enumerate(crop):
        lacking = side - photo.shape[axis]
        if lacking > 0:
            around = [(0, 0)] * 3
            around[axis] = (lacking // 2, (lacking + 1) // 2)
            photo = np.pad(photo, around)
        else:
            start = round(-lacking / 2) if rounds else -lacking // 2
            photo = photo[start : start + side] if axis == 0 else photo[:, start : start + side]
    return photo
