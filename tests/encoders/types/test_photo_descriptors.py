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


def test_the_middle_counts_by_itself_only_where_it_is_asked_for() -> None:
    """Frames around one thing are told apart by the whole, and much less where the middle counts; without it there is
    nothing new in what names an encoder.
    """
    drawn = np.random.default_rng(1).integers(0, 256, (2, 80, 120, 3), np.uint8)
    drawn[:, 20:60, 30:90] = drawn[0, 20:60, 30:90]
    drawn[1, :20], drawn[1, 60:] = 255, 0
    whole, middle = (load_image(Spec(centre_weight=weight), "cpu").encode(list(drawn)) for weight in (0.0, 4.0))
    assert middle[0] @ middle[1] > whole[0] @ whole[1]
    assert "centre_weight" not in Spec().model_dump()
    assert Spec(centre_weight=1.0).identity != Spec().identity
