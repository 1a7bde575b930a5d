"""How far a step is, told while it runs: counted by looking at finished files, so it holds for any runner."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# (step, done, total); called from a thread of its own
Progress = Callable[[str, int, int], None]

_SECONDS = 0.5
_log = logging.getLogger(__name__)


@contextmanager
def watched(progress: Progress | None, step: str, total: int, done: Callable[[], int]) -> Iterator[None]:
    """Report `done()` of `total` to `progress` while the body runs, and once after it."""
    if progress is None:
        yield
        return
    ended = threading.Event()

    def tell() -> None:
        try:
            count = done()
        except OSError as err:  # a count is a courtesy: what matters of the same trouble meets the step itself
            _log.debug("no progress of %s: %s", step, err)
            return
        progress(step, count, total)

    def look() -> None:
        while not ended.wait(_SECONDS):
            tell()

    tell()
    watcher = threading.Thread(target=look, name=f"progress of {step}", daemon=True)
    watcher.start()
    try:
        yield
        tell()
    finally:
        ended.set()
        watcher.join()
