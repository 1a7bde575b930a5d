"""How a model comes into the models folder: beside its place first, its folder then, its line in the lock last."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from encoders.models.folders import OPEN_CLIP_CONFIG, deciding_files, digest_of, open_model
from encoders.models.lock import LOCK, Lock, LockedFile, PackagedModel, PulledModel

Entry = TypeVar("Entry", PulledModel, PackagedModel)


@contextmanager
def held(folder: Path) -> Iterator[Lock]:
    """The lock of a models folder, which is made where it lacks, and which nobody else changes meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{LOCK}.pulling"):
        yield Lock.read(folder)


def put(
    folder: Path,
    lock: Lock,
    name: str,
    fill: Callable[[Path], None],
    entry_of: Callable[[dict[str, LockedFile]], Entry],
) -> Entry:
    """Let `fill` write the model's files into a new folder, and put that at `name` in a `held` models folder.

    `entry_of` its files is the line of the lock. What a run would refuse is not put in place; what stood there before
    is gone afterwards.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".pull-") as scratch:
        filled = Path(scratch) / name
        fill(filled)
        open_model(str(filled.resolve()), layout_of(filled))
        entry = entry_of(_locked(filled))
        if (folder / name).exists():
            (folder / name).rename(Path(scratch) / "before")
        filled.rename(folder / name)
    Lock(models={**lock.models, name: entry}).write(folder)
    return entry


def layout_of(folder: Path) -> str:
    """The settings file of the layout to keep: open_clip's where transformers' is absent or brings code of its own."""
    theirs = folder / "config.json"
    usable = theirs.exists() and "auto_map" not in theirs.read_text(encoding="utf-8")
    return OPEN_CLIP_CONFIG if (folder / OPEN_CLIP_CONFIG).exists() and not usable else theirs.name


def _locked(path: Path) -> dict[str, LockedFile]:
    return {file.name: LockedFile(size=file.stat().st_size, blake3=digest_of(file)) for file in deciding_files(path)}
