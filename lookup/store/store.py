"""The store: a folder that holds everything a run publishes. What a snapshot names is written once, under a name that
its content decides; publications, which send readers to a snapshot, are created and never replaced.

A file appears whole, after its bytes are on the disk: readers never see half of one. A file is opened only after
its digest was checked, because FAISS and Parquet read altered bytes without a word.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from foundation.errors import InputError, IntegrityError, LockedError
from foundation.liveness import beat
from foundation.machine import machine_fault
from foundation.regular_files import utf8_path
from lookup.store import manifest as manifests
from lookup.store.backends.backend import Backend
from lookup.store.backends.folder import FolderBackend
from lookup.store.backends.holder import FOLDER as LOCKS
from lookup.store.backends.holder import courtesy_lock
from lookup.store.backends.scratch import TMP, held, scratch_folder, sign_of
from lookup.store.digests import differs, digest_file
from lookup.store.fields import FileRef
from lookup.store.manifest import Manifest
from lookup.store.publications import history
from lookup.store.publications.publication import FOLDER, Publication, listed, path_of


class TakenError(LockedError):
    """Somebody published meanwhile: the `number` that a publication would have had is taken."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"no {path_of(number)} yet, which this run would create",
            "another run published meanwhile",
            "run again: what is made is not made twice",
        )
        self.number = number

    def __reduce__(self) -> tuple[type[TakenError], tuple[int]]:
        return type(self), (self.number,)


class Store:
    """A store over a backend: what is committed, checked, locked and published, wherever the files lie."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.root = backend.root
        self._tmp = backend.local(TMP)

    @staticmethod
    def at(path: str) -> Store:
        """The store at `path`, there or not; for workers of a run that has made it."""
        path = path.removeprefix("file://")
        if "://" in path:
            from lookup.store.backends.bucket import BucketBackend  # fsspec takes long to load, and folders need none

            return Store(BucketBackend(path))
        return Store(FolderBackend(utf8_path(str(Path(path).absolute()))))

    @staticmethod
    def open(path: str) -> Store:
        """The store at `path`, a folder or an fsspec URL, which must exist; InputError otherwise."""
        store = Store.at(path)
        if not any(store.names(folder) for folder in ("runs", FOLDER, "snapshots")):
            raise InputError(f"a store at {path}", "none there", "run `vitrine run -c CONFIG store.path=...` first")
        return store

    @staticmethod
    def create(path: str) -> Store:
        """The store at `path`, made where it is absent."""
        store = Store.at(path)
        try:
            store.backend.prepare()
        except OSError as err:
            raise machine_fault(err) or InputError(
                f"a folder for the store at {path}", str(err), "choose a path that can be written: store.path=..."
            ) from err
        return store

    # --- files ---

    def exists(self, name: str) -> bool:
        """Whether the file `name` was written."""
        return self.backend.exists(name)

    def read(self, name: str) -> bytes:
        """The bytes of a small file; FileNotFoundError where there is none."""
        return self.backend.read(name)

    def names(self, folder: str) -> list[str]:
        """The names of what lies directly in `folder`, sorted; none where it is absent."""
        return self.backend.names(folder)

    def remove(self, folder: str) -> None:
        """Drop `folder`, of files that no snapshot names, there or not."""
        self.backend.remove(folder)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A local folder for files in the making; gone afterwards."""
        if not self.backend.in_place:
            self.backend.prepare()
        with scratch_folder(self._tmp) as folder:
            yield folder

    @contextmanager
    def folder(self, name: str) -> Iterator[Path]:
        """A local folder whose files are those of `name` in the store when the body ends, also when it raises: for a
        log that grows and other notes of a run.
        """
        if self.backend.in_place:
            path = self.backend.local(name)
            path.mkdir(parents=True, exist_ok=True)
            yield path
            return
        with self.scratch() as path:
            try:
                yield path
            finally:
                self.hand_in(path, name)

    def hand_in(self, path: Path, name: str) -> None:
        """Make what lies in `path`, which `folder` gave, the files of `name` by now."""
        if not self.backend.in_place:
            for file in sorted(path.iterdir()):
                self.put(file, f"{name}/{file.name}", rows=0)

    def put(self, source: Path, name: str, rows: int, at_hand: bool = False) -> FileRef:
        """Commit a finished file of a run's own under `name`, in place of another: it is there, whole, when this
        returns. With `at_hand`, this machine has its copy too, for workers that are about to read it.
        """
        digest, size = digest_file(source)
        beat()
        self.backend.replace(source, name)
        if at_hand and not self.backend.in_place:
            copy = self.backend.local(name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, copy)
        return FileRef(path=name, bytes=size, rows=rows, blake3=digest)

    @contextmanager
    def reading(self, file: FileRef) -> Iterator[BinaryIO]:
        """`file`, of which parts are read, whatever they are now; IntegrityError where there is none."""
        try:
            opened = self.backend.open(file.path)
        except FileNotFoundError as err:
            raise _missing(file, "no such file") from err
        with opened:
            yield opened

    def put_content(self, source: Path, folder: str, suffix: str, rows: int) -> FileRef:
        """Commit a finished scratch file under the digest of its bytes, in `folder`, as `put_whole` does."""
        digest, size = digest_file(source)
        file = FileRef(path=f"{folder}/{digest[:32]}{suffix}", bytes=size, rows=rows, blake3=digest)
        self.put_whole(source, file)
        return file

    def put_whole(self, source: Path, file: FileRef) -> None:
        """Commit a finished scratch file as `file`, whose name its content decides: it is never another's. One that is
        there and whole is left as it is; one that is damaged is replaced by the bytes that its name promises.
        """
        if not self.stands(file):
            try:
                self.backend.put(source, file.path)
            except FileExistsError:  # damaged, unless another process was quicker
                if not self.stands(file):
                    self.backend.replace(source, file.path)
        beat()

    def local(self, file: FileRef) -> Path | None:
        """A local path with the bytes of `file`, whatever they are now; None when there is no such file. A copy that is
        there and has the right digest is not fetched again.
        """
        copy = self.backend.local(file.path)
        if self.backend.in_place:
            return copy if copy.is_file() else None
        self.backend.prepare()
        if copy.is_file() and differs(copy, file) is None:
            return copy
        with self.scratch() as folder:
            fetched = self.backend.fetch(file.path, folder)
            if fetched is None:
                return None
            copy.parent.mkdir(parents=True, exist_ok=True)
            os.replace(fetched, copy)
        return copy

    def problem_of(self, file: FileRef) -> str | None:
        """What is wrong with `file` as it lies in the store, whatever copies there are; None when nothing is."""
        if self.backend.in_place:
            return differs(self.local(file), file)
        with self.scratch() as folder:
            return differs(self.backend.fetch(file.path, folder), file)

    def stands(self, file: FileRef) -> bool:
        """Whether `file` is whole, so that a run need not write it again. Services keep their bytes under checksums of
        their own, and to fetch every object each night would cost more than what the reuse saves: there its size tells.
        """
        if self.backend.in_place:
            return self.problem_of(file) is None
        return self.backend.size(file.path) == file.bytes

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
            raise _missing(file, problem or "no such file")
        return path

    # --- who is at work ---

    @contextmanager
    def courtesy_lock(self, what: str) -> Iterator[None]:
        """Hold `what`, such as "the whole catalog", while the body runs; LockedError says who has it. In a bucket only
        processes of this machine are told.
        """
        with courtesy_lock(self.backend.local(LOCKS), what):
            yield

    @contextmanager
    def working(self, run: str) -> Iterator[Path]:
        """`run` is at work while the body is: nobody takes what it has in scratch for a dead run's. Its sign of life is
        given: a file that processes of this machine touch, which need not be there.
        """
        with held(self._tmp, run):
            yield self.sign_of(run)

    def sign_of(self, run: str) -> Path:
        """The sign of life of a run, see `working`."""
        return sign_of(self._tmp, run)

    # --- snapshots ---

    def latest(self) -> Publication | None:
        """The publication that readers follow; None before the first. IntegrityError when it is damaged or lost."""
        return history.latest(self.backend)

    def publications(self) -> list[Publication]:
        """The history of what is published, newest last; IntegrityError when one is damaged or skipped."""
        return history.every(self.backend)

    def published_since(self, base: Publication | None) -> list[Publication]:
        """What was published on top of `base` (None: of nothing), newest last."""
        return history.since(self.backend, -1 if base is None else base.number)

    def current(self) -> str | None:
        """The id of the published snapshot; otherwise as `latest`."""
        publication = self.latest()
        return None if publication is None else publication.snapshot

    def snapshots(self) -> list[str]:
        """The ids of all snapshots that the store has, published or not, by time."""
        return manifests.ids_in(self.backend)

    def published(self) -> tuple[str, Manifest]:
        """The id and the manifest of the published snapshot; InputError before the first."""
        snapshot_id = self.current()
        if snapshot_id is None:
            fix = "run `vitrine run -c CONFIG store.path=...` first"
            raise InputError(f"a published snapshot in {self.root}", "none yet", fix)
        return snapshot_id, self.manifest(snapshot_id)

    def manifest(self, snapshot_id: str) -> Manifest:
        """The manifest of a snapshot, published or not; InputError where there is none of that id."""
        if not manifests.is_id(snapshot_id) or not self.exists(manifests.path_of(snapshot_id)):
            fix = "`ls snapshots/` in the store shows them"
            raise InputError("a file of snapshots/ without .json", repr(snapshot_id), fix)
        return manifests.read_manifest(self.backend, snapshot_id)

    def publish(self, new: Manifest, base: Publication | None, reason: str) -> Publication:
        """Commit the manifest, and publish it on top of `base`, what was published when the run started.

        TakenError when somebody published meanwhile: then nothing is published.
        """
        number = 1 if base is None else base.number + 1
        if self.exists(path_of(number)):
            raise TakenError(number)
        snapshot_id = self._commit(new)
        held = () if base is None else base.held
        return self.publish_on(base, new_publication(number, base, snapshot_id, new, new.run, reason, held))

    def publish_anew(self, new: Manifest, reason: str) -> Publication:
        """As `publish`, on top of whatever is there, damaged or not."""
        snapshot_id = self._commit(new)
        base, number = self.top()
        held = history.held(self.backend, base)
        return self.publish_on(base, new_publication(number, base, snapshot_id, new, new.run, reason, held))

    def _commit(self, new: Manifest) -> str:
        """Put the files of a manifest, segments first: whoever finds it finds them, and all that it names, also after a
        loss of power. The id of the snapshot.
        """
        snapshot_id, manifest, segments = new.written()
        with self.scratch() as folder:
            self._put_bytes_whole(segments, manifests.segments_path(snapshot_id), folder)
            names = [manifests.segments_path(snapshot_id), *(file.path for file in new.files())]
            if new.parent is None:  # without a note of its run, a first snapshot is taken for one that was published
                names += [f"runs/{new.run}/{name}" for name in self.names(f"runs/{new.run}")]
            self.backend.settle(names)
            self._put_bytes_whole(manifest, manifests.path_of(snapshot_id), folder)
        return snapshot_id

    def _put_bytes_whole(self, raw: bytes | memoryview, path: str, folder: Path) -> None:
        source = folder / "file"
        source.write_bytes(raw)
        digest, size = digest_file(source)
        self.put_whole(source, FileRef(path=path, bytes=size, rows=0, blake3=digest))

    def top(self) -> tuple[Publication | None, int]:
        """(the latest publication, None where it is damaged, too; the next number that is free)."""
        try:
            base = self.latest()
        except IntegrityError:
            base = None
        return base, max(listed(self.backend), default=0) + 1 if base is None else base.number + 1

    def publish_on(self, base: Publication | None, made: Publication) -> Publication:
        """Create the file of `made`, on top of `base`; LockedError where its number is taken. An earlier version, which
        reads CURRENT, then ends with exit code 4 rather than serve for ever what that names.
        """
        if self.exists(history.CURRENT):
            if base is not None and not self.exists(path_of(base.number)):
                self.backend.create(base.to_bytes(), path_of(base.number))
            self.backend.delete(history.CURRENT)
        before = [] if base is None else [path_of(base.number)]  # who created it may have died before it was settled
        self.backend.settle([manifests.path_of(made.snapshot), *before])
        try:
            self.backend.create(made.to_bytes(), path_of(made.number))
        except FileExistsError as err:
            raise TakenError(made.number) from err
        return made.signed()


def scratch_of(run: str) -> str:
    """The folder of the store in which workers of a run hand on files to each other; gone when it ends."""
    return f"{TMP}/{run}"


def new_publication(
    number: int,
    base: Publication | None,
    snapshot_id: str,
    manifest: Manifest,
    run: str | None,
    reason: str,
    held: Iterable[str],
) -> Publication:
    """What says that a snapshot, whose `manifest` is given, is published on top of `base`; `held` without its own."""
    mine = (manifest.made_from, manifest.built_from)
    return Publication(
        number=number,
        before=None if base is None else base.number,
        snapshot=snapshot_id,
        parent=manifest.parent,
        run=run,
        published_at=datetime.now(UTC),
        reason=reason,
        content=manifest.made_from,
        held=tuple(one for one in dict.fromkeys(held) if one not in mine),
    ).signed()


def _missing(file: FileRef, came: str) -> IntegrityError:
    return IntegrityError(
        f"{file.path} with {file.bytes} bytes and blake3 {file.blake3}",
        came,
        "restore the file from a backup, or delete it and run `vitrine run` again: it is written anew",
    )
