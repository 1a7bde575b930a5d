"""What each member of a joined tower counts: weights of a fusion, so that other weights encode nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from encoders.base import Modality
from encoders.towers import Tower
from foundation.arrays import Vectors
from foundation.errors import InputError
from foundation.identity import identity_of

_TINY = 1e-12


def shares_of(weights: Sequence[float] | None) -> tuple[float, ...] | None:
    """What each of `weights` is of their sum; None where none are given or all are equal, which weighs nothing."""
    if weights is None or len(set(weights)) == 1:
        return None
    return tuple(round(one / sum(weights), 9) for one in weights)


@dataclass(frozen=True)
class Members:
    """The members of a joined tower: the lengths of their vectors, and their shares, which add up to 1."""

    lengths: tuple[int, ...]
    shares: tuple[float, ...]

    def rows(self, vectors: Vectors) -> Vectors:
        """(n, d) float32, unit rows, of (n, d) float32 as a joined encoder gives them: of two such rows the inner
        product is the mean of the members' cosines by their shares. A row of zeros stays one.

        A product of several photos has the mean of their vectors: how alike a member finds these counts on.
        """
        factors = np.repeat(np.sqrt(self.shares), self.lengths)
        weighted = vectors.astype(np.float64) * factors
        lengths = np.sqrt((weighted * weighted).sum(axis=1, keepdims=True))
        return np.asarray(weighted / np.maximum(lengths, _TINY), np.float32)


def weighted_tower(shares: tuple[float, ...] | None, tower: Tower | None, modality: Modality) -> Tower | None:
    """What is behind the weights of `tower`'s members: a head or a fusion that was learned there is for these weights
    alone. InputError where `shares` are not for its members.
    """
    if shares is None:
        return tower
    refuse_count(len(shares), None if tower is None else len(tower.members), modality)
    if tower is None:
        return None
    identity = identity_of({"tower": tower.identity, "weights": shares})
    return replace(tower, identity=identity, parts={**tower.parts, "weights": json.dumps(shares)})


def refuse_count(weights: int, members: int | None, modality: Modality) -> None:
    """InputError unless the `weights` are as many as the `members` of the tower (None: there is no tower)."""
    if weights == members:
        return
    key, joined = f"fusion.{modality}_weights", "joined_texts" if modality == "text" else "joined_photos"
    if members:
        expected, came = f"{key}: one weight for each of the {members} towers that are joined", f"{weights} weights"
        raise InputError(expected, came, f"give {members}, in the order of encoders.{modality}.towers")
    came = f"encoders.{modality}: {'null' if members is None else 'an encoder that joins none'}"
    expected = f"{key}: weights of towers that are joined, type: {joined}"
    raise InputError(expected, came, f"leave {key} out, or join encoders: encoders.{modality}.type={joined}")
