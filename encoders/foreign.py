"""Warnings of the libraries that read photos, kept with the photo that they are about.

Left alone, Python prints them once, with the path of an installed file and no photo named.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_MOST = 5  # notes of one photo; a damaged one can have thousands
_heard = threading.local()


@contextmanager
def heard() -> Iterator[list[str]]:
    """What libraries warn of in this thread while the body runs, in place of printing it; other threads are not
    touched.

    `warnings.catch_warnings` would change the filters of all threads. Python reports a warning once per line of code,
    so a note is an example: not every photo of its kind has one.
    """
    _listen()
    before = getattr(_heard, "notes", None)
    _heard.notes = notes = list[str]()
    try:
        yield notes
    finally:
        _heard.notes = before


def note(text: str) -> None:
    """Add to what is heard in this thread; nothing where nobody listens."""
    notes: list[str] | None = getattr(_heard, "notes", None)
    if notes is not None and len(notes) < _MOST and text not in notes:
        notes.append(text)


def _listen() -> None:
    """Stand between Python and whatever shows warnings now; others, tests too, may have put theirs back."""
    before = warnings.showwarning
    if getattr(before, "notes_photos", False):
        return

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if getattr(_heard, "notes", None) is None:
            before(message, category, *rest, **more)
        else:
            note(" ".join(f"{category.__name__}: {message}".split())[:200])

    show.notes_photos = True  # type: ignore[attr-defined]
    warnings.showwarning = show
