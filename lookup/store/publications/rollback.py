"""The way back: an earlier snapshot is published once more. One object is written, and nothing else changes.

What was left is held: no run publishes a snapshot that is made from the same, unless it is told to. Otherwise the next
night would bring back what a person went back from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from foundation.errors import InputError, IntegrityError, LockedError
from lookup.store import manifest as manifests
from lookup.store.manifest import Manifest
from lookup.store.missing_files import in_short, missing_files
from lookup.store.publications import history
from lookup.store.publications.history import readable
from lookup.store.publications.publication import Publication, listed, path_of
from lookup.store.publications.tries import until_published
from lookup.store.store import Store, new_publication

Check = Callable[[Store, str, Manifest], object]  # raises where a snapshot is not whole

_NAMED = 5
_LOOK = "`vitrine snapshots STORE` shows what there is to go back to"


@dataclass(frozen=True)
class Rollback:
    """What is served now, and what was before; `held` is the content of that, None where nothing is held. Where the
    snapshot was served already, nothing was published: `publication` is that one.
    """

    publication: Publication
    to: Publication
    left: Publication | None  # None: it is damaged
    held: str | None = None
    served_already: bool = False


def roll_back(store: Store, number: int | None, why: str, check: Check | None = None) -> Rollback:
    """Serve what publication `number` served; by default the last one of another snapshot than the served one that was
    not gone back from, where the served one is damaged the last that is whole. `check` raises where the snapshot is not
    whole; by default files are looked for, not read.

    InputError where there is none, or its snapshot was deleted; IntegrityError where one of its files is missing or
    cut; LockedError when others publish each time that this tries.
    """
    check = _refuse_missing if check is None else check
    first = store.top()[0]
    checked: dict[str, Manifest] = {}

    def attempt() -> Rollback:
        base, number_free = store.top()
        if number is None and base is not None and first is not None and base.snapshot != first.snapshot:
            raise LockedError(
                f"{first.snapshot}, which was served when this began, to be served still",
                f"{path_of(base.number)} was created meanwhile: {base.snapshot} ({base.reason})",
                "look at `vitrine snapshots STORE`, and roll back again if it has to be",
            )
        to = _target(store, number, base)
        if base is not None and to.snapshot == base.snapshot:
            return Rollback(base, to, base, served_already=True)
        if to.snapshot not in checked:
            checked[to.snapshot] = store.manifest(to.snapshot)
            check(store, to.snapshot, checked[to.snapshot])
        reason = f"back to publication {to.number}: {why}"
        made = _publish(store, to.snapshot, checked[to.snapshot], reason, base, number_free)
        held = [one for one in made.held if base is None or one not in base.held]
        return Rollback(made, to, base, held[0] if held else None)

    return until_published(attempt, "roll back again")


def publish_again(store: Store, snapshot_id: str, reason: str) -> Publication:
    """Publish a snapshot that the store has once more, on top of whatever is there, damaged or not; what is left is
    held. InputError where there is none of that id, LockedError when a run publishes this moment.
    """
    return _publish(store, snapshot_id, store.manifest(snapshot_id), reason, *store.top())


def _target(store: Store, number: int | None, base: Publication | None) -> Publication:
    """The publication to go back to, whose snapshot is not known to be given up."""
    collector: Publication | None = None
    above: Publication | None = None
    left = set[str]()  # snapshots that a person went back from
    for one in readable(store.backend):
        if above is not None and above.by_hand and above.snapshot != one.snapshot:
            left.add(one.snapshot)
        served = base.snapshot if base is not None else None
        whole = base is not None or number is not None or _whole(store, one)  # what is published may be the damaged one
        if one.number == number or (number is None and whole and one.snapshot not in (served, *left)):
            _refuse_deleted(store, one, collector)
            return one
        if one.collected is not None and collector is None:
            collector = one
        above = one
    numbers = listed(store.backend)
    if number is not None and number in numbers:
        raise IntegrityError(f"{path_of(number)} as it was created", "a damaged one", f"choose another: {_LOOK}")
    if number is None:
        raise InputError(
            "an earlier publication, of another snapshot than the served one and of none that was gone back from",
            "none",
            f"name a number; {_LOOK}",
        )
    shown = ", ".join(map(str, numbers[-_NAMED:])) or "those of later nights"
    raise InputError(f"the number of a publication, such as {shown}", str(number), _LOOK)


def _whole(store: Store, one: Publication) -> bool:
    try:
        store.manifest(one.snapshot)
    except (InputError, IntegrityError):
        return False
    return True


def _refuse_deleted(store: Store, one: Publication, collector: Publication | None) -> None:
    """Refuse a snapshot that is deleted, or that the last collection after `one` is about to delete."""
    how = None
    if collector is not None and one.snapshot not in collector.kept:
        how = f"given up by publication {collector.number} ({collector.reason})"
    elif not (manifests.is_id(one.snapshot) and store.exists(manifests.path_of(one.snapshot))):
        how = "deleted"
    if how is not None:
        raise InputError(
            "a publication whose snapshot the store still has",
            f"publication {one.number}, of {one.snapshot}: that was {how}",
            f"choose another; {_LOOK}",
        )


def _refuse_missing(store: Store, snapshot_id: str, manifest: Manifest) -> None:
    wrong = missing_files(store.backend, manifest)
    if wrong:
        raise IntegrityError(
            f"all files of {snapshot_id} as they were written",
            in_short(wrong),
            f"restore them from a backup, or go back to another: {_LOOK}",
        )


def _publish(
    store: Store, snapshot_id: str, manifest: Manifest, reason: str, base: Publication | None, number: int
) -> Publication:
    held = history.held(store.backend, base)
    left = _left(store, base, manifest) if base is not None and base.snapshot != snapshot_id else None
    held = held if left is None else (*held, left)
    return store.publish_on(base, new_publication(number, base, snapshot_id, manifest, None, reason, held))


def _left(store: Store, base: Publication, to: Manifest) -> str | None:
    """The content of what is left, told apart from that of `to`; None where nothing tells them apart."""
    if base.content not in (None, to.made_from):
        return base.content
    try:
        left = store.manifest(base.snapshot)
    except IntegrityError:  # nobody can say what it was made from
        return None
    pairs = ((left.made_from, to.made_from), (left.built_from, to.built_from))
    return next((mine for mine, theirs in pairs if mine != theirs), None)
