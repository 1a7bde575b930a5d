"""Signs of life: whoever finishes a piece of work says so, and a watchdog ends a run from which no sign comes any more.

    beat()                 a micro-batch, a photo, a batch of rows is done: a clock is read, nothing else
    with computing(): ...  a long call into a library that cannot say so; meanwhile CPU time that is spent counts

`attach` makes the signs of this process seen by others, as the mtime of a file. It lives in the lowest package, so that
every other one can say that it is alive.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PULSE = 1.0  # seconds at which a file is touched at most, and spent CPU time is looked at
_BUSY = 0.05  # CPU seconds per second that count as work, inside of `computing`

_lock = threading.Lock()  # of what follows; a beat takes none
_last = time.monotonic()
_signs: dict[Path, float] = {}  # file -> when it was touched
_computing = 0
_pulse: threading.Thread | None = None


def beat() -> None:
    """Say that something was finished."""
    global _last
    _last = now = time.monotonic()
    for sign, touched in list(_signs.items()):
        if now - touched >= _PULSE:
            _signs[sign] = now
            with suppress(OSError):  # the run is over, or its disk is full
                os.utime(sign)


def last_beat() -> float:
    """When this process last said so, by time.monotonic()."""
    return _last


@contextmanager
def computing() -> Iterator[None]:
    """A call that may take long and cannot say how far it is: it is alive while the process spends CPU time.

    A call that spins for ever is not told from one that works.
    """
    global _computing
    with _lock:
        _computing += 1
    _watch_pulse()
    beat()
    try:
        yield
    finally:
        beat()
        with _lock:
            _computing -= 1


def attach(sign: Path) -> None:
    """From now on, beats of this process touch the file `sign`, where it is there."""
    _signs.setdefault(sign, 0.0)
    beat()


def detach(sign: Path) -> None:
    """End that."""
    _signs.pop(sign, None)


def _watch_pulse() -> None:
    global _pulse
    with _lock:
        if _pulse is None or not _pulse.is_alive():  # after a fork there is none
            _pulse = threading.Thread(target=_beat_while_busy, name="pulse", daemon=True)
            _pulse.start()


def _beat_while_busy() -> None:
    """Beat for what is inside of `computing`, until nothing is."""
    global _pulse
    spent = time.process_time()
    while True:
        time.sleep(_PULSE)
        before, spent = spent, time.process_time()
        if _computing and spent - before >= _BUSY * _PULSE:
            beat()
        with _lock:
            if not _computing:
                _pulse = None
                return
