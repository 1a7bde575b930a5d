"""Photos of a unit in micro-batches, fetched and decoded ahead of the encoder; what cannot be is a PhotoError in its
place.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa
from blake3 import blake3

from encoders.base import ImageEncoder
from encoders.photos.decode import PhotoError, PhotoLimits, claimed_pixels
from encoders.photos.faults import plain_words
from encoders.photos.foreign import naming
from foundation.liveness import beat
from foundation.machine import fault_of_all
from foundation.reasons import Reason
from pipeline.embed.pixel_room import PIXELS
from pipeline.photos.photos import expect, fetch
from pipeline.photos.root import Root

REFUSALS = (RuntimeError, ValueError, ArithmeticError)  # what encoders raise for input that they cannot take
_LOOKED_AT = 256  # photos whose bytes are copied at once to tell them apart


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
    photos: pa.StructArray, encoder: ImageEncoder, root: Root, limits: PhotoLimits, pool: ThreadPoolExecutor
) -> Iterator[list[Any]]:
    """Micro-batches of prepared photos or PhotoErrors, in order; the next one is decoded while the caller encodes
    this one.
    """

    def prepare(photo: dict[str, Any]) -> Any:
        beat()
        with naming(photo["path"], photo["bytes"]):
            return _prepared(photo, encoder, root, limits)

    expect(photos.field("path"), root)
    size = encoder.micro_batch
    ahead: list[Future[Any]] = []
    for start in range(0, len(photos), size):
        waiting = ahead or [pool.submit(prepare, photo) for photo in photos.slice(start, size).to_pylist()]
        ahead = [pool.submit(prepare, photo) for photo in photos.slice(start + size, size).to_pylist()]
        yield [future.result() for future in waiting]


def _prepared(photo: dict[str, Any], encoder: ImageEncoder, root: Root, limits: PhotoLimits) -> Any:
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
                raise PhotoError(Reason.ENCODER_FAILED, plain_words(err), may_pass=True) from err
    except PhotoError as err:
        return err
