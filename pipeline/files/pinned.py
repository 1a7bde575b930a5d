"""The catalog as it was when the run was planned: another state of a file ends the run, and nothing is mixed.

A file's pin is compared after each read of it, so what was read is of the file that the plan saw, and once more with
the whole listing before anything is published.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol

from foundation.errors import InputError, VitrineError
from pipeline.files.storage import filesystem, is_local

_FIX = (
    "wait until the export is done and run again: what is encoded is used again. Exports that write elsewhere and "
    "rename, or write names that begin with _, are never met half-way"
)


class Pinned(Protocol):
    """A file of the catalog as the plan saw it."""

    @property
    def path(self) -> str:
        """As fsspec opens it."""

    @property
    def pin(self) -> str:
        """See `pin_of` and `remote_pin`."""


def pin_of(facts: os.stat_result) -> str:
    """What changes when a local file is replaced, written to or touched: size, mtime, inode and ctime. A write that
    restores size and mtime shows in the ctime.
    """
    return f"{facts.st_size} bytes, mtime {facts.st_mtime_ns}, inode {facts.st_ino}, ctime {facts.st_ctime_ns}"


def remote_pin(size: int, stamp: str) -> str:
    """The same of an object: its size, and what the bucket knows of it (etag, generation)."""
    return f"{size} bytes, {stamp}"


def table_pin(path: str) -> str:
    """The same of a file that a table names; InputError where it is gone. Files of tables are never written again, so a
    bucket is asked nothing: "", which is compared with nothing.
    """
    fs, name = filesystem(path, "catalog.path")
    try:
        return pin_of(os.stat(name)) if is_local(fs) else ""
    except FileNotFoundError as err:
        fix = (
            "the table was vacuumed since, or the file was removed: name another version (catalog.version), leave it "
            "out for the latest, or repair the table"
        )
        raise InputError("every file that the table's log names", f"{path}, which is gone", fix) from err


@contextmanager
def unchanged(path: str, pin: str) -> Iterator[None]:
    """VitrineError when the file at `path` is another one after the body than it was when it was pinned; also in place
    of what the body raises, which then is about a file that nobody planned to read.
    """
    try:
        yield
    except Exception:
        _compare(path, pin)
        raise
    _compare(path, pin)


@contextmanager
def all_unchanged(files: Iterable[Pinned]) -> Iterator[None]:
    """The same of several files."""
    with ExitStack() as stack:
        for file in files:
            stack.enter_context(unchanged(file.path, file.pin))
        yield


def refuse_other_files(before: Sequence[Pinned], now: Sequence[Pinned]) -> None:
    """VitrineError when the catalog does not consist of the same files any more."""
    pins, found = {file.path: file.pin for file in before}, {file.path: file.pin for file in now}
    for path in sorted(pins.keys() | found.keys()):
        if pins.get(path) != found.get(path):
            raise _changed(path, pins.get(path), found.get(path))


def another_catalog(before: str, now: str) -> VitrineError:
    """The error for a catalog that was `before` when the run was planned, and is now another."""
    expected = f"the catalog as it was when the run was planned, {before}"
    return VitrineError(expected, f"the catalog changed during the run, {now}", _FIX)


def _compare(path: str, pin: str) -> None:
    now = _pin_now(path) if pin else pin
    if now != pin:
        raise _changed(path, pin, now)


def _pin_now(path: str) -> str | None:
    """The pin of the file as it is now; None where there is none."""
    fs, name = filesystem(path, "catalog.path")
    try:
        if is_local(fs):
            return pin_of(os.stat(name))
        fs.invalidate_cache()
        return remote_pin(int(fs.info(name)["size"]), fs.ukey(name))
    except FileNotFoundError:
        return None


def _changed(path: str, before: str | None, now: str | None) -> VitrineError:
    return another_catalog(f"{path}: {before or 'no such file'}", f"{path}: {now or 'no such file'}")
