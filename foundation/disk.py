"""Files that others read: whole on the disk, or not there at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk; OSError where they cannot be."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what is to be in `path`: a reader sees the old file or, once the block is left, the new one, never
    half of one. An error in the block leaves the old one.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield scratch
        sync(scratch)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def replace_file(path: Path, raw: bytes) -> None:
    """Write `raw` to `path` so that a reader sees the old file or the new one, never half of one."""
    with replacing(path) as scratch:
        scratch.write_bytes(raw)
