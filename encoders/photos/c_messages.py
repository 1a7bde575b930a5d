"""What C libraries print to stderr while they decode a photo, kept with that photo.

libjpeg says what it thinks of a damaged file by `fprintf(stderr, ...)`, from whichever thread decodes. The descriptor
belongs to all threads, so what is written there has lost its photo; the variable `stderr` of the C library is what
libjpeg reads, and a stream there calls back in the thread that prints (fopencookie(3)).
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_UNBUFFERED, _LOCKED_BY_CALLER = 2, 2  # _IONBF of stdio.h, FSETLOCKING_BYCALLER of stdio_ext.h
_MOST = 4096  # bytes of one photo's messages
_written = threading.local()
_Write = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class _Functions(ctypes.Structure):
    """cookie_io_functions_t of stdio.h."""

    _fields_ = (("read", ctypes.c_void_p), ("write", _Write), ("seek", ctypes.c_void_p), ("close", ctypes.c_void_p))


@contextmanager
def messages() -> Iterator[list[str]]:
    """The lines that C code of this thread prints while the body runs, there once it has ended. What other threads
    print meanwhile goes to stderr, as it would have gone.
    """
    lines: list[str] = []
    _written.text = text = bytearray()
    _swap(+1)
    try:
        yield lines
    finally:
        _swap(-1)
        _written.text = None
        told = text.decode("utf-8", "replace").splitlines()
        lines += [" ".join(line.split())[:200] for line in told if line.strip()]


def are_kept() -> bool:
    """Whether messages can be told apart by thread here: with glibc only."""
    return _glibc() is not None


def _write(_: int | None, at: int, size: int) -> int:
    """What the stream calls in place of write(2)."""
    raw = ctypes.string_at(at, size)
    text: bytearray | None = getattr(_written, "text", None)
    if text is None:
        os.write(2, raw)
    else:
        text += raw[: _MOST - len(text)]
    return size


_FUNCTIONS = _Functions(write=_Write(_write))  # for as long as the stream calls it

_lock = threading.Lock()
_inside, _before = 0, None  # how many threads are between, and the C library's own stream meanwhile


def _swap(change: int) -> None:
    """The first thread puts our stream in place, the last one the C library's own back."""
    global _inside, _before
    found = _glibc()
    if found is None:
        return
    stderr, ours = found
    with _lock:
        if not _inside:
            _before = stderr.value
            stderr.value = ours
        _inside += change
        if not _inside:
            stderr.value = _before


@cache
def _glibc() -> tuple[Any, int] | None:
    """The variable `stderr` and a stream of ours that lasts as long as the process; None without glibc."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return None
    library.fopencookie.argtypes = [ctypes.c_void_p, ctypes.c_char_p, _Functions]
    library.fopencookie.restype = ctypes.c_void_p
    ours = library.fopencookie(None, b"w", _FUNCTIONS)
    if ours is None:
        raise MemoryError("no memory for a stream")
    library.setvbuf(ctypes.c_void_p(ours), None, _UNBUFFERED, ctypes.c_size_t(0))
    # `_write` waits for the interpreter: holding a lock of the stream meanwhile, it and a thread that prints while it
    # holds the interpreter would wait for each other for ever. An unbuffered stream keeps nothing that needs a lock.
    library.__fsetlocking(ctypes.c_void_p(ours), _LOCKED_BY_CALLER)
    return ctypes.c_void_p.in_dll(library, "stderr"), ours


def _forget() -> None:
    """In a forked process: the threads that were between are not in it."""
    global _lock, _inside
    _lock = threading.Lock()
    if _inside:
        _inside = 1
        _swap(-1)


os.register_at_fork(after_in_child=_forget)
