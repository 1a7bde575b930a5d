"""Courtesy: of two runs of the very same thing the second is told who is at it, before it does the work once more.

It keeps nothing safe. Publications do: whoever finds the next number taken merges, and tries again. The system frees
the lock with its holder; in a bucket it lies in this machine's cache, so that runs of other machines are not told.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from foundation.errors import LockedError
from foundation.file_locks import holding

FOLDER = "locks"


@contextmanager
def courtesy_lock(folder: Path, what: str) -> Iterator[None]:
    """Hold `what`, such as "the whole catalog", in `folder` while the body runs; LockedError says who has it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / hashlib.blake2b(what.encode(), digest_size=8).hexdigest()
    note = lock.with_suffix(".json")
    with holding(lock) as ours:
        if not ours:
            raise _locked(what, note)
        note.write_bytes(_new_holder(what))
        try:
            yield
        finally:
            with suppress(OSError):
                note.unlink(missing_ok=True)


def _new_holder(what: str) -> bytes:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return json.dumps({"what": what, "pid": os.getpid(), "host": socket.gethostname(), "since": since}).encode()


def _locked(what: str, note: Path) -> LockedError:
    """The error for whoever does not get the lock; `note` is what its holder says of itself."""
    try:
        who = json.loads(note.read_bytes())
        came = f"process {who['pid']} on {who['host']} is at it since {who['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        came = "a process that has not yet written its name is at it"
    return LockedError(f"no other run of {what} on this store", came, "wait for that run to end, or stop it")
