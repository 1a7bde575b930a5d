"""Work side by side, within a time, and with its memory counted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pyarrow as pa


def at_once(work: Callable[[Any], None], parts: Sequence[Any]) -> None:
    """`work` on each of `parts`, a thread for each, to its end."""
    each = [threading.Thread(target=work, args=(part,)) for part in parts]
    for thread in each:
        thread.start()
    for thread in each:
        thread.join()


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """TimeoutError where the body has not ended after so many seconds: it would never."""

    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not ended after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


_POOLS: list[pa.MemoryPool] = []  # for as long as the process lives: what was allocated is given back to its pool


@contextmanager
def arrow_memory() -> Iterator[pa.MemoryPool]:
    """A pool that knows the most memory that Arrow held inside: `max_memory()`."""
    before = pa.default_memory_pool()
    _POOLS.append(pa.proxy_memory_pool(before))
    pa.set_memory_pool(_POOLS[-1])
    try:
        yield _POOLS[-1]
    finally:
        pa.set_memory_pool(before)
