"""Garbage collection: what no snapshot that is kept, no run and nothing young needs is deleted.

A collection is a publication of its own, of the snapshot that is served. It stands before anything is deleted: who goes
back to an earlier snapshot, and who publishes what was made before, finds it, and what was given up is used by nobody.
Killed anywhere, it leaves files too many and none too few, and the next one deletes them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from foundation.errors import InputError
from lookup.store.publications.publication import Publication, listed
from lookup.store.publications.tries import until_published
from lookup.store.store import Store
from pipeline.collect.garbage import KINDS, Garbage
from pipeline.collect.survey import Survey, survey

_BELIEVED = 60.0  # seconds for which a survey holds: then what is garbage is asked again

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Collected:
    """What was found; the publication that tells of it, None where nothing was deleted; and the garbage that went."""

    found: Survey
    publication: Publication | None
    garbage: tuple[Garbage, ...]

    @property
    def totals(self) -> dict[str, tuple[int, int]]:
        """Kind -> (files, and folders, that were deleted, their bytes)."""
        of = {kind: [one.bytes for one in self.garbage if one.kind == kind] for kind in KINDS}
        return {kind: (len(sizes), sum(sizes)) for kind, sizes in of.items()}


def collect(store: Store, keep: int, age: timedelta, words: str, dry_run: bool = False) -> Collected:
    """Delete what neither the last `keep` snapshots nor any that was served within `age` need; `words` say so to
    people. With `dry_run` nothing is changed.

    Otherwise as `survey`; LockedError when others publish each time that this tries.
    """
    if keep < 1:
        raise InputError("--keep of 1 snapshot or more", str(keep), "correct it: the served one is always kept")

    def attempt() -> tuple[Survey, Publication | None]:
        found = survey(store, keep, age)
        return found, None if dry_run or not found.garbage else _publish(store, found, words)

    found, made = until_published(attempt, "collect again")
    if made is None:
        return Collected(found, None, found.garbage)
    # Again, for now nobody goes back to what it gives up: what was published before it is seen.
    deleted = _delete(store, partial(survey, store, keep, age, found.kept, found.cutoff))
    return Collected(found, made, tuple(deleted))


def _publish(store: Store, found: Survey, words: str) -> Publication:
    """The publication of a collection; TakenError where another one was published first."""
    base = found.base
    made = Publication(
        number=base.number + 1,
        before=base.number,
        snapshot=base.snapshot,
        parent=base.parent,
        published_at=datetime.now(UTC),
        reason=f"gc {words}",
        content=base.content,
        held=base.held,
        collected=datetime.fromtimestamp(found.cutoff, UTC),
        kept=found.kept,
    )
    return store.publish_on(base, made)


def _delete(store: Store, look: Callable[[], Survey]) -> list[Garbage]:
    """Delete what `look` finds, in its order, and say what that was."""
    deleted = list[Garbage]()
    while True:
        looked, number, found = time.monotonic(), len(deleted), look()
        for one in found.garbage:
            late = len(deleted) > number and time.monotonic() - looked > _BELIEVED
            if late or _changed(store, found, one):
                break
            if deleted and deleted[-1].is_manifest and not one.is_manifest:
                store.backend.settle([deleted[-1].name])  # no loss of power brings back what names files that are gone
            _delete_one(store, one)
            deleted.append(one)
        else:
            return deleted


def _changed(store: Store, found: Survey, one: Garbage) -> bool:
    """Whether others published since the survey, or a run took up `one`: it may be needed now. Looked at last thing
    before each deletion: a run that found the files of an old index or shard whole may publish at any moment.
    """
    names = one.named_by if one.folder else (one.name, *one.named_by)
    if any((store.backend.written(name) or 0.0) >= found.cutoff for name in names):
        return True
    return listed(store.backend)[-1:] != [found.base.number]


def _delete_one(store: Store, one: Garbage) -> None:
    _log.debug("deleting %s, %d bytes", one.name, one.bytes)
    if one.folder:
        store.backend.delete(f"{one.name}/record.json")  # of an index: what says that it is whole
        with suppress(FileNotFoundError):  # another collection is at it
            store.remove(one.name)
        return
    store.backend.delete(one.name)
    if not store.backend.in_place:
        store.backend.local(one.name).unlink(missing_ok=True)
