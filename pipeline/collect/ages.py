"""Ages as a command line says them: 90s, 30m, 12h, 2d, 1w."""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction

from foundation.errors import InputError

_AGE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([smhdw])\s*")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_age(words: str) -> timedelta:
    """The age that a number and one of s, m, h, d, w (seconds to weeks) say; InputError for what is none."""
    said = _AGE.fullmatch(words)
    try:
        return timedelta(seconds=float(Fraction(said[1]) * _SECONDS[said[2]])) if said else _refuse(words)
    except OverflowError:
        return _refuse(words)


def _refuse(words: str) -> timedelta:
    raise InputError("--older-than with a number and s, m, h, d or w, such as 12h or 2d", repr(words), "correct it")
