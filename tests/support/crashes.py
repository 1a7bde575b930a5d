"""A backend that ends the process at one of its calls, as far as the code that runs can tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest

from lookup.store import store as stores
from lookup.store.backends.folder import FolderBackend

CHANGES = ("put", "replace", "create", "delete", "remove")
READS = ("exists", "size", "written", "read", "open", "fetch", "names", "walk")


class Crash(BaseException):
    """The end of the process. No `except Exception` and no `except OSError` goes on after it."""


class Crashing(FolderBackend):
    """A folder whose call number `at` is done, or not even that, and then nothing more is."""

    at: int | None = None  # None: it never crashes
    done_first = False
    calls = 0
    changes: ClassVar[list[int]] = []  # the numbers of calls that change something

    @classmethod
    def armed(cls, at: int | None, done_first: bool) -> type[Crashing]:
        """The same, which counts anew."""
        return type("Armed", (cls,), {"at": at, "done_first": done_first, "calls": 0, "changes": []})


def _counted(name: str) -> Callable[..., Any]:
    real = getattr(FolderBackend, name)

    def call(self: Crashing, *arguments: Any) -> Any:
        kind = type(self)
        kind.calls += 1
        if name in CHANGES:
            kind.changes.append(kind.calls)
        if kind.at is not None and kind.calls >= kind.at:
            if kind.calls == kind.at and kind.done_first:
                real(self, *arguments)
            raise Crash(f"at call {kind.calls}, {name}{arguments}")
        return real(self, *arguments)

    return call


for _name in (*CHANGES, *READS):
    setattr(Crashing, _name, _counted(_name))


@contextmanager
def crashing(at: int | None, done_first: bool = False) -> Iterator[type[Crashing]]:
    """Stores that are opened in the body crash at their backend's call number `at`, before or after it is done."""
    kind = Crashing.armed(at, done_first)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stores, "FolderBackend", kind)
        yield kind
