"""Stores as they are days later: files are told to be older than they are."""

from __future__ import annotations

import os
from pathlib import Path

DAY = 86_400


def make_older(store: Path, days: float, *patterns: str) -> None:
    """Have been written so many days earlier: all files of a store, or those that a pattern fits."""
    for pattern in patterns or ("*",):
        for path in store.rglob(pattern):
            if path.is_file() and "tmp" not in path.relative_to(store).parts:
                written = path.stat().st_mtime - days * DAY
                os.utime(path, (written, written))
