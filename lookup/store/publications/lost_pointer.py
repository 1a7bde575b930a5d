"""A store whose pointer is gone is damaged, not new: a run that took it for new would publish without its gates.

What tells them apart is whether a snapshot was ever published. One that a first run was killed over, between its
manifest and its publication, was not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from foundation.errors import IntegrityError
from lookup.store import manifest as manifests
from lookup.store.backends.backend import Backend
from lookup.store.manifest import Manifest
from lookup.store.publications.publication import listed, path_of, read_publication

_NAMED = 5


def lost_pointer(backend: Backend, expected: str, came: str) -> IntegrityError:
    """The error for a store of which it is not known what is published, with what may be served instead, and how."""
    again = "run the whole catalog with `vitrine run --no-parent`, which publishes without comparing it with a snapshot"
    whole = list(islice(_whole(backend), _NAMED))
    if not whole:
        fix = f"restore snapshots/ and publications/ from a backup, or {again}"
        return IntegrityError(expected, f"{came}; and no file of snapshots/ is whole", fix)
    number = max(listed(backend), default=0) + 1
    line = json.dumps({"number": number, "before": None, "snapshot": whole[0].snapshot, "reason": "by hand"})
    published = whole[0].number
    back = "" if published is None else f"or go back to it: `vitrine rollback STORE {published} --why REASON`; "
    return IntegrityError(
        expected,
        f"{came}; the newest snapshot that is whole: {whole[0]}"
        + (f", before it {', '.join(map(str, whole[1:]))}" if whole[1:] else ""),
        f"restore the file from a backup; {back}or create {path_of(number)} with the snapshot to serve in it: {line}; "
        f"or {again}",
    )


class _Whole(NamedTuple):
    snapshot: str
    number: int | None  # of the last publication of it; None: it was never published

    def __str__(self) -> str:
        return self.snapshot if self.number is None else f"{self.snapshot} (publication {self.number})"


def _whole(backend: Backend) -> Iterator[_Whole]:
    """Each snapshot that is whole: published ones, the last first, then the others by time."""
    seen: set[str] = set()
    for number in reversed(listed(backend)):
        try:
            snapshot = read_publication(backend, number).snapshot
        except ValueError:
            continue
        if snapshot not in seen and _manifest(backend, snapshot) is not None:
            seen.add(snapshot)
            yield _Whole(snapshot, number)
    for snapshot in reversed(manifests.ids_in(backend)):
        if snapshot not in seen and _manifest(backend, snapshot) is not None:
            yield _Whole(snapshot, None)


def was_published(backend: Backend) -> bool:
    """Whether readers were ever sent to one of the snapshots. A manifest that cannot be read counts."""
    return any(_was_published(backend, name) for name in reversed(manifests.ids_in(backend)))


def _was_published(backend: Backend, name: str) -> bool:
    manifest = _manifest(backend, name)
    if manifest is None or manifest.parent is not None or not backend.names(f"runs/{manifest.run}"):
        return True  # a parent was published; notes of runs may be deleted
    try:
        note = json.loads(backend.read(f"runs/{manifest.run}/run.json"))
    except (FileNotFoundError, ValueError):  # killed before it was over
        return False
    return isinstance(note, dict) and note.get("status") == "published"


def _manifest(backend: Backend, name: str) -> Manifest | None:
    """The manifest of a snapshot; None when it is not whole."""
    if not manifests.is_id(name):
        return None
    try:
        return manifests.read_manifest(backend, name)
    except (IntegrityError, FileNotFoundError):
        return None
