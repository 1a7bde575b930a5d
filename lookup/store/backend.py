"""What a place has to offer for a store to lie in it; what is done with that is the store's policy (store.py)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from foundation.errors import IntegrityError


class Lock(ABC):
    """The lock of a store: one process at a time has it."""

    @abstractmethod
    def acquire(self) -> None:
        """Take it; LockedError says who has it."""

    @abstractmethod
    def check(self) -> None:
        """LockedError when it was lost meanwhile."""

    @abstractmethod
    def abandon(self) -> None:
        """Say that nobody holds it: before it is released, or before this process ends."""

    @abstractmethod
    def release(self) -> None:
        """Give it back, and say so."""


class Backend(ABC):
    """Files under names such as `shards/ab.parquet`, in one place, named `root`. A file appears whole or not at all.

    `scratch` is the local folder for files in the making, on the disk that they will lie on if that is one of this
    machine; folders of ours in it begin with `prefix`. `sign` is the local file by which processes of this machine see
    that a run is alive; it need not be there.
    """

    in_place = True  # whether `local` names the files themselves, so that what is written there is in the store
    scratch: Path
    prefix = ""
    sign: Path

    def __init__(self, root: str) -> None:
        self.root = root

    @abstractmethod
    def prepare(self) -> None:
        """Make what is needed to write; OSError or InputError where it cannot be."""

    @abstractmethod
    def local(self, name: str) -> Path:
        """Where the file, or a copy of it, lies or would lie on this machine."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether the file was written."""

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Bytes of the file; None where there is none."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The bytes of a small file; FileNotFoundError where there is none."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """A file of which parts are read; FileNotFoundError where there is none."""

    @abstractmethod
    def fetch(self, name: str, folder: Path) -> Path | None:
        """A local file with the bytes as they are now, in `folder` if they have to be copied; None where there are
        none.
        """

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """The names of what lies directly in `folder`, sorted; none where it is absent."""

    @abstractmethod
    def put(self, source: Path, name: str) -> None:
        """Make the finished local file `source`, which may be moved, the file `name`; FileExistsError where one is,
        whatever its bytes.
        """

    @abstractmethod
    def replace(self, source: Path, name: str) -> None:
        """As `put`, in place of another: of notes of a run, and of a file that is damaged."""

    @abstractmethod
    def create(self, raw: bytes, name: str) -> None:
        """Write a small file where there is none, whole or not at all; FileExistsError where one of other bytes is."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete a file, there or not; OSError where that fails."""

    @abstractmethod
    def remove(self, folder: str) -> None:
        """Drop `folder` and this machine's copies of it, there or not."""

    @abstractmethod
    def leftovers(self) -> Iterator[Path]:
        """What dead processes left in `scratch`, for whoever holds the lock."""

    @abstractmethod
    def lock(self) -> Lock:
        """The lock, not yet taken."""


def inside(name: str) -> str:
    """`name`, when it stays inside the store; a manifest from elsewhere might name anything."""
    if not Path(name).parts or Path(name).is_absolute() or ".." in Path(name).parts:
        fix = "the manifest was not written by vitrine: do not use this store"
        raise IntegrityError("a path inside the store", repr(name), fix)
    return name
