"""Photos of a unit in micro-batches, fetched and decoded ahead of the encoder; what cannot be is a PhotoError in its
place.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa
from blake3 import blake3

from encoders.base import ImageEncoder
from encoders.foreign import heard
from encoders.liveness import beat
from encoders.machine import fault_of_all
from encoders.photo import PhotoError, PhotoLimits, claimed_pixels
from encoders.photo_faults import plain_words
from pipeline.photos import fetch
from pipeline.pixel_room import PIXELS
from pipeline.reasons import Reason

REFUSALS = (RuntimeError, ValueError, ArithmeticError)  # what encoders raise for input that they cannot take
_log = logging.getLogger(__name__)
_LOOKED_AT = 256  # photos whose bytes are copied at once to tell them apart
_MOST_TOLD = 20  # photos whose warnings a process logs; those of the others are there at the level DEBUG


def photo_keys(photos: pa.StructArray) -> list[Hashable]:
    """What tells photos apart without decoding them: the digest of their bytes, else the path and its stamp."""
    keys: list[Hashable] = []
    for start in range(0, len(photos), _LOOKED_AT):
        for photo in photos.slice(start, _LOOKED_AT).to_pylist():
            own = photo["bytes"]
            keys.append((photo["path"], photo.get("stamp")) if own is None else blake3(own).digest())
    return keys


def placed(message: str, path: str | None) -> str:
    """A PhotoError's `message` and the path of the photo that it is about, unless it ends with that."""
    if path is None or message.endswith(path[:200]):
        return message
    return f"{message}{', ' if ': ' in message else ': '}{path[:200]}"


def prepared(
    photos: pa.StructArray, encoder: ImageEncoder, root: str, limits: PhotoLimits, pool: ThreadPoolExecutor
) -> Iterator[list[Any]]:
    """Micro-batches of prepared photos or PhotoErrors, in order; the next one is decoded while the caller encodes
    this one.
    """

    def prepare(photo: dict[str, Any]) -> Any:
        beat()
        with heard() as notes:
            found = _prepared(photo, encoder, root, limits)
        if notes:
            _tell(photo["path"] or f"bytes of the catalog, blake3 {blake3(photo['bytes']).hexdigest()[:16]}", notes)
        return found

    size = encoder.micro_batch
    ahead: list[Future[Any]] = []
    for start in range(0, len(photos), size):
        waiting = ahead or [pool.submit(prepare, photo) for photo in photos.slice(start, size).to_pylist()]
        ahead = [pool.submit(prepare, photo) for photo in photos.slice(start + size, size).to_pylist()]
        yield [future.result() for future in waiting]


def _prepared(photo: dict[str, Any], encoder: ImageEncoder, root: str, limits: PhotoLimits) -> Any:
    """A prepared photo, or why there is none."""
    try:
        raw = fetch(photo, root, limits)
        with PIXELS.hold(claimed_pixels(raw, limits), limits.max_pixels):
            decoded = encoder.decode(raw, limits)
            try:
                return encoder.prepare(decoded)
            except REFUSALS as err:
                fault = fault_of_all(err)
                if fault is not None:
                    raise fault from err
                raise PhotoError(Reason.ENCODER_FAILED, plain_words(err)) from err
    except PhotoError as err:
        return err


class _Told:
    """How many photos' warnings were logged."""

    def __init__(self) -> None:
        self._lock, self._photos = threading.Lock(), 0

    def level(self) -> int:
        """The level at which the next one is logged."""
        with self._lock:
            self._photos += 1
            return logging.INFO if self._photos <= _MOST_TOLD else logging.DEBUG


_told = _Told()


def _tell(name: str, notes: list[str]) -> None:
    _log.log(_told.level(), "photo %s: its reader warns: %s", name[:200], "; ".join(notes))
