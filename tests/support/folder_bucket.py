"""A bucket that several processes share: gs:// in a folder, with what services promise of objects and no more."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

# What a process of its own executes first.
USE = "from pathlib import Path; from tests.support import folder_bucket; folder_bucket.use(Path({folder!r}))"


class FolderBucket(LocalFileSystem):  # type: ignore[misc]
    """Objects are files of a folder; each appears whole, and is created only where there is none if that is asked."""

    protocol = "gs"
    folder = Path("/nowhere")

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        if isinstance(path, str) and path.startswith("gs://"):
            return str(cls.folder / path.removeprefix("gs://").rstrip("/"))
        return str(super()._strip_protocol(path))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Write an object."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        made = target.with_name(f".{secrets.token_hex(8)}")
        made.write_bytes(value)
        try:
            os.link(made, target) if mode == "create" else os.replace(made, target)
        finally:
            made.unlink(missing_ok=True)

    def put_file(self, lpath: str, rpath: str, mode: str = "overwrite", **_: Any) -> None:
        """Send a file."""
        self.pipe_file(rpath, Path(lpath).read_bytes(), mode)


def use(folder: Path) -> None:
    """From now on gs:// is `folder`, in this process."""
    FolderBucket.folder = folder
    fsspec.register_implementation("gs", FolderBucket, clobber=True)
    FolderBucket.clear_instance_cache()
