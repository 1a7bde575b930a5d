"""What a search may be told of products besides a text and a photo: checked, and what each of them weighs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from encoders.names import clean_id
from foundation.arrays import Vectors
from foundation.errors import InputError

# Of a history in a query, at most: nDCG@10 +0.048 (0.045 to 0.052) for drawn shoppers of one taste, +0.0003 (-0.0005 to
# 0.0010) for those without, -0.0014 (-0.0036 to 0.0006) for those who click another thing than they looked at
# (benchmarks/personal.py). From 0.3 on the last are surely below a search without history.
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
