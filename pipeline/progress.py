"""How far a step is, told while it runs: counted by looking at finished files, so it holds for any runner."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# (step, done, total); called from a thread of its own
Progress = Callable[[str, int, int], None]

_SECONDS = 0.5


@contextmanager
def watched(progress: Progress | None, step: str, total: int, done: Callable[[], int]) -> Iterator[None]:
    """Report `done()` of `total` to `progress` while the body runs, and once after it."""
    if progress is None:
        yield
        return
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_SECONDS):
            progress(step, done(), total)

    progress(step, done(), total)
    watcher = threading.Thread(target=look, name=f"progress of {step}", daemon=True)
    watcher.start()
    try:
        yield
        progress(step, done(), total)
    finally:
        ended.set()
        watcher.join()
