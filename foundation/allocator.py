"""Memory that the C library keeps: while networks compute, so that it is not taken anew at every micro-batch; at no
other time, because a later step would come on top of it.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

import pyarrow as pa

# malloc.h of glibc; other C libraries have no mallopt, or none that knows these.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8
_ARENAS = 2
_KEPT = {_M_MMAP_THRESHOLD: 1 << 30, _M_TRIM_THRESHOLD: 2**31 - 1, _M_TOP_PAD: 64 << 20}
# Where glibc's own rule ends once a large block was freed (mallopt(3), "dynamic mmap threshold"). That rule itself ends
# with the first call of mallopt, and nothing brings it back.
_USUAL = {_M_MMAP_THRESHOLD: 32 << 20, _M_TRIM_THRESHOLD: 64 << 20, _M_TOP_PAD: 128 << 10}
_keeping = False


def prepare_memory(networks: bool) -> None:
    """What a process tells the C library before anything else, torch above all, is imported: with `networks` that
    compute on the CPU, to keep memory.
    """
    if networks:
        keep_memory()
    else:
        share_heaps()


def share_heaps() -> None:
    """Let the threads of this process share two heaps, where glibc is the C library: by default it makes 8 for a core.

    Threads come and go while indexes are built, and each heap keeps what was freed in it. Measured, 400,000 rows of 128
    dimensions in five partitions, built one at a time on two threads: 403 MB at the peak instead of 673.
    """
    _set({_M_ARENA_MAX: _ARENAS})


def keep_memory() -> None:
    """Keep what is freed, where glibc is the C library, until `give_back`.

    A network's activations are freed and taken again at each layer. By default glibc maps each large one anew, and the
    system clears every page of it: half of an EfficientNet's CPU time. docs/benchmarks/encode.md has the figures.
    """
    global _keeping
    share_heaps()
    _set(_KEPT)
    _keeping = True


def give_back() -> None:
    """Return freed memory to the system, and go on doing so: Arrow's pool, and glibc's heaps where that is the C
    library.
    """
    global _keeping
    if _keeping:
        _set(_USUAL)
        _keeping = False
    pa.default_memory_pool().release_unused()
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _set(options: dict[int, int]) -> None:
    mallopt = _glibc("mallopt")
    if mallopt is not None:
        for option, value in options.items():
            mallopt(option, value)


def _glibc(name: str) -> Callable[..., int] | None:
    """A function of glibc; None on musl, which has no `gnu_get_libc_version`, and on other systems."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return getattr(library, name, None) if hasattr(library, "gnu_get_libc_version") else None
