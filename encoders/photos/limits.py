"""What a photo may cost, and the error for one that cannot be used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PhotoLimits:
    """The largest photo that is decoded: bytes of the file, pixels of the picture, seconds of CPU to decode it."""

    max_bytes: int = 20 * 2**20
    max_pixels: int = 50_000_000
    max_seconds: float = 10.0


class PhotoError(Exception):
    """A photo that cannot be used. `code` is the reason of the reject: `image_undecodable`, `image_too_large`, ...

    The message is the reject's detail: what is wrong in a few fixed words, then, behind `: `, what is true of this one
    photo only. What stands before the `: ` is what details are counted by. It `may_pass` where the photo was given up
    by the clock or with its process, was changed just then, or failed in its encoder: another time it may be had.
    """

    def __init__(self, code: str, message: str, may_pass: bool = False) -> None:
        super().__init__(code, message, may_pass)
        self.code = code
        self.message = message
        self.may_pass = may_pass

    def __str__(self) -> str:
        return self.message
