"""Photos as SigLIP2's NaFlex takes them: their shape kept, cut into patches, padded to one number of patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from encoders.networks.device import to_device
from encoders.networks.pixels import Framing, resize
from foundation.arrays import Photo

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Patches:
    """Patches of `side` x `side` pixels, at most `most` of a photo (arXiv 2502.14786, section 2.4.2)."""

    framing: Framing  # its filter, mean and deviation
    side: int
    most: int

    def prepare(self, photo: Photo) -> Photo:
        """(height, width, 3) uint8: as many whole patches as fit, in the photo's shape."""
        from transformers.models.siglip2.image_processing_siglip2 import get_image_size_for_max_num_patches

        height, width = get_image_size_for_max_num_patches(photo.shape[0], photo.shape[1], self.side, self.most)
        return resize(photo, height, width, self.framing.filter)

    def inputs(self, photos: Sequence[Photo], device: torch.device, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        """What the model's forward takes: patches (n, most, side * side * 3) float, their mask, rows and columns of
        each.
        """
        import torch

        shapes = np.array([(photo.shape[0] // self.side, photo.shape[1] // self.side) for photo in photos])
        mask = (np.arange(self.most) < shapes.prod(axis=1)[:, None]).astype(np.int64)
        pixels = np.zeros((len(photos), self.most, self.side**2, 3), dtype=np.uint8)
        for i, (photo, (rows, columns)) in enumerate(zip(photos, shapes, strict=True)):
            cut = photo.reshape(rows, self.side, columns, self.side, 3).swapaxes(1, 2)
            pixels[i, : rows * columns] = cut.reshape(rows * columns, self.side**2, 3)
        on = {
            name: to_device(array, device) for name, array in (("mask", mask), ("shapes", shapes), ("pixels", pixels))
        }
        mean, std = (torch.tensor(values, device=device) * 255 for values in (self.framing.mean, self.framing.std))
        patches = (on["pixels"].to(torch.float32) - mean) / std * on["mask"][:, :, None, None]
        return {
            "pixel_values": patches.flatten(2).to(dtype),
            "pixel_attention_mask": on["mask"],
            "spatial_shapes": on["shapes"],
        }
