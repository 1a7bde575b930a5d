"""Photos without weights: the same bits, whatever they are encoded with."""

from __future__ import annotations

import numpy as np

from encoders.base import load_image
from encoders.types.photo_descriptors import Spec


def test_a_photo_alone_has_the_bits_that_it_has_among_others() -> None:
    """A night that encodes one photo anew writes what a fresh store writes, to the last bit."""
    drawn = np.random.default_rng(0).integers(0, 256, (40, 3), np.uint8)
    photos = [np.full((30, 20, 3), colour, np.uint8) for colour in drawn]
    encoder = load_image(Spec(), "cpu")
    whole = encoder.encode(photos)
    for size in (1, 2, 7):
        parts = [encoder.encode(photos[at : at + size]) for at in range(0, len(photos), size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
