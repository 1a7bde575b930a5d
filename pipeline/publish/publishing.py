"""Publishing: whoever creates the next publication has published. Who finds its number taken merges over what was
published meanwhile, and tries again, until its work is published or that of others is newer.

No lock is held, so a run that was stopped for an hour, or killed, is in nobody's way, and overwrites nothing when it
wakes: what counts is what is published at the moment that it publishes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from foundation.errors import InputError, IntegrityError, LockedError
from lookup.store.manifest import Manifest
from lookup.store.missing_files import in_short, missing_files
from lookup.store.publications.publication import Publication, path_of
from lookup.store.publications.tries import until_published
from lookup.store.store import Store
from pipeline.publish.gates.base import listed
from pipeline.publish.merge import Merged, Mine, Parent, Superseded, merged_over
from pipeline.report.notices import Notice, notice
from pipeline.report.run_report import GateResult

_log = logging.getLogger(__name__)
_TRIES = 100  # numbers, while others publish
_AGAIN = "run again: what is made is not made twice"


@dataclass(frozen=True)
class Ended:
    """How it ended: what is published now, by this run or (`unchanged`, `superseded`) by others, on top of what; what
    was published `meanwhile`, and the partitions of which others had the newer reading.
    """

    status: Literal["published", "unchanged", "superseded"]
    snapshot: str
    parent: Parent
    meanwhile: tuple[Publication, ...] = ()
    theirs: tuple[str, ...] = ()

    def notices(self) -> list[Notice]:
        """What others published meanwhile, and what became of it."""
        if not self.meanwhile:
            return []
        kept = f"; of {listed(self.theirs)} theirs is kept, which was read later" if self.theirs else ""
        joined = "" if self.status == "unchanged" else ", and merged with"
        told = f"published by others while this run was at work{joined}{kept} ({len(self.meanwhile)}):"
        if self.status == "superseded":
            told = f"published by others from later readings of all that this run read ({len(self.meanwhile)}):"
        return notice("published_meanwhile", told, [f"{one.number}: {one.reason}" for one in self.meanwhile])


Refuse = Callable[[Manifest], None]  # InputError where this run's partitions cannot stand beside those of a snapshot
Judge = Callable[[Parent, Merged], Manifest]  # the merged snapshot, and what was measured of it; GateError


def publish(store: Store, mine: Mine, parent: Parent, reason: Callable[[], str], refuse: Refuse, judge: Judge) -> Ended:
    """Publish `mine`, which was judged on top of `parent`, on top of what is published by then. The history says the
    `reason`, which is asked for after the last judgement.

    LockedError where a person published meanwhile, where files that it needs may have been deleted, or where it cannot
    be joined with what others published; IntegrityError where a file that it names is gone.
    """
    made, now = Merged(mine.manifest, frozenset(), ()), parent

    def attempt() -> Ended:
        nonlocal made, now
        since = store.published_since(parent.publication)
        if since and since[-1] != now.publication:
            _refuse_since(since, mine)
            now = Parent(since[-1], store.manifest(since[-1].snapshot))
            done = _joined(now, mine, refuse)
            if isinstance(done, Superseded):
                return Ended("superseded", since[-1].snapshot, now, tuple(since), done.theirs)
            made = replace(done, manifest=judge(now, done))
        if now.snapshot is not None and unchanged(made.manifest, now.manifest):
            return Ended("unchanged", now.snapshot, now, tuple(since), made.theirs)
        _refuse_lost(store, made.manifest)
        published = store.publish(made.manifest, now.publication, reason() + _over(since, made.theirs))
        return Ended("published", published.snapshot, now, tuple(since), made.theirs)

    return until_published(attempt, _AGAIN, _TRIES)


def publish_anew(store: Store, mine: Manifest, reason: str) -> Ended:
    """Publish `mine`, without a parent, on top of whatever is there; IntegrityError where a file of it is gone."""
    _refuse_lost(store, mine)
    published = until_published(lambda: store.publish_anew(mine, reason), _AGAIN)
    return Ended("published", published.snapshot, Parent(None, None))


def unchanged(new: Manifest, parent: Manifest | None) -> bool:
    """Whether readers would get of `new` what they get of `parent`."""
    # The files too: one that was damaged and written anew, by another pyarrow say, holds the same rows in other bytes.
    same_format = parent is not None and parent.format == new.format
    return parent is not None and same_format and parent.content == new.content and parent.files() == new.files()


def refuse_ids_twice(results: Iterable[GateResult]) -> None:
    """LockedError where a product stands in two partitions that were read at different times: it moved in between."""
    for one in results:
        if one.name == "ids_unique" and not one.passed:
            expected = "no product in two partitions of what this run and others, which published meanwhile, have read"
            raise LockedError(expected, one.advice, _AGAIN)


# --- inside ---


def _refuse_since(since: Sequence[Publication], mine: Mine) -> None:
    """Nothing is published over what a person did meanwhile, nor what may name files that were deleted."""
    for one in since:
        if one.by_hand:
            raise LockedError(
                "nothing that a person publishes while a run is at work",
                f"{path_of(one.number)}: {one.reason}",
                "run again, if that is to be followed by this catalog",
            )
        if one.collected is not None and mine.read.read_at < one.collected:
            raise LockedError(
                f"a run that began after {one.collected:%Y-%m-%d %H:%M:%S %Z}: what was older, and named by nothing, "
                f"was deleted ({path_of(one.number)})",
                f"one that began {mine.read.read_at:%Y-%m-%d %H:%M:%S %Z}",
                _AGAIN,
            )


def _joined(now: Parent, mine: Mine, refuse: Refuse) -> Merged | Superseded:
    """`mine` on top of what others published; LockedError where the two cannot stand beside one another."""
    assert now.manifest is not None
    assert now.publication is not None
    done = merged_over(now.manifest, now.publication.snapshot, mine)
    if isinstance(done, Superseded):
        _log.warning("nothing is published: of %s all is published from later readings", listed(done.theirs))
        return done
    name = path_of(now.publication.number)
    if done.carried:
        try:
            refuse(now.manifest)
        except InputError as err:
            expected = f"{name}, which was published meanwhile, to have what can stand beside this run's partitions"
            raise LockedError(expected, err.came, _AGAIN) from err
    kept = f"; of {listed(done.theirs)} theirs is kept, which was read later" if done.theirs else ""
    _log.warning("%s was published meanwhile (%s): merged over it%s", name, now.publication.reason, kept)
    return done


def _refuse_lost(store: Store, manifest: Manifest) -> None:
    """Every file is still there: a run that was stopped may have been asleep while they were deleted."""
    wrong = missing_files(store.backend, manifest)
    if wrong:
        raise IntegrityError(
            f"the {len(manifest.files())} files that the new snapshot names",
            in_short(wrong),
            "run the whole catalog again: it is written anew",
        )


def _over(since: Sequence[Publication], theirs: Sequence[str]) -> str:
    """What the history says of a merge; empty where there was none."""
    if not since:
        return ""
    kept = f", of which {listed(theirs)} is newer" if theirs else ""
    return f", merged over {listed(str(one.number) for one in since)}{kept}"
