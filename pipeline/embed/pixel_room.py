"""How many pixels are decoded at the same time, in all threads of the process: large photos wait for each other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PixelRoom:
    """Room for `most` pixels. Whoever asks for more than there is waits, in any order."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held = 0

    @contextmanager
    def hold(self, pixels: int, most: int) -> Iterator[None]:
        """Hold `pixels` while the body runs, as soon as no more than `most` are held with them, or none but these."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._held + pixels <= most)
            self._held += pixels
        try:
            yield
        finally:
            with self._changed:
                self._held -= pixels
                self._changed.notify_all()


PIXELS = PixelRoom()  # of this process: units on several threads share it
