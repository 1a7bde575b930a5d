"""What a place has to offer for a store to lie in it; what is done with that is the store's policy (store.py)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from foundation.errors import IntegrityError


class Found(NamedTuple):
    """A file that a listing shows: its name, its bytes, and when it was written, in seconds since 1970 by the clock of
    whoever keeps it.
    """

    name: str
    bytes: int
    written: float


class Backend(ABC):
    """Files under names such as `shards/ab.parquet`, in one place, named `root`. A file appears whole or not at all.

    Several processes may use it at once. `create` is what they agree by: of those who create one name one does.
    """

    in_place = True  # whether `local` names the files themselves, so that what is written there is in the store

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
    def written(self, name: str) -> float | None:
        """When the file was written, as `Found` has it; None where there is none."""

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
    def walk(self, folder: str) -> list[Found]:
        """All files below `folder`, by name, in as few requests as there can be; none where it is absent."""

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

    def settle(self, names: Iterable[str]) -> None:  # noqa: B027  # a bucket has nothing to do
        """Wait until files that were put can be found under their `names` also after a loss of power."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete a file, there or not; OSError where that fails."""

    @abstractmethod
    def remove(self, folder: str) -> None:
        """Drop `folder` and this machine's copies of it, there or not."""


def inside(name: str) -> str:
    """`name`, when it stays inside the store; a manifest from elsewhere might name anything."""
    path = Path(name)
    if not path.parts or path.is_absolute() or ".." in path.parts:
        fix = "the manifest was not written by vitrine: do not use this store"
        raise IntegrityError("a path inside the store", repr(name), fix)
    return name
