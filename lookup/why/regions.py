"""A photo with each cell of a grid greyed: occlusion, after Zeiler and Fergus 2014, "Visualizing and Understanding
Convolutional Networks", section 4.2.
"""

from __future__ import annotations

import itertools

import numpy as np

from foundation.arrays import Photo

SIDE = 4  # cells across and down: 16 photos to encode, a cell of a quarter of the side


def greyed(photo: Photo, side: int = SIDE) -> list[Photo]:
    """`side` x `side` copies of an (h, w, 3) uint8 photo, row by row from the top, each with one cell in the mean
    colour.
    """
    mean = photo.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
    rows, columns = (np.linspace(0, length, side + 1).round().astype(int) for length in photo.shape[:2])
    found = []
    for top, bottom in itertools.pairwise(rows):
        for left, right in itertools.pairwise(columns):
            one = photo.copy()
            one[top:bottom, left:right] = mean
            found.append(one)
    return found
