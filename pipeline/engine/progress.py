"""How far a step is, told while it runs: counted by looking at finished files, so it holds for any runner; of units
that are at work in this very process, also how much of them is done.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from foundation.liveness import beat

# (step, done, total); called from a thread of its own
Progress = Callable[[str, int, int], None]

_SECONDS = 0.5
_here = threading.local()  # .unit: (number, rows) of the unit that this thread is at
_rows: dict[int, float] = {}  # of units of this process, that are encoded
_log = logging.getLogger(__name__)


@contextmanager
def at_unit(number: int, rows: int) -> Iterator[None]:
    """What this thread `advanced` in the body is counted for the unit `number`, which has `rows`."""
    _here.unit = number, rows
    try:
        yield
    finally:
        del _here.unit


def advanced(share: float) -> None:
    """Of the unit that this thread is at, `share` is encoded, in 0..1."""
    unit = getattr(_here, "unit", None)
    if unit is not None:
        _rows[unit[0]] = share * unit[1]


def rows_under_way(finished: Collection[int]) -> int:
    """Rows that are encoded of units of this process that are not yet `finished`."""
    return int(sum(rows for number, rows in list(_rows.items()) if number not in finished))


def begin() -> None:
    """No unit of this process is at work."""
    _rows.clear()


@contextmanager
def watched(progress: Progress | None, step: str, total: int, done: Callable[[], int]) -> Iterator[None]:
    """Report `done()` of `total` to `progress` while the body runs, and once after it."""
    if progress is None:
        yield
        return
    ended, seen = threading.Event(), [-1]

    def tell() -> None:
        try:
            count = done()
        except OSError as err:  # a count is a courtesy: what matters of the same trouble meets the step itself
            _log.debug("no progress of %s: %s", step, err)
            return
        if count != seen[0]:
            beat()  # workers elsewhere have no other sign
        seen[0] = count
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
