"""A store in a local folder. A file appears by rename, or by a link where none may be replaced, after its bytes are on
the disk.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from foundation.disk import sync
from foundation.errors import InputError
from foundation.regular_files import read_regular
from lookup.store.backend import Backend, Found, inside
from lookup.store.scratch import TMP, scratch_folder

_MOST_BYTES = 2**30  # of a manifest, record or note: ten million segments have 340 MB


class FolderBackend(Backend):
    """See Backend; `root` is absolute."""

    def prepare(self) -> None:
        """See Backend. InputError where there are no hard links: not first when a night is to be published."""
        self.local("runs").mkdir(parents=True, exist_ok=True)
        with scratch_folder(self.local(TMP)) as folder:
            file = folder / "file"
            file.touch()
            try:
                os.link(file, file.with_name("link"))
            except OSError as err:
                raise InputError(
                    "a file system with hard links, by which publications are created: no two runs publish at once",
                    f"{self.root}: {err.strerror}",
                    "keep the store on a file system of this machine, or in a bucket: store.path=...",
                ) from err

    def local(self, name: str) -> Path:
        """See Backend."""
        return Path(self.root) / inside(name)

    def exists(self, name: str) -> bool:
        """See Backend."""
        return self.local(name).is_file()

    def size(self, name: str) -> int | None:
        """See Backend."""
        return self.local(name).stat().st_size if self.exists(name) else None

    def read(self, name: str) -> bytes:
        """See Backend."""
        return read_regular(self.local(name), _MOST_BYTES)

    def open(self, name: str) -> BinaryIO:
        """See Backend."""
        return self.local(name).open("rb")

    def fetch(self, name: str, folder: Path) -> Path | None:
        """See Backend."""
        path = self.local(name)
        return path if path.is_file() else None

    def names(self, folder: str) -> list[str]:
        """See Backend."""
        path = self.local(folder)
        return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []

    def walk(self, folder: str) -> list[Found]:
        """See Backend."""
        found = []
        for path in self.local(folder).rglob("*"):
            with suppress(FileNotFoundError):  # gone meanwhile
                facts = path.stat()
                if stat.S_ISREG(facts.st_mode):
                    found.append(Found(path.relative_to(self.root).as_posix(), facts.st_size, facts.st_mtime))
        return sorted(found)

    def put(self, source: Path, name: str) -> None:
        """See Backend; the file is on the disk when this returns."""
        with self._folder_of(name) as target:
            sync(source)
            os.link(source, target)
            source.unlink()

    def replace(self, source: Path, name: str) -> None:
        """See Backend; the file is on the disk when this returns."""
        with self._folder_of(name) as target:
            sync(source)
            os.replace(source, target)

    def create(self, raw: bytes, name: str) -> None:
        """See Backend; the file is on the disk when this returns. The file system has to know hard links."""
        with scratch_folder(self.local(TMP)) as folder, self._folder_of(name) as target:
            source = folder / "new"
            source.write_bytes(raw)
            sync(source)
            try:
                os.link(source, target)
            except FileExistsError:
                if self.read(name) != raw:  # ours: a file server that was asked twice, and had heard the first time
                    raise

    def delete(self, name: str) -> None:
        """See Backend."""
        self.local(name).unlink(missing_ok=True)

    def remove(self, folder: str) -> None:
        """See Backend."""
        path = self.local(folder)
        if path.is_dir():
            shutil.rmtree(path)

    @contextmanager
    def _folder_of(self, name: str) -> Iterator[Path]:
        """The path of `name`, in a folder that is there; the name that the body gives it is on the disk afterwards."""
        target = self.local(name)
        new_folder = not target.parent.is_dir()
        target.parent.mkdir(parents=True, exist_ok=True)
        yield target
        sync(target.parent)
        if new_folder:
            sync(target.parent.parent)
