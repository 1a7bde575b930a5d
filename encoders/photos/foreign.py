"""Warnings of the libraries that read photos, kept with the photo that they are about.

Left alone, Python prints them once, with the path of an installed file and no photo named.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from blake3 import blake3

_log = logging.getLogger(__name__)
_MOST = 5  # notes of one photo; a damaged one can have thousands
_MOST_TOLD = 20  # photos whose notes a process logs; those of the others are there at the level DEBUG
_told = count(1)
_heard = threading.local()


@contextmanager
def naming(path: str | None, raw: bytes | None) -> Iterator[None]:
    """Log what is heard while the body reads a photo, with its path, or the digest of its bytes where it has none."""
    notes: list[str] = []
    try:
        with heard() as notes:
            yield
    finally:
        if notes:
            name = path or f"bytes of the catalog, blake3 {blake3(raw or b'').hexdigest()[:16]}"
            level = logging.INFO if next(_told) <= _MOST_TOLD else logging.DEBUG
            _log.log(level, "photo %s: its reader warns: %s", name[:200], "; ".join(notes))


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
