"""A store in a bucket, through fsspec: s3://, gs://, abfs://, memory://. Files are read through a local cache.

An object appears whole or not at all, so there is nothing to rename. The service itself creates publications and the
lock only where there are none: of two runs one gets them. The lock outlives a holder that is killed, and then a person
has to delete it; who loses it publishes nothing, and nobody publishes over what was published meanwhile.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import fsspec

from foundation.errors import InputError, LockedError
from foundation.liveness import beat
from foundation.machine import machine_fault
from lookup.store.backend import Backend, Lock, inside
from lookup.store.holder import HOLDER, locked, new_holder

# Their drivers hand `mode="create"` on to the service (read in s3fs 2026.9, gcsfs 2026.10, adlfs 2026.8 and fsspec's
# memory). Others look first and then write, or overwrite, so that two runs would both have the lock.
_SCHEMES = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory")
_DEAD = 86_400  # seconds after which what lies in scratch is taken for a dead run's

_log = logging.getLogger(__name__)


class _Beating(fsspec.Callback):  # type: ignore[misc]
    """Each part of a file that is sent or fetched is a sign of life."""

    def call(self, hook_name: str | None = None, **kwargs: object) -> None:
        """What fsspec calls after each part."""
        beat()


class BucketBackend(Backend):
    """See Backend; `root` is an fsspec URL. `VITRINE_CACHE` names the folder for local copies (default: `vitrine` in
    XDG_CACHE_HOME or ~/.cache).
    """

    in_place = False
    prefix = "scratch-"

    def __init__(self, root: str) -> None:
        super().__init__(root.rstrip("/"))
        self.fs, self.base = _bucket(self.root)
        default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vitrine"
        folder = Path(os.environ.get("VITRINE_CACHE") or default)
        self.scratch = folder / hashlib.blake2b(self.root.encode(), digest_size=8).hexdigest()
        self.sign = self.scratch / "alive"

    def prepare(self) -> None:
        """Make the folder of the cache; object stores have no folders of their own. InputError when it is somebody
        else's: a copy could be changed after its digest was checked.
        """
        fix = "set VITRINE_CACHE to a folder of your own that can be written"
        try:
            self.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as err:
            raise machine_fault(err) or InputError(f"a folder for local copies of {self.root}", str(err), fix) from err
        owner = self.scratch.stat().st_uid
        if owner != os.getuid():
            raise InputError(f"a cache that belongs to user {os.getuid()}", f"{self.scratch} of user {owner}", fix)

    def local(self, name: str) -> Path:
        """See Backend."""
        return self.scratch / inside(name)

    def exists(self, name: str) -> bool:
        """See Backend."""
        return bool(self.fs.isfile(self._object(name)))

    def size(self, name: str) -> int | None:
        """See Backend."""
        try:
            facts = self.fs.info(self._object(name))
        except FileNotFoundError:
            return None
        return int(facts["size"]) if facts["type"] == "file" else None

    def read(self, name: str) -> bytes:
        """See Backend."""
        raw: bytes = self.fs.cat_file(self._object(name))
        return raw

    def open(self, name: str) -> BinaryIO:
        """See Backend; a request for each read, since Parquet's readers ask for whole columns."""
        opened: BinaryIO = self.fs.open(self._object(name), "rb", cache_type="none")
        return opened

    def fetch(self, name: str, folder: Path) -> Path | None:
        """See Backend."""
        if not self.exists(name):
            return None
        self.fs.get_file(self._object(name), str(folder / "copy"), callback=_Beating())
        return folder / "copy"

    def names(self, folder: str) -> list[str]:
        """See Backend."""
        self.fs.invalidate_cache()
        if not self.fs.exists(self._object(folder)):
            return []
        return sorted(Path(entry).name for entry in self.fs.ls(self._object(folder), detail=False))

    def put(self, source: Path, name: str) -> None:
        """See Backend. The driver hands the wish to create on to the service, which refuses one that is there."""
        try:
            self.fs.put_file(str(source), self._object(name), callback=_Beating(), mode="create")
        except OSError as err:  # as of `create`
            if isinstance(err, FileExistsError) or self.exists(name):
                raise FileExistsError(name) from err
            raise

    def replace(self, source: Path, name: str) -> None:
        """See Backend."""
        self.fs.put_file(str(source), self._object(name), callback=_Beating())

    def create(self, raw: bytes, name: str) -> None:
        """See Backend."""
        try:
            self.fs.pipe_file(self._object(name), raw, mode="create")
        except OSError as err:  # gcsfs, adlfs and memory say that it exists; s3fs says EINVAL
            found = self._small(name)
            if found is None and not isinstance(err, FileExistsError):
                raise
            if found != raw:  # ours: the driver asked twice, and its first request had arrived
                raise FileExistsError(name) from err

    def delete(self, name: str) -> None:
        """See Backend."""
        with suppress(FileNotFoundError):
            self.fs.rm_file(self._object(name))

    def remove(self, folder: str) -> None:
        """See Backend."""
        self.fs.invalidate_cache()
        if self.fs.exists(self._object(folder)):
            self.fs.rm(self._object(folder), recursive=True)
        if self.local(folder).is_dir():
            shutil.rmtree(self.local(folder))

    def leftovers(self) -> Iterator[Path]:
        """See Backend: what is a day old or older; readers of this machine may be using the rest."""
        for left in self.scratch.glob(f"{self.prefix}*"):
            with suppress(FileNotFoundError):  # a reader's, which is done this moment
                if left.stat().st_mtime < time.time() - _DEAD:
                    yield left

    def lock(self) -> Lock:
        """See Backend."""
        return _ObjectLock(self)

    def _small(self, name: str) -> bytes | None:
        try:
            return self.read(name)
        except FileNotFoundError:
            return None

    def _object(self, name: str) -> str:
        return f"{self.base}/{inside(name)}"


class _ObjectLock(Lock):
    """An object that the service itself creates only where there is none. It outlives a holder that is killed."""

    def __init__(self, backend: BucketBackend) -> None:
        self.backend = backend
        self.held = b""  # the content of lock.json while the lock is ours

    def acquire(self) -> None:
        mine = new_holder()
        try:
            self.backend.create(mine, HOLDER)
        except FileExistsError as err:
            fix = f"wait for that run to end; if it is dead, delete {self.backend.root}/{HOLDER}"
            raise locked(self._holder(), fix) from err
        self.held = mine

    def check(self) -> None:
        found = self._holder()
        if not self.held or found != self.held:
            raise LockedError(
                f"{self.backend.root}/{HOLDER} as this run wrote it",
                "another run's" if found else "none",
                "somebody deleted the lock of a run that was alive: nothing was published; run again",
            )

    def abandon(self) -> None:
        """Delete the lock if it is still ours. The run has ended as it has: what goes wrong here is told, not
        raised.
        """
        mine, self.held = self.held, b""
        root = self.backend.root
        try:
            if mine and self._holder() == mine:
                self.backend.delete(HOLDER)
            elif mine:
                _log.warning("%s/%s was deleted by somebody while this run was at work", root, HOLDER)
        except OSError as err:
            _log.warning("%s/%s could not be deleted (%s): delete it by hand", root, HOLDER, err)

    def release(self) -> None:
        self.abandon()

    def _holder(self) -> bytes:
        try:
            return self.backend.read(HOLDER)
        except FileNotFoundError:
            return b""


def _bucket(root: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """(the file system of `root`, its path there); InputError when it cannot hold a store."""
    scheme = root.partition("://")[0]
    if scheme not in _SCHEMES:
        raise InputError(
            f"a store in a folder, or under {', '.join(f'{known}://' for known in _SCHEMES)}",
            f"{root}: with {scheme}:// two runs could hold the lock at once",
            "correct store.path",
        )
    try:
        fs, base = fsspec.core.url_to_fs(root)
    except (ImportError, ValueError) as err:
        fix = "install it beside vitrine (s3fs for s3://, gcsfs for gs://, adlfs for abfs://), or correct store.path"
        raise InputError(f"fsspec's driver for {scheme}://", f"{root}: {err}", fix) from err
    return fs, base
