"""The store: a folder that holds everything a run publishes. Files are written once; CURRENT alone is ever replaced.

A file appears by rename, after its bytes are on the disk: readers never see half of one. A file is opened only after
its digest was checked, because FAISS and Parquet read altered bytes without a word.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from blake3 import blake3
from filelock import FileLock, Timeout

from lookup import manifest as manifests
from lookup.errors import InputError, IntegrityError, LockedError
from lookup.manifest import FileRef, Manifest

_CURRENT = "CURRENT"
_SCRATCH = "tmp"


class Store:
    """A store in a local folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def open(cls, path: str) -> Store:
        """The store at `path`, which must exist; InputError otherwise."""
        root = Path(path).absolute()
        if not (root / "snapshots").is_dir():
            raise InputError(
                f"a store at {path}", "no folder `snapshots` there", "run `vitrine run -c CONFIG store.path=...` first"
            )
        return cls(root)

    @classmethod
    def create(cls, path: str) -> Store:
        """The store at `path`, made where it is absent."""
        root = Path(path).absolute()
        try:
            for folder in ("snapshots", "shards", "indexes", "runs", _SCRATCH):
                (root / folder).mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise InputError(
                f"a folder for the store at {path}", str(err), "choose a path that can be written: store.path=..."
            ) from err
        return cls(root)

    # --- files, written once ---

    def path(self, name: str) -> Path:
        """Where `name` lies or would lie; names are relative and stay inside the store."""
        parts = Path(name).parts
        if not parts or Path(name).is_absolute() or ".." in parts:
            raise IntegrityError(
                "a path inside the store", repr(name), "the manifest was not written by vitrine: do not use this store"
            )
        return self.root / name

    def read(self, name: str) -> bytes:
        """The bytes of a small file."""
        return self.path(name).read_bytes()

    def exists(self, name: str) -> bool:
        """Whether `name` was written."""
        return self.path(name).is_file()

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder on the store's own disk for files in the making; gone afterwards."""
        folder = Path(tempfile.mkdtemp(dir=self.root / _SCRATCH))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> None:
        """Drop what killed runs left in scratch. Only the holder of the lock may call this."""
        for left in (self.root / _SCRATCH).iterdir():
            shutil.rmtree(left, ignore_errors=True)

    def put(self, source: Path, name: str, rows: int) -> FileRef:
        """Commit a finished scratch file under `name`; the file is on the disk when this returns."""
        target = self.path(name)
        new_folder = not target.parent.is_dir()
        target.parent.mkdir(parents=True, exist_ok=True)
        _sync(source)
        digest, size = digest_file(source)
        os.replace(source, target)
        _sync(target.parent)
        if new_folder:
            _sync(target.parent.parent)
        return FileRef(path=name, bytes=size, rows=rows, blake3=digest)

    def put_bytes(self, raw: bytes, name: str) -> None:
        """Commit a small file under `name`."""
        with self.scratch() as folder:
            source = folder / "file"
            source.write_bytes(raw)
            self.put(source, name, rows=0)

    def verified(self, file: FileRef) -> Path:
        """The local path of `file` after its size and digest were checked; IntegrityError names what differs."""
        problem = self.problem_of(file)
        if problem is not None:
            raise IntegrityError(
                f"{file.path} with {file.bytes} bytes and blake3 {file.blake3}",
                problem,
                "restore the file from a backup, or run `vitrine run` again: it rewrites what does not validate",
            )
        return self.path(file.path)

    def problem_of(self, file: FileRef) -> str | None:
        """What is wrong with `file` on the disk, or None."""
        path = self.path(file.path)
        if not path.is_file():
            return "no such file"
        digest, size = digest_file(path)
        if size != file.bytes:
            return f"{size} bytes"
        return None if digest == file.blake3 else f"blake3 {digest}"

    # --- snapshots ---

    def current(self) -> str | None:
        """The id of the published snapshot; None before the first."""
        path = self.root / _CURRENT
        if not path.exists():
            return None
        raw = path.read_bytes()
        name = raw[:-1].decode("ascii", "replace")
        if not raw.endswith(b"\n") or not self.exists(manifests.path_of(name)):
            raise IntegrityError(
                "CURRENT to hold one line, the id of a file of snapshots/",
                repr(raw[:80]),
                "write the id of the snapshot to serve into CURRENT; `ls snapshots/` shows them, oldest first",
            )
        return name

    def manifest(self, snapshot_id: str | None = None) -> Manifest | None:
        """The manifest of a snapshot, by default the published one; None where nothing is published."""
        chosen = snapshot_id or self.current()
        if chosen is None:
            return None
        if not self.exists(manifests.path_of(chosen)):
            raise IntegrityError(
                f"{manifests.path_of(chosen)}", "no such file", "name a snapshot that is there: `ls snapshots/`"
            )
        return manifests.parse(self.read(manifests.path_of(chosen)), chosen)

    def publish(self, new: Manifest) -> str:
        """Commit the manifest, then point CURRENT at it; LockedError when CURRENT is no longer `new.parent`."""
        name = new.snapshot_id()
        self.put_bytes(new.to_bytes(), manifests.path_of(name))
        current = self.current()
        if current != new.parent:
            raise LockedError(
                f"CURRENT to be {new.parent} still", f"it is {current}", "another run published meanwhile: run again"
            )
        with self.scratch() as folder:
            pointer = folder / _CURRENT
            pointer.write_bytes(f"{name}\n".encode())
            _sync(pointer)
            os.replace(pointer, self.root / _CURRENT)
            _sync(self.root)
        return name

    # --- one run at a time ---

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store for a run; LockedError says who has it. The system frees the lock when the holder dies."""
        holder = self.root / "lock.json"
        lock = FileLock(self.root / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as err:
            raise LockedError(
                "no other run on this store", _describe(holder), "wait for that run to end, or stop it"
            ) from err
        try:
            host, since = socket.gethostname(), datetime.now(UTC).isoformat(timespec="seconds")
            holder.write_text(json.dumps({"pid": os.getpid(), "host": host, "since": since}))
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()


def digest_file(path: Path) -> tuple[str, int]:
    """The blake3 (64 hex digits) and the size in bytes of a file, read by memory mapping."""
    hasher = blake3(max_threads=1)
    hasher.update_mmap(str(path))
    return hasher.hexdigest(), path.stat().st_size


def _describe(holder: Path) -> str:
    try:
        who = json.loads(holder.read_text())
        return f"process {who['pid']} on {who['host']} holds it since {who['since']}"
    except (OSError, ValueError, KeyError):
        return "a process that has not yet written its name"


def _sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
