"""Memory that is free but still held: C libraries keep what was freed, and a later step would come on top of it."""

from __future__ import annotations

import ctypes
import sys

import pyarrow as pa


def give_back() -> None:
    """Return freed memory to the system: Arrow's pool, and glibc's heaps where that is the C library."""
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none, nor needs one
        if trim is not None:
            trim(0)
