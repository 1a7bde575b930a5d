"""Sessions of fetching: from the first photo that is asked for by URL until a run, or another command, is over.

Within a session no URL is asked for twice, by whichever thread. Nothing is loaded and no thread started before the
first photo.

From then on Python lets its threads take turns ten times as often as it else does. The thread that asks hosts needs
many short turns: beside one that computes in Python it fetched 90 photos a second when it waited 5 ms for each, and
160 at 0.5 ms (two busy cores).
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.photos.net.settings import WebSettings

if TYPE_CHECKING:
    from pipeline.photos.net.fetcher import Fetcher


_TURN = 0.0005  # seconds that a thread computes while others wait


class _Fetchers:
    """Those of this process; a forked one has none of its parent's threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.by_settings: dict[tuple[int, WebSettings], Fetcher] = {}
        self.sessions = 0
        self.turn = sys.getswitchinterval()  # as it was before


_FETCHERS = _Fetchers()


def fetcher_of(settings: WebSettings) -> Fetcher:
    """The fetcher of this process, started where there is none yet."""
    from pipeline.photos.net.fetcher import Fetcher

    key = os.getpid(), settings
    with _FETCHERS.lock:
        if key not in _FETCHERS.by_settings:
            _FETCHERS.by_settings[key] = Fetcher(settings)
            sys.setswitchinterval(_TURN)
        return _FETCHERS.by_settings[key]


@contextmanager
def fetching() -> Iterator[None]:
    """A session; one inside of another is a part of it. At the end of the outermost, connections and threads end."""
    with _FETCHERS.lock:
        _FETCHERS.sessions += 1
    try:
        yield
    finally:
        with _FETCHERS.lock:
            _FETCHERS.sessions -= 1
            ended = [] if _FETCHERS.sessions else list(_FETCHERS.by_settings.items())
            for key, _ in ended:
                del _FETCHERS.by_settings[key]
            if not _FETCHERS.sessions:
                sys.setswitchinterval(_FETCHERS.turn)
        for (process, _), fetcher in ended:
            if process == os.getpid():
                fetcher.close()


def counts_by_host() -> dict[str, Counter[str]]:
    """What became of the photos of each host in this session and process, see Fetcher.counts."""
    with _FETCHERS.lock:
        fetchers = [one for (process, _), one in _FETCHERS.by_settings.items() if process == os.getpid()]
    found: dict[str, Counter[str]] = {}
    for fetcher in fetchers:
        for host, counts in fetcher.counts().items():
            found.setdefault(host, Counter()).update(counts)
    return found
