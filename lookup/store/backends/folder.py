"""A store in a local folder. A file appears by rename, or by a link where none may be replaced, after its bytes are on
the disk: a loss of power leaves it whole or takes it away. Its name is on the disk once it was settled, which is done
before something that was created says that it is there.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from foundation.disk import sync
from foundation.errors import InputError
from foundation.regular_files import read_regular
from lookup.store.backends.backend import Backend, Found, inside
from lookup.store.backends.scratch import TMP, scratch_folder

_MOST_BYTES = 2**30  # of a manifest, record or note: ten million segments have 340 MB


class FolderBackend(Backend):
    """See Backend; `root` is absolute."""

    def prepare(self) -> None:
        """See Backend. InputError where there are no hard links: not first when a night is to be published."""
        root = Path(self.root)
        new = [folder for folder in (root, *root.parents) if not folder.is_dir()]
        self.local("runs").mkdir(parents=True, exist_ok=True)
        for folder in new:
            sync(folder.parent)
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
        facts = self._facts(name)
        return None if facts is None else facts.st_size

    def written(self, name: str) -> float | None:
        """See Backend."""
        facts = self._facts(name)
        return None if facts is None else facts.st_mtime

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
        return sorted(_walk(str(self.local(folder)), folder))

    def put(self, source: Path, name: str) -> None:
        """See Backend."""
        target = self._target(name)
        sync(source)
        os.link(source, target)
        source.unlink()

    def replace(self, source: Path, name: str) -> None:
        """See Backend."""
        target = self._target(name)
        if not name.startswith(f"{TMP}/"):  # scratch goes with the run, which goes with the power
            sync(source)
        os.replace(source, target)

    def create(self, raw: bytes, name: str) -> None:
        """See Backend; the file can be found after a loss of power. The file system has to know hard links."""
        target = self._target(name)
        with scratch_folder(self.local(TMP)) as folder:
            source = folder / "new"
            source.write_bytes(raw)
            sync(source)
            try:
                os.link(source, target)
            except FileExistsError:
                if self.read(name) != raw:  # ours: a file server that was asked twice, and had heard the first time
                    raise
        self.settle([name])

    def settle(self, names: Iterable[str]) -> None:
        """See Backend."""
        folders = {folder for name in names for folder in self.local(name).relative_to(self.root).parents}
        for folder in sorted(folders, reverse=True):
            sync(Path(self.root) / folder)

    def delete(self, name: str) -> None:
        """See Backend."""
        self.local(name).unlink(missing_ok=True)

    def remove(self, folder: str) -> None:
        """See Backend."""
        path = self.local(folder)
        if path.is_dir():
            shutil.rmtree(path)

    def _facts(self, name: str) -> os.stat_result | None:
        try:
            facts = os.stat(self.local(name))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return facts if stat.S_ISREG(facts.st_mode) else None

    def _target(self, name: str) -> Path:
        """The path of `name`, in a folder that is there."""
        target = self.local(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target


def _walk(path: str, name: str) -> Iterator[Found]:
    """By entries, not by paths: a rollback looks at 20,000 files within its second."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, f"{name}/{entry.name}")
            elif entry.is_file():
                with suppress(FileNotFoundError):  # gone meanwhile
                    facts = entry.stat()
                    yield Found(f"{name}/{entry.name}", facts.st_size, facts.st_mtime)
