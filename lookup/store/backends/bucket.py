"""A store in a bucket, through fsspec: s3://, gs://, abfs://, memory://. Files are read through a local cache.

An object appears whole or not at all, so there is nothing to rename. The service itself creates a publication only
where there is none: of two runs that want a number one gets it. There is no lock: it would outlive who is killed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import fsspec

from foundation.errors import InputError
from foundation.liveness import beat
from foundation.machine import machine_fault
from lookup.store.backends.backend import Backend, Found, inside

# Their drivers hand `mode="create"` on to the service (read in s3fs 2026.9, gcsfs 2026.10, adlfs 2026.8 and fsspec's
# memory). Others look first and then write, or overwrite, so that two runs would both have a number.
_SCHEMES = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory")
_WRITTEN = ("LastModified", "mtime", "last_modified", "created")  # as s3fs, gcsfs, adlfs and memory call it


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

    def __init__(self, root: str) -> None:
        super().__init__(root.rstrip("/"))
        self.fs, self.base = _bucket(self.root)
        default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vitrine"
        folder = Path(os.environ.get("VITRINE_CACHE") or default)
        self.cache = folder / hashlib.blake2b(self.root.encode(), digest_size=8).hexdigest()

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

    def local(self, name: str) -> Path:
        """See Backend."""
        return self.cache / inside(name)

    def exists(self, name: str) -> bool:
        """See Backend."""
        return bool(self.fs.isfile(self._object(name)))

    def size(self, name: str) -> int | None:
        """See Backend."""
        facts = self._facts(name)
        return None if facts is None else int(facts["size"])

    def written(self, name: str) -> float | None:
        """See Backend."""
        self.fs.invalidate_cache()
        facts = self._facts(name)
        return None if facts is None else _written(facts)

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

    def walk(self, folder: str) -> list[Found]:
        """See Backend."""
        self.fs.invalidate_cache()
        found = self.fs.find(self._object(folder), detail=True)
        prefix = f"{self.base.strip('/')}/"
        return sorted(
            Found(name.strip("/").removeprefix(prefix), int(facts["size"]), _written(facts))
            for name, facts in found.items()
        )

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

    def _small(self, name: str) -> bytes | None:
        try:
            return self.read(name)
        except FileNotFoundError:
            return None

    def _facts(self, name: str) -> dict[str, Any] | None:
        try:
            facts: dict[str, Any] = self.fs.info(self._object(name))
        except FileNotFoundError:
            return None
        return facts if facts["type"] == "file" else None

    def _object(self, name: str) -> str:
        return f"{self.base}/{inside(name)}"


def _written(facts: dict[str, Any]) -> float:
    """When an object was written, by the service's clock."""
    found = next(facts[name] for name in _WRITTEN if facts.get(name) is not None)
    if isinstance(found, str):
        found = datetime.fromisoformat(found)
    return float(found.timestamp() if isinstance(found, datetime) else found)


def _bucket(root: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """(the file system of `root`, its path there); InputError when it cannot hold a store."""
    scheme = root.partition("://")[0]
    if scheme not in _SCHEMES:
        raise InputError(
            f"a store in a folder, or under {', '.join(f'{known}://' for known in _SCHEMES)}",
            f"{root}: with {scheme}:// two runs could publish under one number",
            "correct store.path",
        )
    try:
        fs, base = fsspec.core.url_to_fs(root)
    except (ImportError, ValueError) as err:
        fix = "install it beside vitrine (s3fs for s3://, gcsfs for gs://, adlfs for abfs://), or correct store.path"
        raise InputError(f"fsspec's driver for {scheme}://", f"{root}: {err}", fix) from err
    return fs, base
