"""What a run publishes where others published while it was at work: partitions of both, of each the newer reading.

Nothing is encoded or built: segments and indexes are named as they stand. Which of two readings of a partition is the
newer one:

1. The one of this run, where the partition is as it was published when this run began: it followed on that, whatever
   any clock says.
2. Otherwise both were at work at once, and the later `read_at` wins; of equal ones that which is published. Where
   clocks differ, that may be the older one, which the next run mends: it begins after both, so rule 1 holds for it.

A partition that is not there counts as read by the last run of the whole catalog. One that a category's run took away
meanwhile (every row was rejected) stays away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from lookup.store.manifest import CatalogEntry, Manifest, PartitionEntry, Provenance
from lookup.store.publications.publication import Publication
from lookup.store.shards import chained
from pipeline.publish.snapshot import content_of, joined_types


@dataclass(frozen=True)
class Parent:
    """What a snapshot is published on top of: the publication (None: nothing), and its manifest."""

    publication: Publication | None
    manifest: Manifest | None

    @property
    def snapshot(self) -> str | None:
        """Its id."""
        return None if self.publication is None else self.publication.snapshot


@dataclass(frozen=True)
class Mine:
    """What a run made: its manifest, on top of `base` (None: of nothing), of the partitions in `scope` (None: of all),
    which it read as `read` says.
    """

    manifest: Manifest
    base: Manifest | None
    scope: frozenset[str] | None
    read: Provenance


@dataclass(frozen=True)
class Merged:
    """A snapshot on top of what others published: which partitions are this run's, which of those that it read are
    theirs, as the newer ones, and all that are theirs.
    """

    manifest: Manifest
    mine: frozenset[str]
    theirs: tuple[str, ...]
    carried: frozenset[str] = frozenset()  # partitions of what others published, also of rejected rows alone


@dataclass(frozen=True)
class Superseded:
    """All that a run read is published from a newer reading."""

    theirs: tuple[str, ...]


def merged_over(parent: Manifest, parent_id: str, mine: Mine) -> Merged | Superseded:
    """What `mine` becomes on top of `parent`, which was published since; both have to be read and encoded alike."""
    new = mine.manifest
    touched = [name for name in sorted(_names(parent) | _names(new)) if mine.scope is None or name in mine.scope]
    ours = frozenset(name for name in touched if _newer(mine, parent, name))
    theirs = tuple(name for name in touched if name not in ours)
    if not ours:
        return Superseded(theirs)
    carried = _names(parent) - ours
    manifest = new.model_copy(
        update={
            "parent": parent_id,
            "created_at": datetime.now(UTC),
            "shards": chained([parent.shards.without(ours), new.shards.only(ours)]),
            "partitions": _joined(parent.partitions, new.partitions, ours),
            "attribute_types": joined_types(new.attribute_types, parent if carried else None),
            "accepted": tuple(one for one in parent.accepted if carried and one.partition not in ours),
            "catalog": _catalog(new.catalog, parent.catalog),
            "missing": None,  # it is measured again
            "whole": mine.read if mine.scope is None and _newer(mine, parent, None) else parent.whole,
        }
    )
    return Merged(manifest.model_copy(update={"content": content_of(manifest)}), ours, theirs, carried)


def _catalog(mine: CatalogEntry, theirs: CatalogEntry) -> CatalogEntry:
    """The one of this run; no catalog that is older than either may follow it."""
    written = [one.newest for one in (mine, theirs) if one.newest is not None and one.path == mine.path]
    return mine.model_copy(update={"newest": max(written, default=None)})


def _newer(mine: Mine, parent: Manifest, name: str | None) -> bool:
    """Whether this run's reading of a partition (None: of the whole catalog) is newer than the one in `parent`."""
    before, now = _claim(mine.base, name), _claim(parent, name)
    if now == before:
        return True
    taken_away = before.there and not now.there and mine.base is not None and now.read == mine.base.whole
    return not taken_away and now.read is not None and mine.read.read_at > now.read.read_at


class _Claim(NamedTuple):
    """Whether a snapshot has a partition, and who read that."""

    there: bool
    read: Provenance | None


def _claim(manifest: Manifest | None, name: str | None) -> _Claim:
    if manifest is None:
        return _Claim(False, None)
    found = [one.provenance for one in manifest.partitions if one.name == name]
    return _Claim(True, found[0]) if found else _Claim(False, manifest.whole)


def _names(manifest: Manifest) -> frozenset[str]:
    """The partitions of a snapshot, those included of which every row was rejected."""
    return frozenset(manifest.shards.segments.partitions).union(one.name for one in manifest.partitions)


def _joined(
    theirs: Sequence[PartitionEntry], mine: Sequence[PartitionEntry], ours: frozenset[str]
) -> tuple[PartitionEntry, ...]:
    kept = (one for one in theirs if one.name not in ours)
    return tuple(sorted([*kept, *(one for one in mine if one.name in ours)], key=lambda one: one.name))
