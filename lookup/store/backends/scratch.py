"""Files in the making, in a folder for each who makes some: `tmp/<name>/`, held by the lock of `tmp/<name>.lock`.

Several runs and readers may be at work in one store. Who dies holds no lock any more, and what it left goes with the
next run; what a lock is held of is never touched. A run's folder bears its id, so that its workers find it, and
`tmp/<run>.alive` is the sign by which they say that they are alive. Of a bucket it lies in this machine's cache.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foundation.file_locks import holding

TMP = "tmp"
_LOCK, _SIGN = ".lock", ".alive"
_SWEPT = 0.01  # seconds until a sweeper has seen that there is nothing of a new name yet


@contextmanager
def held(tmp: Path, name: str) -> Iterator[None]:
    """Hold `name` of the folder `tmp`, which nobody else has, while the body runs."""
    tmp.mkdir(parents=True, exist_ok=True)
    lock = tmp / f"{name}{_LOCK}"
    while True:
        with holding(lock) as ours:
            if ours:
                try:
                    yield
                finally:
                    lock.unlink(missing_ok=True)
                return
        time.sleep(_SWEPT)


@contextmanager
def scratch_folder(tmp: Path) -> Iterator[Path]:
    """A new folder in `tmp`, gone after the body."""
    name = secrets.token_hex(8)
    with held(tmp, name):
        folder = tmp / name
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sign_of(tmp: Path, name: str) -> Path:
    """The file by which processes of this machine see that `name` is alive; it need not be there."""
    return tmp / f"{name}{_SIGN}"


def known(tmp: Path) -> dict[str, bool]:
    """Whom locks of this machine are of -> whether they are held, so that somebody is at work."""
    found = {}
    for lock in sorted(tmp.glob(f"*{_LOCK}")):
        with holding(lock) as ours:
            found[lock.name.removesuffix(_LOCK)] = not ours
    return found


def sweep(tmp: Path) -> list[str]:
    """Drop what nobody holds, and say of whom it was. What a file system does not let go of stays for the next time."""
    dead = []
    for name in _names(tmp):
        lock = tmp / f"{name}{_LOCK}"
        with holding(lock) as ours:
            if ours:
                _drop(tmp / name)
                sign_of(tmp, name).unlink(missing_ok=True)
                lock.unlink(missing_ok=True)
                dead.append(name)
    return dead


def _names(tmp: Path) -> list[str]:
    entries = [path.name for path in tmp.iterdir()] if tmp.is_dir() else []
    names = {name.removesuffix(_LOCK).removesuffix(_SIGN) for name in entries}
    return sorted(name for name in names if name and not name.startswith("."))  # .nfs: of what somebody has open


def _drop(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
