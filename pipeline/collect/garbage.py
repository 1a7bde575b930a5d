"""What of a store nobody needs: a pure function of what lies there and of what is named.

What is named stays. So does what is young, whoever it is of: a run may have written it and not yet said so. What has no
name that a run gives is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from lookup.store.backends.backend import Found
from lookup.store.manifest import Manifest, path_of, segments_path

KINDS = ("snapshots", "shards", "indexes", "rankers", "understanding", "runs")
_SNAPSHOT = re.compile(r"snapshots/([0-9]{8}T[0-9]{6}Z-[0-9a-f]{16})\.(json|segments)")
_SHARD = re.compile(r"shards/[0-9a-f]+(\.rejects)?\.parquet")
SHARD_RECORD = re.compile(r"shards/[0-9a-f]+\.json")
POINTER = re.compile(r"indexes/[0-9a-f]+\.json")
_INDEX = re.compile(r"indexes/([0-9a-f]+)/.+")
_CONTENT = re.compile(r"((rankers|understanding)/[0-9a-f]+)/.+")
_RUN = re.compile(r"runs/([^/]+)/.+")


class Garbage(NamedTuple):
    """What is deleted at a time: a file, or a folder with all that is in it."""

    kind: str  # one of KINDS
    name: str
    bytes: int
    folder: bool = False
    named_by: tuple[str, ...] = ()  # files that a run which takes up an index writes anew: then it is young again

    @property
    def is_manifest(self) -> bool:
        """Whether it names other files."""
        return self.kind == "snapshots" and self.name.endswith(".json")


@dataclass
class Needed:
    """What retained snapshots and runs name: ids of snapshots, names of files, of indexes and of runs."""

    snapshots: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    indexes: set[str] = field(default_factory=set)
    runs: set[str] = field(default_factory=set)

    def add(self, snapshot: str, manifest: Manifest) -> None:
        """Add what a snapshot names."""
        self.snapshots.add(snapshot)
        self.files |= {path_of(snapshot), segments_path(snapshot)}
        self.files |= {file.path for file in manifest.files()}
        self.files |= {f"shards/{entry.name}.json" for entry in manifest.shards.entries}
        self.indexes |= {one.name for entry in manifest.partitions for one in entry.records()}
        self.runs |= {manifest.run}


@dataclass(frozen=True)
class Inventory:
    """What lies in a store: all files below the folders of KINDS, the files that each record of a shard names, and the
    index that each file `indexes/<inputs>.json` names, None where that says nothing.
    """

    files: Iterable[Found]
    records: Mapping[str, Iterable[str]]
    pointers: Mapping[str, str | None]


def to_collect(found: Inventory, needed: Needed, cutoff: float) -> list[Garbage]:
    """What nobody needs and was not written since `cutoff`, in the order in which it is deleted.

    What names other files comes before them, so that whatever is deleted in between, what is there is whole.
    """
    files = {one.name: one for one in found.files}
    old = {name for name, one in files.items() if one.written < cutoff}
    return [
        *_snapshots(files, needed, old),
        *_shards(files, found.records, needed, old),
        *_indexes(files, found.pointers, needed, old),
        *_contents(files, needed, old),
        *_runs(files, needed, old),
    ]


def _snapshots(files: Mapping[str, Found], needed: Needed, old: set[str]) -> Iterator[Garbage]:
    of: dict[str, list[Found]] = {}
    for name, one in sorted(files.items()):
        if said := _SNAPSHOT.fullmatch(name):
            of.setdefault(said[1], []).append(one)
    gone = [
        Garbage("snapshots", one.name, one.bytes)
        for snapshot, several in of.items()
        if snapshot not in needed.snapshots and all(one.name in old for one in several)
        for one in several
    ]
    yield from sorted(gone, key=lambda one: (not one.is_manifest, one.name))  # all of them before what they name


def _shards(
    files: Mapping[str, Found], records: Mapping[str, Iterable[str]], needed: Needed, old: set[str]
) -> Iterator[Garbage]:
    """A record and the files that it names stay together while any of them is needed or young."""
    stays = set(needed.files)
    for record, named in records.items():
        group = {record, *named}
        if record in needed.files or any(name in files and name not in old for name in group):
            stays |= group
    for kind in (SHARD_RECORD, _SHARD):
        for name in sorted(old - stays):
            if kind.fullmatch(name):
                yield Garbage("shards", name, files[name].bytes)


def _indexes(
    files: Mapping[str, Found], pointers: Mapping[str, str | None], needed: Needed, old: set[str]
) -> Iterator[Garbage]:
    """An index stays while it is needed, or one of its files or of what names it is young."""
    of: dict[str, list[Found]] = {}
    for name, one in files.items():
        if said := _INDEX.fullmatch(name):
            of.setdefault(said[1], []).append(one)
    stays = needed.indexes | {index for index, several in of.items() if any(one.name not in old for one in several)}
    stays |= {index for name, index in pointers.items() if index is not None and name in files and name not in old}
    for name in sorted(old):
        if POINTER.fullmatch(name) and not (pointers.get(name) in stays and pointers[name] in of):
            yield Garbage("indexes", name, files[name].bytes)
    for index, several in sorted(of.items()):
        if index not in stays:
            named_by = (f"indexes/{index}.json", *(name for name, named in pointers.items() if named == index))
            yield Garbage("indexes", f"indexes/{index}", sum(one.bytes for one in several), True, named_by)


def _contents(files: Mapping[str, Found], needed: Needed, old: set[str]) -> Iterator[Garbage]:
    """Folders that their content names: they stay while one of their files is needed or young."""
    of: dict[tuple[str, str], list[Found]] = {}
    for name, one in files.items():
        if said := _CONTENT.fullmatch(name):
            of.setdefault((said[2], said[1]), []).append(one)
    for (kind, folder), several in sorted(of.items()):
        names = tuple(one.name for one in several)
        if needed.files.isdisjoint(names) and old.issuperset(names):  # a run that takes one up writes it anew
            yield Garbage(kind, folder, sum(one.bytes for one in several), True, names)


def _runs(files: Mapping[str, Found], needed: Needed, old: set[str]) -> Iterator[Garbage]:
    of: dict[str, list[Found]] = {}
    for name, one in files.items():
        if said := _RUN.fullmatch(name):
            of.setdefault(said[1], []).append(one)
    for run, several in sorted(of.items()):
        if run not in needed.runs and all(one.name in old for one in several):
            yield Garbage("runs", f"runs/{run}", sum(one.bytes for one in several), folder=True)
