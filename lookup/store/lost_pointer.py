"""A store whose pointer is gone is damaged, not new: a run that took it for new would publish without its gates.

What tells them apart is whether a snapshot was ever published. One that a first run was killed over, between its
manifest and CURRENT, was not.
"""

from __future__ import annotations

import json
from typing import Protocol

from foundation.errors import IntegrityError
from lookup.store import manifest as manifests
from lookup.store.manifest import Manifest

_NAMED = 5


class Snapshots(Protocol):
    """What of a store is looked at."""

    def snapshots(self) -> list[str]:
        """The ids of all snapshots, by time."""

    def read(self, name: str) -> bytes:
        """The bytes of a small file."""

    def exists(self, name: str) -> bool:
        """Whether a file was written."""

    def names(self, folder: str) -> list[str]:
        """The names of what lies in a folder."""


def lost_pointer(store: Snapshots, came: str) -> IntegrityError:
    """The error for a store whose CURRENT is `came`, with the snapshots that may be served instead."""
    names = store.snapshots()[::-1]
    whole = [name for name in names if _manifest(store, name) is not None][:_NAMED]
    again = "run the whole catalog with `vitrine run --no-parent`, which publishes without comparing it with a snapshot"
    if not whole:
        fix = f"restore snapshots/ and CURRENT from a backup, or {again}"
        return IntegrityError("CURRENT to name a snapshot that is whole", f"{came}, and none of snapshots/ is", fix)
    return IntegrityError(
        "CURRENT to hold one line, the id of a file of snapshots/",
        f"{came}; the newest snapshot that is whole: {whole[0]}"
        + (f", before it {', '.join(whole[1:])}" if whole[1:] else ""),
        f"write the id of the snapshot to serve into CURRENT, in one line (leave out .json); or {again}",
    )


def was_published(store: Snapshots) -> bool:
    """Whether readers were ever sent to one of the snapshots. A manifest that cannot be read counts."""
    return any(_was_published(store, name) for name in store.snapshots()[::-1])


def _was_published(store: Snapshots, name: str) -> bool:
    manifest = _manifest(store, name)
    if manifest is None or manifest.parent is not None or not store.names(f"runs/{manifest.run}"):
        return True  # a parent was published; notes of runs may be deleted
    try:
        note = json.loads(store.read(f"runs/{manifest.run}/run.json"))
    except (FileNotFoundError, ValueError):  # killed before it was over
        return False
    return isinstance(note, dict) and note.get("status") == "published"


def _manifest(store: Snapshots, name: str) -> Manifest | None:
    """The manifest of a snapshot; None when it is not whole."""
    try:
        return manifests.parse(store.read(manifests.path_of(name)), name)
    except (IntegrityError, FileNotFoundError):
        return None
