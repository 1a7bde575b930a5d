"""What a learned fusion's network takes: towers' rows as tensors, absent ones zeros, states padded to the longest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from encoders.fusion.base import States
from encoders.networks.device import to_device
from foundation.arrays import Mask, Vectors

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Rows:
    """n items or queries as arrays: (n, dt) and (n, di) float32, which of them are there, and their states if read."""

    text: Vectors
    image: Vectors
    has_text: Mask
    has_image: Mask
    states: States | None = None

    def __len__(self) -> int:
        return len(self.text)

    def piece(self, start: int, end: int) -> Rows:
        """Rows start to end - 1."""
        rows = slice(start, end)
        states = self.states and States(self.states.text[rows], self.states.image[rows])
        return Rows(self.text[rows], self.image[rows], self.has_text[rows], self.has_image[rows], states)


@dataclass(frozen=True)
class Padded:
    """States of n rows: (n, longest, s) float, and (n, longest) bool, True where one stands."""

    states: torch.Tensor
    there: torch.Tensor


@dataclass(frozen=True)
class Inputs:
    """`Rows` on a device: vectors (n, d) float, masks (n,) bool."""

    text: torch.Tensor
    image: torch.Tensor
    has_text: torch.Tensor
    has_image: torch.Tensor
    text_states: Padded | None = None
    image_states: Padded | None = None

    @classmethod
    def of(cls, rows: Rows, device: torch.device) -> Inputs:
        """`rows` on `device`. What stands under a False mask counts as zeros."""
        text = np.where(rows.has_text[:, None], rows.text, 0).astype(np.float32)
        image = np.where(rows.has_image[:, None], rows.image, 0).astype(np.float32)
        states = rows.states
        return cls(
            to_device(text, device),
            to_device(image, device),
            to_device(rows.has_text, device),
            to_device(rows.has_image, device),
            None if states is None else _padded(states.text, rows.has_text, device),
            None if states is None else _padded(states.image, rows.has_image, device),
        )


def _padded(states: Sequence[npt.NDArray[np.floating[Any]]], has: Mask, device: torch.device) -> Padded:
    """States of any float type, one array for each row; none of an absent row is read."""
    lengths = [len(row) if there else 0 for row, there in zip(states, has.tolist(), strict=True)]
    width = next((row.shape[1] for row, length in zip(states, lengths, strict=True) if length), 0)
    out = np.zeros((len(lengths), max(lengths, default=0), width), dtype=np.float32)
    for i, length in enumerate(lengths):
        if length:
            out[i, :length] = states[i]
    there = np.arange(out.shape[1]) < np.array(lengths, dtype=np.int64)[:, None]
    return Padded(to_device(out, device), to_device(there, device))
