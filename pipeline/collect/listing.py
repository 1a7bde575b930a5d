"""The snapshots of a store: which were published when, by whom and why, and which bytes each of them alone holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from foundation.errors import IntegrityError
from lookup.store.manifest import Manifest, path_of, segments_path
from lookup.store.publications.publication import Publication, listed, read_publication
from lookup.store.store import Store


@dataclass(frozen=True)
class SnapshotSize:
    """What a snapshot holds. Of its bytes, `own` are those of files that no other published snapshot names which the
    store has, manifests included; `shared` are the others.

    `dead` is how many of both are of rows in its shards that it does not use, by their share of the rows: a run of one
    category leaves some in shards that live on.
    """

    run: str
    made_at: datetime
    rows: int
    own: int
    shared: int
    dead: int


@dataclass(frozen=True)
class Listing:
    """Every publication by its number, None where it is damaged; the size of each snapshot that the store has, by id,
    None where its manifest is damaged; and the bytes of all that published ones name, each file once.

    `served` is the publication that readers follow; `damage` says why there is none.
    """

    publications: Mapping[int, Publication | None]
    sizes: Mapping[str, SnapshotSize | None]
    bytes: int
    served: Publication | None
    damage: IntegrityError | None

    @property
    def unpublished(self) -> list[str]:
        """The snapshots to which no reader was ever sent, by time: of runs that were overtaken, or killed."""
        published = {one.snapshot for one in self.publications.values() if one is not None}
        return [snapshot for snapshot in self.sizes if snapshot not in published]


def list_snapshots(store: Store) -> Listing:
    """Every publication and snapshot of the store, whatever of them is damaged."""
    served, damage = None, None
    try:
        served = store.latest()
    except IntegrityError as err:
        damage = err
    publications: dict[int, Publication | None] = dict.fromkeys(listed(store.backend))
    for number in publications:
        with suppress(ValueError):
            publications[number] = read_publication(store.backend, number)
    if served is not None:
        publications.setdefault(served.number, served)  # what CURRENT names
    found = _read(store)
    published = {one.snapshot for one in publications.values() if one is not None}
    users = Counter(path for one in published & set(found) for path in _files(found[one]))
    sizes = {name: None if one is None else one.size(users, name in published) for name, one in found.items()}
    every = {path: size for name in published for path, size in _files(found.get(name)).items()}
    return Listing(publications, sizes, sum(every.values()), served, damage)


@dataclass(frozen=True)
class _Named:
    """A snapshot in short, and its files with their bytes."""

    run: str
    made_at: datetime
    rows: int
    dead: int
    files: Mapping[str, int]

    def size(self, users: Mapping[str, int], published: bool) -> SnapshotSize:
        """Its size, where files have so many published users, of which it is one or not."""
        own = sum(size for path, size in self.files.items() if users.get(path, 0) <= published)
        return SnapshotSize(self.run, self.made_at, self.rows, own, sum(self.files.values()) - own, self.dead)


def _files(one: _Named | None) -> Mapping[str, int]:
    return {} if one is None else one.files


def _read(store: Store) -> dict[str, _Named | None]:
    """Each snapshot that the store has, by time; None where its manifest is damaged."""
    sizes = {one.name: one.bytes for one in store.backend.walk("snapshots")}
    found = dict[str, _Named | None]()
    for snapshot in store.snapshots():
        found[snapshot] = None
        with suppress(IntegrityError):
            manifest = store.manifest(snapshot)
            files = {file.path: file.bytes for file in manifest.files()}
            files |= {path: sizes[path] for path in (path_of(snapshot), segments_path(snapshot)) if path in sizes}
            found[snapshot] = _Named(manifest.run, manifest.created_at, manifest.rows, _dead(manifest), files)
    return found


def _dead(manifest: Manifest) -> int:
    entries = manifest.shards.entries
    live: Iterable[int] = map(int, manifest.shards.segments.by_shard(len(entries)))
    return sum(
        one.file.bytes * (one.file.rows - rows) // one.file.rows
        for one, rows in zip(entries, live, strict=True)
        if one.file is not None and one.file.rows
    )
