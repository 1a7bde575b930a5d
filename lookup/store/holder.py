"""Who holds the lock of a store: a note of JSON beside it, for the one who does not get it."""

from __future__ import annotations

import json
import os
import secrets
import socket
from datetime import UTC, datetime

from foundation.errors import LockedError

HOLDER = "lock.json"


def new_holder() -> bytes:
    """What a new holder of a lock says of itself: JSON, with a token by which it knows its own lock again."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    who = {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "token": secrets.token_hex(16)}
    return json.dumps(who).encode()


def locked(raw: bytes, fix: str = "wait for that run to end, or stop it") -> LockedError:
    """The error for whoever does not get the lock; `raw` is what its holder says of itself."""
    try:
        who = json.loads(raw)
        came = f"process {who['pid']} on {who['host']} holds it since {who['since']}"
    except (ValueError, KeyError, TypeError):
        came = "a process that has not yet written its name holds it"
    return LockedError("no other run on this store", came, fix)
