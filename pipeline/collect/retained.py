"""Which snapshots are kept: the last few that were published, and each that was served within an age."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import NamedTuple

from lookup.store.publications.publication import FOLDER, Publication, listed, path_of, read_publication
from lookup.store.store import Store


class Served(NamedTuple):
    """A publication, and when readers were sent to it first, in seconds since 1970 by the clock of the store."""

    publication: Publication
    since: float


def served(store: Store) -> list[Served]:
    """Every publication, the newest last; IntegrityError where one is damaged that the last one follows on.

    None is told to be older than one before it: a clock that was set back for a while would have it collected.
    """
    history = store.publications()
    began = history[0].number if history else 0
    before = [one for number in listed(store.backend) if number < began and (one := _whole(store, number)) is not None]
    written = {one.name: one.written for one in store.backend.walk(FOLDER)}
    found, since = list[Served](), 0.0
    for one in (*before, *history):
        since = max(since, written.get(path_of(one.number), since))  # number 0, which is CURRENT, has no file
        found.append(Served(one, since))
    return found


def retained(publications: Sequence[Served], keep: int, cutoff: float, standing: Container[str]) -> list[str]:
    """The snapshots, of those `standing`, that are kept, by when they were published last: the last `keep` of them, and
    each that readers were sent to at any moment since `cutoff`. Being published again does not count twice.
    """
    ends = [*(one.since for one in publications[1:]), float("inf")]
    young = {one.publication.snapshot for one, end in zip(publications, ends, strict=True) if end >= cutoff}
    newest_first = dict.fromkeys(one.publication.snapshot for one in reversed(publications))
    there = [snapshot for snapshot in newest_first if snapshot in standing]
    return [snapshot for number, snapshot in enumerate(there) if number < keep or snapshot in young][::-1]


def _whole(store: Store, number: int) -> Publication | None:
    """A publication of before the history began anew, which it may have done because of a damaged one."""
    try:
        return read_publication(store.backend, number)
    except ValueError:
        return None
