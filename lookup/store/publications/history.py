"""What is published, and what was: the publications of a store, read and checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from foundation.errors import IntegrityError
from lookup.store import manifest as manifests
from lookup.store.backends.backend import Backend
from lookup.store.publications.lost_pointer import lost_pointer, was_published
from lookup.store.publications.publication import FOLDER, Publication, listed, path_of, read_publication

CURRENT = "CURRENT"  # one line, the id of the published snapshot: what stores had before publications


def latest(backend: Backend) -> Publication | None:
    """The publication that readers follow; None before the first. IntegrityError when it is damaged or lost: the one
    before is never taken in its place.
    """
    numbers = listed(backend)
    if not numbers:
        return _of_current(backend)
    number = numbers[-1]
    expected = f"{path_of(number)}, the highest of {FOLDER}/, to be whole and to name a file of snapshots/"
    try:
        record = read_publication(backend, number)
    except ValueError as err:
        raise lost_pointer(backend, expected, f"{path_of(number)}: {err}") from err
    if record.before is not None and record.before not in numbers:
        came = f"{path_of(number)} comes after {path_of(record.before)}, which is not there"
        raise lost_pointer(backend, expected, came)
    if not _stands(backend, record.snapshot):
        raise lost_pointer(backend, expected, f"{path_of(number)} names {record.snapshot!r}, which is not there")
    return record


def every(backend: Backend) -> list[Publication]:
    """The history of what is published now, newest last: back to where it began. IntegrityError when one is damaged or
    skipped. Snapshots of earlier ones may be deleted.
    """
    return since(backend, -1)


def since(backend: Backend, number: int) -> list[Publication]:
    """The part of that history which is above `number`, newest last."""
    found: list[Publication] = []
    record = latest(backend)
    while record is not None and record.number > number:
        found.append(record)
        record = _earlier(backend, record.before)
    return found[::-1]


def readable(backend: Backend) -> Iterator[Publication]:
    """The publications that can be read, the highest first, also those of before a history that began anew."""
    with suppress(IntegrityError):
        top = latest(backend)
        if top is not None and top.number == 0:  # what CURRENT names
            yield top
    for number in reversed(listed(backend)):
        with suppress(ValueError):
            yield read_publication(backend, number)


def held(backend: Backend, base: Publication | None) -> tuple[str, ...]:
    """What is held at `base`; where that is damaged, None, at the last publication that can be read."""
    return next((one.held for one in readable(backend)), ()) if base is None else base.held


def _earlier(backend: Backend, number: int | None) -> Publication | None:
    if number is None:
        return None
    try:
        return read_publication(backend, number)
    except ValueError as err:
        raise IntegrityError(
            f"{path_of(number)} as it was created",
            f"{path_of(number)}: {err}",
            f"restore it from a backup; what is published, {path_of(listed(backend)[-1])}, is whole and served",
        ) from err


def _of_current(backend: Backend) -> Publication | None:
    """What CURRENT says, as the publication number 0 that whoever publishes next creates of it."""
    try:
        raw = backend.read(CURRENT)
    except (FileNotFoundError, NotADirectoryError) as err:
        damaged = was_published(backend)
        if listed(backend):  # a run published meanwhile, perhaps the first, and dropped CURRENT
            return latest(backend)
        if damaged:
            raise lost_pointer(
                backend, f"a file of {FOLDER}/ beside snapshots that were published", "none (and no CURRENT)"
            ) from err
        return None
    name = raw[:-1].decode("ascii", "replace")
    if raw != f"{name}\n".encode() or not _stands(backend, name):
        expected = "CURRENT to hold one line, the id of a file of snapshots/ (leave out .json)"
        raise lost_pointer(backend, expected, f"{raw[:80]!r}, which is not there")
    return Publication(number=0, before=None, snapshot=name, reason="CURRENT of an earlier version")


def _stands(backend: Backend, snapshot: str) -> bool:
    return manifests.is_id(snapshot) and backend.exists(manifests.path_of(snapshot))
