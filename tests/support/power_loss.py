"""A disk that loses power: what it shows afterwards of what was written, linked and renamed, not all of it synced.

The rules are POSIX's, not those of one file system: the bytes of a file are on the disk once the file was synced, a
name in a folder once that folder was, each name by itself. All else is there or not, in any combination; a file that
was never synced may be there by its name and hold half of its bytes.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.crashes import Crash

FOLDER = -1  # in the place of a file's number

Tree = dict[str, int]  # the path of what is visible, below the disk's root -> its number


@dataclass(frozen=True)
class Named:
    """`path` names the file of that number, a folder, or (None) nothing any more."""

    path: str
    number: int | None

    @property
    def folder(self) -> str:
        """The folder whose sync brings this to the disk."""
        return os.path.dirname(self.path)


@dataclass(frozen=True)
class Synced:
    """A file's bytes are on the disk, of that number, or the names in a folder."""

    what: int | str


@dataclass(frozen=True)
class Reached:
    """Not of the disk: the code came so far that what it did has to last."""

    what: str


Event = Named | Synced | Reached


@dataclass
class Disk:
    """What happens below `root`, but for paths below it that `apart` leaves out, recorded from a moment at which all
    that is there is on the disk.
    """

    root: Path
    apart: Callable[[str], bool]
    events: list[Event] = field(default_factory=list)
    last: int | None = None  # the process is killed after so many events
    before: Tree = field(default_factory=dict)
    _numbers: dict[tuple[int, int], int] = field(default_factory=dict)
    _handles: list[int] = field(default_factory=list)  # open, so that the system gives no file the number of another
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        for path in sorted(self.root.rglob("*")):
            self.before[self._below(path)] = FOLDER if path.is_dir() else self._number(path)

    def bytes_of(self, number: int) -> bytes:
        """What was written to a file, all of it."""
        return os.pread(self._handles[number], os.fstat(self._handles[number]).st_size, 0)

    def reached(self, what: str) -> None:
        """From now on what was done has to last."""
        self.events.append(Reached(what))

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """While the body runs, what is done below the root is recorded, in the order in which it was done."""
        with ExitStack() as stack:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            for name, record in (
                ("link", self._linked),
                ("replace", self._renamed),
                ("rename", self._renamed),
                ("unlink", self._unlinked),
                ("remove", self._unlinked),
                ("mkdir", self._made),
                ("rmdir", self._unlinked),
                ("fsync", self._synced),
            ):
                patch.setattr(os, name, self._recording(getattr(os, name), record))
            yield

    def close(self) -> None:
        """Let go of the files."""
        for handle in self._handles:
            os.close(handle)

    def _recording(self, real: Callable[..., Any], record: Callable[..., list[Event]]) -> Callable[..., Any]:
        def do(path: Any, *arguments: Any, **named: Any) -> Any:
            inner = named.get("dir_fd")  # shutil.rmtree has folders open
            with self._lock:
                if self.last is not None and len(self.events) >= self.last:
                    raise Crash(f"after {self.last} events")
                events = record(path if inner is None else Path(f"/proc/self/fd/{inner}").resolve() / path, *arguments)
                result = real(path, *arguments, **named)
                self.events += events
                return result

        return do

    def _linked(self, source: Any, target: Any) -> list[Event]:
        return [Named(self._below(target), self._number(source))] if self._holds(target) else []

    def _renamed(self, source: Any, target: Any) -> list[Event]:
        if not self._holds(target):
            return []
        assert not Path(source).is_dir(), f"the model knows no renamed folders: {source}"
        return [Named(self._below(target), self._number(source)), Named(self._below(source), None)]

    def _unlinked(self, path: Any) -> list[Event]:
        return [Named(self._below(path), None)] if self._holds(path) and os.path.lexists(path) else []

    def _made(self, path: Any, *_: Any) -> list[Event]:
        return [Named(self._below(path), FOLDER)] if self._holds(path) and not os.path.lexists(path) else []

    def _synced(self, handle: int) -> list[Event]:
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if not path.is_dir():
            return [Synced(self._number(path))] if path.is_relative_to(self.root) else []
        return [Synced(self._below(path))] if self._holds(path) else []

    def _number(self, path: Any) -> int:
        facts = os.stat(path)
        key = facts.st_dev, facts.st_ino
        if key not in self._numbers:
            self._numbers[key] = len(self._handles)
            self._handles.append(os.open(path, os.O_RDONLY))
        return self._numbers[key]

    def _holds(self, path: Any) -> bool:
        if isinstance(path, int) or not Path(os.path.abspath(path)).is_relative_to(self.root):
            return False
        return not self.apart(self._below(path))

    def _below(self, path: Any) -> str:
        below = Path(os.path.abspath(path)).relative_to(self.root).as_posix()
        return "" if below == "." else below


@dataclass(frozen=True)
class Shown:
    """What a disk shows after it lost power: `tree`, of which the files `torn` hold half of their bytes."""

    tree: Tree
    torn: frozenset[int]
    reached: tuple[str, ...]  # how far the code had come

    @property
    def key(self) -> frozenset[tuple[str, int, bool]]:
        """Equal where two disks show the same."""
        return frozenset((path, number, number in self.torn) for path, number in self.tree.items())


def losses(
    before: Tree, events: Sequence[Event], chance: random.Random | None = None, start: int = 0
) -> Iterator[Shown]:
    """What the disk may show when power is lost after any number of `events`, from `start` on: nothing that was not
    synced, all of it, each of it alone, all but each of it; with `chance` some combinations more.
    """
    lasting, synced, pending = dict(before), set(before.values()), list[Named]()
    reached: tuple[str, ...] = ()
    for at, event in enumerate([*events, None]):
        if at >= start:
            for kept in _kept(pending, chance):
                tree = dict(lasting)
                for one in kept:
                    _name(tree, one)
                seen = _visible(tree)
                yield Shown(seen, frozenset(n for n in seen.values() if n != FOLDER and n not in synced), reached)
        if isinstance(event, Named):
            pending.append(event)
        elif isinstance(event, Reached):
            reached = (*reached, event.what)
        elif isinstance(event, Synced) and isinstance(event.what, int):
            synced.add(event.what)
        elif isinstance(event, Synced):
            for one in pending:
                if one.folder == event.what:
                    _name(lasting, one)
            pending = [one for one in pending if one.folder != event.what]


def _kept(pending: list[Named], chance: random.Random | None) -> Iterator[list[Named]]:
    yield []
    yield pending
    for n in range(len(pending)):
        yield [pending[n]]
        yield pending[:n] + pending[n + 1 :]
    for _ in range(8 if chance is not None and len(pending) > 2 else 0):
        assert chance is not None
        yield [one for one in pending if chance.random() < 0.5]


def _name(tree: Tree, event: Named) -> None:
    if event.number is None:
        tree.pop(event.path, None)
    else:
        tree[event.path] = event.number


def _visible(tree: Tree) -> Tree:
    """What can be reached from the root: a name lasts, the folder that it is in perhaps does not."""
    seen: Tree = {}
    for path in sorted(tree):  # a folder before what lies in it
        folder = os.path.dirname(path)
        if not folder or seen.get(folder) == FOLDER:
            seen[path] = tree[path]
    return seen
