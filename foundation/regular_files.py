"""Reading files whose names come from outside: regular ones only, and never more bytes than were asked for.

A path that a user, a catalog or a folder of a model gives may name a pipe that nobody writes to (opening it would wait
for ever) or a device without an end. Every reader of such a path opens it here.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from foundation.errors import InputError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
SMALL_FILE = 2**26  # bytes of settings, locks and records


class IrregularFileError(OSError):
    """What lies at the path is no regular file."""

    def __init__(self, path: str | Path, kind: str) -> None:
        super().__init__(errno.EINVAL, f"{kind}, not a regular file", str(path))
        self.kind = kind

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


class OversizedFileError(OSError):
    """The file has more bytes than are read."""

    def __init__(self, path: str | Path, size: int, most: int) -> None:
        super().__init__(errno.EFBIG, f"{size:,} bytes or more, at most {most:,} are read", str(path))
        self.size = size

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def spelled(path: str) -> str:
    """`path` as it can be written: bytes that are not UTF-8 as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def utf8_path(path: str) -> str:
    """`path`; InputError where it is not UTF-8: plans, records and Parquet's writers name files as text."""
    if spelled(path) != path:
        raise InputError("a path in UTF-8", spelled(path), "rename the file, and the folders that it lies in")
    return path


def open_regular(path: str | Path, follow_links: bool = True) -> BinaryIO:
    """The regular file at `path`, open for reading; IrregularFileError for anything else, never a wait.

    Other OSErrors are those of `open`. Without `follow_links`, a path that ends in a link is refused (ELOOP).
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | (0 if follow_links else os.O_NOFOLLOW)
    try:
        handle = os.open(path, flags)
    except OSError as err:
        if err.errno == errno.ENXIO:  # sockets cannot be opened at all
            raise IrregularFileError(path, _KINDS[stat.S_IFSOCK]) from err
        raise
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            raise IrregularFileError(path, _KINDS.get(stat.S_IFMT(mode), "something else"))
        return open(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: str | Path, most_bytes: int, follow_links: bool = True) -> bytes:
    """The bytes of the regular file at `path`; OversizedFileError when it has, or gains meanwhile, more than
    `most_bytes`. Errors are those of `open_regular`.
    """
    raw, _, _ = read_with_facts(path, most_bytes, follow_links)
    return raw


def read_with_facts(
    path: str | Path, most_bytes: int, follow_links: bool = True
) -> tuple[bytes, os.stat_result, os.stat_result]:
    """The bytes as `read_regular` has them, and what the system said of the same open file before and after them."""
    with open_regular(path, follow_links) as file:
        before = os.fstat(file.fileno())
        if before.st_size > most_bytes:
            raise OversizedFileError(path, before.st_size, most_bytes)
        raw = file.read(before.st_size + 1)  # not more: room for all that is asked for would be taken at once
        if len(raw) > before.st_size:  # what says 0 bytes may go on for ever, as files of /proc do
            raw += file.read(most_bytes + 1 - len(raw))
        after = os.fstat(file.fileno())
    if len(raw) > most_bytes:
        raise OversizedFileError(path, len(raw), most_bytes)
    return raw, before, after
