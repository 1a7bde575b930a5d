"""What a photo may cost, and the error for one that cannot be used."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class PhotoLimits:
    """The largest photo that is decoded: bytes of the file, pixels of the picture, seconds of CPU to decode it."""

    max_bytes: int = 20 * 2**20
    max_pixels: int = 50_000_000
    max_seconds: float = 10.0


_PASSING = re.compile("the decoder crashed|(more than|no answer in) [0-9.e+-]+ s of (CPU|wall time)")


def may_pass(detail: str) -> bool:
    """Whether a photo with this detail may be read another time: it was given up by the clock, or with its process."""
    return _PASSING.match(detail) is not None


class PhotoError(Exception):
    """A photo that cannot be used. `code` is the reason of the reject: `image_undecodable`, `image_too_large`, ...

    The message is the reject's detail: what is wrong in a few fixed words, then, behind `: `, what is true of this one
    photo only. What stands before the `: ` is what details are counted by.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message
