"""What a search may be told of products besides a text and a photo: checked, and what each of them weighs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from encoders.names import clean_id
from foundation.arrays import Vectors
from foundation.errors import InputError

# Of the history in a query: nDCG@10 +0.088 (0.065 to 0.112) for drawn shoppers of one taste, +0.000 (-0.013 to 0.015)
# for those without (benchmarks/personal.py). More gains more for the first, and is less sure for the others.
MIX = 0.2
# Each product looked at counts this much less than the next one: the last five are two thirds of an endless history, so
# that an hour ago counts and last week does not.
DECAY = 0.8
LIKE = 0.5  # of products that hits are to be like, beside a text or a photo


def checked_ids(ids: Sequence[str], name: str) -> tuple[str, ...]:
    """Ids as they are compared, for the argument `name`; InputError unless they are strings that name something."""
    fix = f"give a list of ids, as hits show them: {name}=['P1', 'P2']"
    if isinstance(ids, str | bytes):
        raise InputError(f"several ids as {name}", repr(ids), fix)
    for one in ids:
        if not isinstance(one, str) or not clean_id(one):
            raise InputError(f"ids as {name}", repr(one), fix)
    return tuple(map(clean_id, ids))


def checked_weights(weights: Sequence[float] | None, history: Sequence[str]) -> tuple[float, ...] | None:
    """A positive number for each product of the history; None: it fades."""
    if weights is None:
        return None
    numbers = tuple(map(float, weights))
    if len(numbers) != len(history) or not all(math.isfinite(one) and one > 0 for one in numbers):
        raise InputError(
            f"{len(history)} weights above 0, one for each product of the history",
            ", ".join(map(str, numbers)) or "none",
            "give as many, or leave them out: the newest then counts most",
        )
    return numbers


def checked_mix(mix: float) -> float:
    """The share of the history in a query."""
    if not isinstance(mix, int | float | np.number) or isinstance(mix, bool) or not 0 <= mix <= 1:
        raise InputError("mix from 0, no history, to 1, nothing else", repr(mix), f"leave it out for {MIX}")
    return float(mix)


def faded(count: int) -> Vectors:
    """(count,) float32 weights of products looked at one after another, the newest last: `DECAY` from each to the one
    before it.
    """
    return np.asarray(DECAY ** np.arange(count - 1, -1, -1, dtype=np.float64), np.float32)
