"""A store on any file system that fsspec opens: gs://, s3://, memory://. Files are read through a local cache.

An object appears whole or not at all, so there is nothing to rename. The lock is an object that is created only where
there is none; it outlives a holder that is killed, and then a person has to delete it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec

from lookup.manifest import FileRef
from lookup.store import HOLDER, Store, differs, digest_file, holder, inside, locked


class RemoteStore(Store):
    """A store under an fsspec URL. `VITRINE_CACHE` names the folder for local copies (default: one under the
    system's).
    """

    def __init__(self, root: str) -> None:
        super().__init__(root.rstrip("/"))
        self.fs, self.base = fsspec.core.url_to_fs(self.root)
        default = Path(tempfile.gettempdir()) / f"vitrine-cache-{os.getuid()}"
        folder = Path(os.environ.get("VITRINE_CACHE", default))
        self.cache = folder / hashlib.blake2b(self.root.encode(), digest_size=8).hexdigest()

    def prepare(self) -> None:
        """Make the folder of the cache; object stores have no folders of their own."""
        self.cache.mkdir(parents=True, exist_ok=True)

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
        folder = Path(tempfile.mkdtemp(dir=self.cache))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def folder(self, name: str) -> Iterator[Path]:
        """A local folder whose files become those of `name` in the store when the body ends, also when it raises."""
        with self.scratch() as path:
            try:
                yield path
            finally:
                for file in sorted(path.iterdir()):
                    self.put(file, f"{name}/{file.name}", rows=0)

    def sweep(self) -> None:
        """Nothing: scratch is this machine's own, and another store's runs may be using it."""

    def put(self, source: Path, name: str, rows: int) -> FileRef:
        """Commit a finished scratch file under `name`."""
        digest, size = digest_file(source)
        self.fs.put_file(str(source), self._object(name))
        return FileRef(path=name, bytes=size, rows=rows, blake3=digest)

    def local(self, file: FileRef) -> Path | None:
        """A local copy of `file`; one that is there and has the right digest is not fetched again."""
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

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store for a run; LockedError says who has it."""
        try:
            self.fs.pipe_file(self._object(HOLDER), holder(), mode="create")
        except FileExistsError as err:
            fix = f"wait for that run to end; if it is dead, delete {self.root}/{HOLDER}"
            raise locked(self.read(HOLDER), fix) from err
        try:
            yield
        finally:
            self.fs.rm_file(self._object(HOLDER))

    def _fetch(self, file: FileRef, folder: Path) -> Path | None:
        if not self.exists(file.path):
            return None
        self.fs.get_file(self._object(file.path), str(folder / "copy"))
        return folder / "copy"

    def _object(self, name: str) -> str:
        return f"{self.base}/{inside(name)}"
