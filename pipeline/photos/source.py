"""What a place of photos does: a file of this folder for each kind of place, chosen in `photos.py`."""

from __future__ import annotations

from typing import Protocol

from encoders.photos.decode import PhotoError, PhotoLimits
from foundation.reasons import Reason

OUTSIDE = "outside of catalog.image_root"


class Source(Protocol):
    """A place of photos: which of them is which, and their bytes.

    Errors that are not about one photo (a failing disk, too many open files, a bucket that refuses all) are raised as
    they come: they must stop the run.
    """

    def facts(self, path: str, anew: bool = False) -> str | None:
        """What changes when the photo at `path` does, without reading it: size and mtime, an etag; None when there is
        none, or none that may be read. `anew`: as it is now, whatever was remembered of the place.
        """

    def read(self, path: str, limits: PhotoLimits) -> tuple[bytes, str | None]:
        """The bytes of the photo at `path`, at most `limits.max_bytes`, and the `facts` of the very file that they were
        read from, None where the place has to be asked again; PhotoError with the reason and what was looked for when
        there are none to be had.
        """


def outside(path: str) -> PhotoError:
    """For a path that leads out of its place."""
    return PhotoError(Reason.IMAGE_FORBIDDEN, f"{OUTSIDE}: {path[:200]}")


def changed(path: str) -> PhotoError:
    """For a photo that is another one than when its row was fingerprinted."""
    message = f"the file was replaced, written to or removed during the run: {path[:200]}"
    return PhotoError(Reason.IMAGE_CHANGED, message, may_pass=True)


def too_large(size: int, path: str, limits: PhotoLimits) -> PhotoError:
    """For a photo of more bytes than are read."""
    return PhotoError(Reason.IMAGE_TOO_LARGE, f"more than {limits.max_bytes:,} bytes: {size:,}, {path[:200]}")
