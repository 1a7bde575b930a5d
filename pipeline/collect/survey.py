"""What a store keeps and what it could do without, as it is this moment."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePosixPath

from foundation.errors import InputError
from lookup.store.backends.at_work import at_work, clock
from lookup.store.backends.backend import Found
from lookup.store.publications.publication import Publication
from lookup.store.store import Store
from pipeline.build.index_files import pointed_index
from pipeline.collect.garbage import KINDS, POINTER, SHARD_RECORD, Garbage, Inventory, Needed, to_collect
from pipeline.collect.retained import retained, served
from pipeline.embed.shard_files import ended_well, marked_units, own_record

_SLACK = 3600.0  # seconds that a run may be at work before the first file in its folder


@dataclass(frozen=True)
class Survey:
    """The publication that is served, the snapshots that are kept, the runs at work, and the files nobody needs.
    `cutoff` is the time, in seconds since 1970, since when nothing is garbage.
    """

    base: Publication
    kept: tuple[str, ...]
    at_work: tuple[str, ...]
    cutoff: float
    garbage: tuple[Garbage, ...]


def survey(store: Store, keep: int, age: timedelta, also: Collection[str] = (), cutoff: float | None = None) -> Survey:
    """Look through the store. The snapshots `also` are kept beside others; `cutoff` is of an earlier survey.

    A run at work needs what was served when it began: nothing is garbage that was needed since. IntegrityError where a
    publication, or the manifest of a snapshot that is kept, is damaged: nobody knows what that needs. InputError where
    nothing is published.
    """
    base = store.latest()
    if base is None:
        raise InputError(f"a published snapshot in {store.root}", "none yet", "run `vitrine run` first")
    files = [one for kind in KINDS for one in store.backend.walk(kind)]  # first: what is written after is no garbage
    began = _began(files)
    working = [run for run in at_work(store.backend) if run in began]
    if cutoff is None:
        cutoff = min([clock(store.backend) - age.total_seconds(), *(began[run] - _SLACK for run in working)])
    history = served(store)
    kept = [*dict.fromkeys((*also, *retained(history, keep, cutoff, set(store.snapshots()))))]
    needed = Needed(runs={*working, *sorted(began)[-1:]})
    for snapshot in kept:
        needed.add(snapshot, store.manifest(snapshot))
    needed.runs |= {one.run for one, _ in history if one.snapshot in kept and one.run is not None}
    records = _records(store, files, needed)
    needed.files |= _marked(store, files, working, cutoff)  # last: by now more may be marked
    found = Inventory(files, records, _pointers(store, files))
    return Survey(base, tuple(kept), tuple(working), cutoff, tuple(to_collect(found, needed, cutoff)))


def _began(files: Iterable[Found]) -> dict[str, float]:
    """Run -> when the first file in its folder was written."""
    began: dict[str, float] = {}
    for one in files:
        if one.name.startswith("runs/"):
            run = one.name.split("/")[1]
            began[run] = min(one.written, began.get(run, one.written))
    return began


def _marked(store: Store, files: Iterable[Found], working: Collection[str], cutoff: float) -> set[str]:
    """The records of shards that runs have made which published nothing, and are young or at work: the next run goes on
    from there.
    """
    young = {one.name.split("/")[1] for one in files if one.name.startswith("runs/") and one.written >= cutoff}
    runs = [run for run in sorted(young.union(working)) if run in working or not ended_well(store, run)]
    return {f"shards/{mark.shard}.json" for run in runs for mark in marked_units(store, run).values()}


def _records(store: Store, files: Iterable[Found], needed: Needed) -> dict[str, list[str]]:
    """The record of a shard -> the files that it names, of those that no retained snapshot names."""
    found = dict[str, list[str]]()
    for one in files:
        if SHARD_RECORD.fullmatch(one.name) and one.name not in needed.files:
            record = own_record(store, PurePosixPath(one.name).stem)
            if record is not None:
                found[one.name] = [file.path for file in (record.file, record.rejects) if file is not None]
    return found


def _pointers(store: Store, files: Iterable[Found]) -> dict[str, str | None]:
    """Each file `indexes/<inputs>.json` -> the index that it names."""
    names = (one.name for one in files if POINTER.fullmatch(one.name))
    return {name: pointed_index(store, PurePosixPath(name).stem) for name in names}
