"""The process that decodes what may never end: requests come on stdin, pixels go out on stdout.

It is started by decoder_process.py, which says how they talk, and ends when its stdin does.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import signal
import struct
import sys
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from encoders.photos.faults import fault_of
from encoders.photos.foreign import heard, note
from encoders.photos.limits import PhotoError, PhotoLimits
from encoders.photos.pixels import opened, pixels_of
from encoders.photos.work import is_much_work
from foundation.errors import VitrineError
from foundation.machine import fault_of_all, machine_fault

REQUEST = struct.Struct("<QQQd")  # bytes that follow, most bytes, most pixels, most seconds
READY = b"+"
ANSWER = struct.Struct("<III")  # height, width (0: no photo), bytes of JSON that follow: error and notes; then pixels
PIXEL_BYTES = 24  # that decoders may take for one; measured: 16 for PNG and WebP with alpha
_BASE_BYTES = 2**28  # Python, Pillow, numpy
_SLACK = 2**24  # bytes beside those for pixels and the file
_MOST_NOTED = 2**20  # bytes that C libraries may write to stderr


def serve() -> None:
    """Answer requests until there are none. A request that takes more CPU than it may ends the process."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MOST_NOTED, _MOST_NOTED))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    Image.MAX_IMAGE_PIXELS = None  # of this process only
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not print into an answer
    answers.write(READY)
    answers.flush()
    while header := requests.read(REQUEST.size):
        size, *limits = REQUEST.unpack(header)
        _answer(requests.read(size), PhotoLimits(*limits), answers)


def _answer(raw: bytes, limits: PhotoLimits, answers: BinaryIO) -> None:
    _bound_memory(PIXEL_BYTES * limits.max_pixels + 4 * limits.max_bytes + _BASE_BYTES)
    error: PhotoError | None = None
    machine: VitrineError | None = None
    claimed = [0]  # pixels of the photo, once they are known
    pixels: npt.NDArray[np.uint8] = np.empty((0, 0, 3), np.uint8)
    with heard() as notes:
        # Of user and system time, in all threads; the signal's own action ends the process, inside C code too.
        signal.setitimer(signal.ITIMER_PROF, limits.max_seconds)
        try:
            pixels = _decoded(raw, limits, claimed)
        except PhotoError as err:
            error = err
        except (MemoryError, RuntimeError, SystemError, OSError) as err:
            machine = _of_machine(err)
            if machine is None:
                raise
            if fault_of_all(err) is None and not isinstance(err, OSError):
                error = PhotoError("image_undecodable", fault_of(raw, err))  # unless it is memory that is wanting
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        for line in _printed():
            note(line)
    if error is not None and machine is not None:  # what the photo took is free by now
        error, machine = (error, None) if _has_memory(claimed[0], len(raw)) else (None, machine)
    parts = machine and [machine.expected, machine.came, machine.fix]
    told = json.dumps({"error": error and [error.code, error.message], "machine": parts, "notes": notes}).encode()
    answers.write(ANSWER.pack(pixels.shape[0], pixels.shape[1], len(told)))
    answers.write(told)
    answers.write(pixels.data)
    answers.flush()


def _decoded(raw: bytes, limits: PhotoLimits, claimed: list[int]) -> npt.NDArray[np.uint8]:
    with opened(raw, limits) as image:
        claimed[0] = image.width * image.height
        is_much_work(image, raw, limits)  # refuses what certainly is too much
        return np.ascontiguousarray(pixels_of(image, raw, None))


def _has_memory(pixels: int, size: int) -> bool:
    """Whether there is what a file of so many pixels and bytes may take: then it is one that asks for more."""
    try:
        mmap.mmap(-1, PIXEL_BYTES * pixels + 4 * size + _SLACK).close()
    except OSError:
        return False
    return True


def _of_machine(err: BaseException) -> VitrineError | None:
    """`err` in three parts; None for one whose words say nothing of the machine."""
    fault = machine_fault(err)
    if fault is None and isinstance(err, OSError):
        return VitrineError(
            "a machine that decodes photos", f"{type(err).__name__}: {err}", "mend it, then start again"
        )
    return fault


def _bound_memory(most: int) -> None:
    """More than `most` bytes of memory are a MemoryError, which is a damaged photo's; where the system can say so."""
    try:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    except (OSError, ValueError):  # a system without the limit, or with a lower one already
        return


def _printed() -> list[str]:
    """What C libraries wrote to stderr, a file without a name, since it was last asked."""
    size = os.fstat(2).st_size
    if not size:
        return []
    text = os.pread(2, 4096, 0).decode("utf-8", "replace")
    os.ftruncate(2, 0)
    return [" ".join(line.split())[:200] for line in text.splitlines() if line.strip()]
