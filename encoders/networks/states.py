"""What towers give besides their vectors: the states of tokens and patches, for fusions that read these."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, TypeVar

from encoders.base import Encoded
from encoders.networks.device import Room, encode_distinct
from foundation.arrays import Vectors

if TYPE_CHECKING:
    import torch

Row = TypeVar("Row")


def encode_with_states(
    rows: Sequence[Row],
    keys: Sequence[Hashable],
    lengths: Sequence[int],
    forward: Callable[[Sequence[Row]], Encoded],
    room: Room,
) -> Encoded:
    """Vectors and states in the order of `rows`: equal keys once, the shortest first, in pieces that fit `room`.

    `lengths` are what rows take of the room.
    """
    states: list[Vectors] = []

    def recorded(piece: Sequence[Row]) -> Vectors:
        found = forward(piece)
        states.extend(found.states)  # after it: a piece that does not fit leaves nothing, and is tried again in halves
        return found.vectors

    vectors, places = encode_distinct(rows, keys, lengths, recorded, room)
    return Encoded(vectors[places], [states[place] for place in places.tolist()])


def ragged(states: torch.Tensor, lengths: Sequence[int]) -> list[Vectors]:
    """The first `lengths[i]` states of each row i of (n, length, s), as (lengths[i], s) float32 on the host."""
    host: Vectors = states.float().cpu().numpy()
    return [row[:length].copy() for row, length in zip(host, lengths, strict=True)]
