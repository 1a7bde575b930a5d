"""The store: a folder that holds everything a run publishes. Files are written once; CURRENT alone is ever replaced.

A file appears by rename, after its bytes are on the disk: readers never see half of one. A file is opened only after
its digest was checked, because FAISS and Parquet read altered bytes without a word.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from blake3 import blake3
from filelock import FileLock, Timeout

from encoders.disk import sync
from encoders.liveness import beat
from encoders.regular import read_regular
from lookup import manifest as manifests
from lookup.errors import InputError, IntegrityError, LockedError, machine_fault
from lookup.lost import lost_pointer, was_published
from lookup.manifest import FileRef, Manifest

HOLDER = "lock.json"  # who holds the lock, for the one who does not get it
PARTS = "parts"  # of indexes in the making, which workers hand on to each other
_CURRENT = "CURRENT"
_MOST_BYTES = 2**30  # of a manifest, record or note: a million segments have 250 MB
_SCRATCH = "tmp"
_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}")


class Store:
    """A store in a local folder; `RemoteStore` (remote_store.py) puts another file system under the same methods."""

    def __init__(self, root: str) -> None:
        self.root = root

    @staticmethod
    def at(path: str) -> Store:
        """The store at `path`, there or not; for workers of a run that has made it."""
        path = path.removeprefix("file://")
        if "://" not in path:
            return Store(str(Path(path).absolute()))
        from lookup.remote_store import RemoteStore  # a local store does without fsspec's import

        return RemoteStore(path)

    @staticmethod
    def open(path: str) -> Store:
        """The store at `path`, a folder or an fsspec URL, which must exist; InputError otherwise."""
        store = Store.at(path)
        if not store.names("runs") and not store.exists(_CURRENT) and not store.snapshots():
            raise InputError(f"a store at {path}", "none there", "run `vitrine run -c CONFIG store.path=...` first")
        return store

    @staticmethod
    def create(path: str) -> Store:
        """The store at `path`, made where it is absent."""
        store = Store.at(path)
        try:
            store.prepare()
        except OSError as err:
            raise machine_fault(err) or InputError(
                f"a folder for the store at {path}", str(err), "choose a path that can be written: store.path=..."
            ) from err
        return store

    # --- what another file system does in another way ---

    def prepare(self) -> None:
        """Make the folders that files are made in."""
        for folder in ("runs", _SCRATCH):
            self.path(folder).mkdir(parents=True, exist_ok=True)

    def sign(self) -> Path:
        """The local file by which processes of this machine see that a run is alive; it need not be there."""
        return self.path(f"{_SCRATCH}/alive")

    def path(self, name: str) -> Path:
        """Where `name` lies or would lie."""
        return Path(self.root) / inside(name)

    def exists(self, name: str) -> bool:
        """Whether the file `name` was written."""
        return self.path(name).is_file()

    def read(self, name: str) -> bytes:
        """The bytes of a small file."""
        return read_regular(self.path(name), _MOST_BYTES)

    def names(self, folder: str) -> list[str]:
        """The names of what lies directly in `folder`, sorted; none where it is absent."""
        path = self.path(folder)
        return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A local folder, on the store's own disk, for files in the making; gone afterwards."""
        with tempfile.TemporaryDirectory(dir=self.path(_SCRATCH), ignore_cleanup_errors=True) as folder:
            yield Path(folder)

    @contextmanager
    def folder(self, name: str) -> Iterator[Path]:
        """A local folder whose files are those of `name` in the store, for a log that grows and other notes of a
        run.
        """
        path = self.path(name)
        path.mkdir(parents=True, exist_ok=True)
        yield path

    def hand_in(self, path: Path, name: str) -> None:
        """Make what lies in `path`, which `folder` gave, the files of `name` by now."""

    def remove(self, folder: str) -> None:
        """Drop `folder`, of files that no snapshot names, there or not."""
        path = self.path(folder)
        if path.is_dir():
            shutil.rmtree(path)

    def sweep(self) -> None:
        """Drop what killed runs left in scratch. Only the holder of the lock may call this."""
        self.remove(PARTS)
        for left in self.path(_SCRATCH).iterdir():
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)

    def put(self, source: Path, name: str, rows: int) -> FileRef:
        """Commit a finished scratch file under `name`; the file is on the disk when this returns."""
        target = self.path(name)
        new_folder = not target.parent.is_dir()
        target.parent.mkdir(parents=True, exist_ok=True)
        sync(source)
        digest, size = digest_file(source)
        beat()
        os.replace(source, target)
        sync(target.parent)
        if new_folder:
            sync(target.parent.parent)
        return FileRef(path=name, bytes=size, rows=rows, blake3=digest)

    def local(self, file: FileRef) -> Path | None:
        """A local path with the bytes of `file`, whatever they are now; None when there is no such file."""
        path = self.path(file.path)
        return path if path.is_file() else None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store for a run; LockedError says who has it. The system frees the lock when the holder dies."""
        lock = FileLock(self.path("lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout as err:
            raise locked(self.holder()) from err
        try:
            self.path(HOLDER).write_bytes(new_holder())
            yield
        finally:
            self.abandon()
            lock.release()

    def abandon(self) -> None:
        """Say of the lock that nobody holds it: before it is released, or before this process ends."""
        with suppress(OSError):
            self.path(HOLDER).unlink(missing_ok=True)

    def check_lock(self) -> None:
        """LockedError when the lock was lost meanwhile. The system's own, which guards a folder, is not lost."""

    # --- the same on every file system ---

    def holder(self) -> bytes:
        """What the lock's holder says of itself; empty where it does not say so yet, or let go this moment."""
        try:
            return self.read(HOLDER)
        except FileNotFoundError:
            return b""

    def put_bytes(self, raw: bytes, name: str) -> None:
        """Commit a small file under `name`."""
        with self.scratch() as folder:
            source = folder / "file"
            source.write_bytes(raw)
            self.put(source, name, rows=0)

    def verified(self, file: FileRef) -> Path:
        """The local path of `file` after its size and digest were checked; IntegrityError names what differs."""
        path = self.local(file)
        problem = differs(path, file)
        if problem is not None or path is None:
            raise IntegrityError(
                f"{file.path} with {file.bytes} bytes and blake3 {file.blake3}",
                problem or "no such file",
                "restore the file from a backup, or delete it and run `vitrine run` again: it is written anew",
            )
        return path

    def problem_of(self, file: FileRef) -> str | None:
        """What is wrong with `file` as the store has it, or None."""
        return differs(self.local(file), file)

    def stands(self, file: FileRef) -> bool:
        """Whether `file` is whole, so that a run need not write it again."""
        return self.problem_of(file) is None

    def current(self) -> str | None:
        """The id of the published snapshot; None before the first. IntegrityError when the pointer is lost."""
        if not self.exists(_CURRENT):
            if was_published(self):
                raise lost_pointer(self, "no CURRENT beside snapshots that were published")
            return None
        raw = self.read(_CURRENT)
        name = raw[:-1].decode("ascii", "replace")
        if raw != f"{name}\n".encode() or not _ID.fullmatch(name) or not self.exists(manifests.path_of(name)):
            gone = raw == f"{name}\n".encode() and _ID.fullmatch(name)
            raise lost_pointer(
                self, f"{raw[:80]!r}" + (f", but {manifests.path_of(name)} is not there" if gone else "")
            )
        return name

    def snapshots(self) -> list[str]:
        """The ids of all snapshots that the store has, published or not, by time."""
        names = (Path(name).stem for name in self.names("snapshots") if name.endswith(".json"))
        return [name for name in names if _ID.fullmatch(name)]

    def published(self) -> tuple[str, Manifest]:
        """The id and the manifest of the published snapshot; InputError before the first."""
        snapshot_id = self.current()
        if snapshot_id is None:
            fix = "run `vitrine run -c CONFIG store.path=...` first"
            raise InputError(f"a published snapshot in {self.root}", "none yet", fix)
        return snapshot_id, self.manifest(snapshot_id)

    def manifest(self, snapshot_id: str) -> Manifest:
        """The manifest of a snapshot, published or not; InputError where there is none of that id."""
        if not _ID.fullmatch(snapshot_id) or not self.exists(manifests.path_of(snapshot_id)):
            fix = "`ls snapshots/` in the store shows them"
            raise InputError("a file of snapshots/ without .json", repr(snapshot_id), fix)
        return manifests.parse(self.read(manifests.path_of(snapshot_id)), snapshot_id)

    def publish(self, new: Manifest, anew: bool = False) -> str:
        """Commit the manifest, then point CURRENT at it; LockedError when CURRENT is no longer `new.parent`, or the
        lock is no longer held. With `anew`, whatever CURRENT is.

        The caller holds the lock, so nobody else moves CURRENT between the comparison and the replacement.
        """
        name = new.snapshot_id()
        self.put_bytes(new.to_bytes(), manifests.path_of(name))
        current = new.parent if anew else self.current()
        if current != new.parent:
            raise LockedError(
                f"CURRENT to be {new.parent} still", f"it is {current}", "another run published meanwhile: run again"
            )
        self.check_lock()
        self.put_bytes(f"{name}\n".encode(), _CURRENT)
        return name


def digest_file(path: Path) -> tuple[str, int]:
    """The blake3 (64 hex digits) and the size in bytes of a file, read by memory mapping."""
    hasher = blake3(max_threads=1)
    hasher.update_mmap(str(path))
    return hasher.hexdigest(), path.stat().st_size


def differs(path: Path | None, file: FileRef) -> str | None:
    """How the file at `path` differs from what `file` says of it; None when it does not."""
    if path is None:
        return "no such file"
    digest, size = digest_file(path)
    if size != file.bytes:
        return f"{size} bytes"
    return None if digest == file.blake3 else f"blake3 {digest}"


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


def inside(name: str) -> str:
    """`name`, when it stays inside the store; a manifest from elsewhere might name anything."""
    if not Path(name).parts or Path(name).is_absolute() or ".." in Path(name).parts:
        fix = "the manifest was not written by vitrine: do not use this store"
        raise IntegrityError("a path inside the store", repr(name), fix)
    return name
