"""Photos by path, read as a run reads them."""

from __future__ import annotations

import threading
from pathlib import Path

from encoders.photos.decode import PhotoError, PhotoLimits
from pipeline.photos.photos import fetch

LIMITS = PhotoLimits(max_bytes=1000, max_pixels=1000)


def fetched(path: str, root: Path | str, limits: PhotoLimits = LIMITS) -> bytes | str:
    """The bytes of a photo or the code of its refusal; fails when that takes long, because it may be for ever."""
    came: list[bytes | str | BaseException] = []

    def work() -> None:
        try:
            came.append(fetch({"bytes": None, "path": path}, str(root), limits))
        except PhotoError as err:
            came.append(str(err.code))
        except BaseException as err:
            came.append(err)
            raise

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(10)
    assert came, f"{path!r} hangs"
    assert not isinstance(came[0], BaseException)
    return came[0]
