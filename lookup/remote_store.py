"""A store in a bucket, through fsspec: s3://, gs://, abfs://, memory://. Files are read through a local cache.

Guaranteed: an object appears whole or not at all, so there is nothing to rename; the lock is an object that the service
itself creates only where there is none, so of two runs one gets it. It outlives a holder that is killed, and then a
person has to delete it.

Not guaranteed: CURRENT is not a conditional put. A run looks whether the lock is still its own and then writes CURRENT;
one whose lock is deleted, and whose successor publishes, between these two requests overwrites what that one published.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import fsspec

from encoders.liveness import beat
from lookup.errors import InputError, LockedError, machine_fault
from lookup.manifest import FileRef
from lookup.store import HOLDER, PARTS, Store, differs, digest_file, inside, locked, new_holder

# Their drivers hand `mode="create"` on to the service (read in s3fs 2026.9, gcsfs 2026.10, adlfs 2026.8 and fsspec's
# memory). Others look first and then write, or overwrite, so that two runs would both have the lock.
_SCHEMES = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory")
_SCRATCH = "scratch-"
_DEAD = 86_400  # seconds after which what lies in scratch is taken for a dead run's

_log = logging.getLogger(__name__)


class _Beating(fsspec.Callback):  # type: ignore[misc]
    """Each part of a file that is sent or fetched is a sign of life."""

    def call(self, hook_name: str | None = None, **kwargs: object) -> None:
        """What fsspec calls after each part."""
        beat()


class RemoteStore(Store):
    """A store under an fsspec URL. `VITRINE_CACHE` names the folder for local copies (default: `vitrine` in
    XDG_CACHE_HOME or ~/.cache).
    """

    def __init__(self, root: str) -> None:
        super().__init__(root.rstrip("/"))
        self.fs, self.base = _bucket(self.root)
        default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vitrine"
        folder = Path(os.environ.get("VITRINE_CACHE") or default)
        self.cache = folder / hashlib.blake2b(self.root.encode(), digest_size=8).hexdigest()
        self._held = b""  # the content of lock.json while the lock is ours

    def prepare(self) -> None:
        """Make the folder of the cache; object stores have no folders of their own. InputError when it is somebody
        else's: a copy could be changed after its digest was checked.
        """
        fix = "set VITRINE_CACHE to a folder of your own that can be written"
        try:
            self.cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as err:
            raise machine_fault(err) or InputError(f"a folder for local copies of {self.root}", str(err), fix) from err
        owner = self.cache.stat().st_uid
        if owner != os.getuid():
            raise InputError(f"a cache that belongs to user {os.getuid()}", f"{self.cache} of user {owner}", fix)

    def sign(self) -> Path:
        """The local file by which processes of this machine see that a run is alive; it need not be there."""
        return self.cache / "alive"

    def path(self, name: str) -> Path:
        """Where the local copy of `name` lies or would lie."""
        return self.cache / inside(name)

    def exists(self, name: str) -> bool:
        """Whether the object `name` was written."""
        return bool(self.fs.isfile(self._object(name)))

    def read(self, name: str) -> bytes:
        """The bytes of a small object."""
        raw: bytes = self.fs.cat_file(self._object(name))
        return raw

    def names(self, folder: str) -> list[str]:
        """The names of what lies directly in `folder`, sorted; none where it is absent."""
        self.fs.invalidate_cache()
        if not self.fs.exists(self._object(folder)):
            return []
        return sorted(Path(entry).name for entry in self.fs.ls(self._object(folder), detail=False))

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A local folder for files in the making; gone afterwards."""
        self.prepare()
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=self.cache, ignore_cleanup_errors=True) as folder:
            yield Path(folder)

    @contextmanager
    def folder(self, name: str) -> Iterator[Path]:
        """A local folder whose files become those of `name` in the store when the body ends, also when it raises."""
        with self.scratch() as path:
            try:
                yield path
            finally:
                self.hand_in(path, name)

    def hand_in(self, path: Path, name: str) -> None:
        """Make what lies in `path`, which `folder` gave, the files of `name` by now."""
        for file in sorted(path.iterdir()):
            self.put(file, f"{name}/{file.name}", rows=0)

    def remove(self, folder: str) -> None:
        """Drop `folder`, there or not, and this machine's copies."""
        self.fs.invalidate_cache()
        if self.fs.exists(self._object(folder)):
            self.fs.rm(self._object(folder), recursive=True)
        super().remove(folder)

    def sweep(self) -> None:
        """Drop what killed runs left in this machine's scratch a day ago or earlier; readers may be using the rest."""
        self.remove(PARTS)
        for left in self.cache.glob(f"{_SCRATCH}*"):
            with suppress(FileNotFoundError):  # a reader's, which is done this moment
                if left.stat().st_mtime < time.time() - _DEAD:
                    shutil.rmtree(left, ignore_errors=True)

    def put(self, source: Path, name: str, rows: int) -> FileRef:
        """Commit a finished scratch file under `name`."""
        digest, size = digest_file(source)
        self.fs.put_file(str(source), self._object(name), callback=_Beating())
        return FileRef(path=name, bytes=size, rows=rows, blake3=digest)

    def local(self, file: FileRef) -> Path | None:
        """A local copy of `file`; one that is there and has the right digest is not fetched again."""
        self.prepare()
        copy = self.path(file.path)
        if copy.is_file() and differs(copy, file) is None:
            return copy
        with self.scratch() as folder:
            fetched = self._fetch(file, folder)
            if fetched is None:
                return None
            copy.parent.mkdir(parents=True, exist_ok=True)
            os.replace(fetched, copy)
        return copy

    def problem_of(self, file: FileRef) -> str | None:
        """What is wrong with `file` as the bucket has it, whatever lies in the cache; None when nothing is."""
        with self.scratch() as folder:
            return differs(self._fetch(file, folder), file)

    def stands(self, file: FileRef) -> bool:
        """Whether the bucket has an object of that size. Services keep their bytes under checksums of their own, and
        to fetch every object each night would cost more than what the reuse saves.
        """
        try:
            facts = self.fs.info(self._object(file.path))
        except FileNotFoundError:
            return False
        return bool(facts["type"] == "file" and facts["size"] == file.bytes)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store for a run; LockedError says who has it."""
        mine = new_holder()
        self._take(mine)
        self._held = mine
        try:
            yield
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Delete the lock if it is still ours."""
        mine, self._held = self._held, b""
        if mine:
            self._release(mine)

    def check_lock(self) -> None:
        """LockedError when lock.json is no longer the one that this store wrote."""
        found = self.holder()
        if not self._held or found != self._held:
            raise LockedError(
                f"{self.root}/{HOLDER} as this run wrote it",
                "another run's" if found else "none",
                "somebody deleted the lock of a run that was alive: nothing was published; run again",
            )

    def _take(self, mine: bytes) -> None:
        try:
            self.fs.pipe_file(self._object(HOLDER), mine, mode="create")
        except OSError as err:  # gcsfs, adlfs and memory say that it exists; s3fs says EINVAL
            found = self.holder()
            if not found and not isinstance(err, FileExistsError):
                raise
            if found != mine:  # ours: the driver asked twice, and its first request had arrived
                fix = f"wait for that run to end; if it is dead, delete {self.root}/{HOLDER}"
                raise locked(found, fix) from err

    def _release(self, mine: bytes) -> None:
        """Delete the lock if it is ours. The run has ended as it has: what goes wrong here is told, not raised."""
        try:
            if self.holder() == mine:
                self.fs.rm_file(self._object(HOLDER))
            else:
                _log.warning("%s/%s was deleted by somebody while this run was at work", self.root, HOLDER)
        except OSError as err:
            _log.warning("%s/%s could not be deleted (%s): delete it by hand", self.root, HOLDER, err)

    def _fetch(self, file: FileRef, folder: Path) -> Path | None:
        if not self.exists(file.path):
            return None
        self.fs.get_file(self._object(file.path), str(folder / "copy"), callback=_Beating())
        return folder / "copy"

    def _object(self, name: str) -> str:
        return f"{self.base}/{inside(name)}"


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
