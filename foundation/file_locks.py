"""Locks that the system frees when their holder ends, however it ends: after kill -9, in another container, after a
reboot. So none of them is ever left for a person to delete.

The lock is on the open file (flock), not on a process number that another process may have by now. There is no way
round where a file system knows no locks: one that outlives its holder would be no such lock.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foundation.errors import InputError
from foundation.machine import machine_fault

_ABSENT = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)  # of a file system that has no locks
_HELD = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK)


@contextmanager
def holding(path: Path) -> Iterator[bool]:
    """Hold the lock of the file `path`, which is made, while the body runs; False where somebody else has it.

    Who holds it may delete the file. InputError on a file system without locks, and where the file cannot be written;
    VitrineError where the disk is at fault.
    """
    handle = _take(path)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            os.close(handle)


def _take(path: Path) -> int | None:
    while True:
        handle = _open(path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_nlink:
                return handle
        except OSError as err:
            os.close(handle)
            if err.errno in _HELD:
                return None
            if err.errno not in _ABSENT:
                raise machine_fault(err) or err from err
            raise InputError(
                "a file system on which files can be locked, so that one run does not clear away another's files",
                f"{path}: {err.strerror}",
                "keep the store, and the folder of VITRINE_CACHE, on a file system of this machine",
            ) from err
        os.close(handle)  # its holder deleted it between the opening and the lock: it is the lock of no name


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError as err:
        raise InputError(
            "a lock file that this user can write",
            f"{path}: {err.strerror}",
            "work as the user whom the store belongs to",
        ) from err
    except OSError as err:
        raise machine_fault(err) or err from err
