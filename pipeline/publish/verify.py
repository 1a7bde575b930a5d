"""Verification of snapshots: every byte that a reader may read is compared with what was written, and every record and
index with what it is said to be of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from foundation.errors import IntegrityError
from lookup.store.fields import FileRef
from lookup.store.manifest import Manifest
from lookup.store.publications.history import readable
from lookup.store.store import Store
from pipeline.build.duplicates import own_duplicates
from pipeline.build.index_files import own_index_record
from pipeline.build.index_ids import misplaced
from pipeline.build.lexical import own_lexical_record
from pipeline.embed.shard_files import own_record
from pipeline.publish.model_files import ModelFiles, model_files

_NAMED = 20  # damaged files that the message names


@dataclass(frozen=True)
class Verified:
    """What was read and found whole: `snapshots`, of which `snapshot` is the published one.

    `models` are those that they were made with, as far as they are folders; one that is not here is no damage.
    """

    snapshot: str
    files: int
    bytes: int
    snapshots: int = 1
    models: tuple[ModelFiles, ...] = ()


def verify_store(path: str, every: bool = False) -> Verified:
    """Check all publications, the manifest and every file it names, or with `every` those of all snapshots that were
    published and not deleted, and the models that these were made with; IntegrityError lists all that differ. Manifests
    that were never published are read, their files are not.
    """
    store = Store.open(path)
    current, manifest = store.published()
    store.publications()  # each is read
    manifests, problems = {current: manifest}, list[tuple[str, str]]()
    published = {one.snapshot for one in readable(store.backend)}
    for name in store.snapshots() if every else ():
        try:
            read = store.manifest(name)
        except IntegrityError as err:
            problems.append((err.expected, err.came))
        else:
            if name in published:  # what others name may be deleted before they are
                manifests[name] = read
    found = _verified(store, current, manifests, problems)
    return replace(found, models=_whole_models(manifests.values())) if every else found


def verify_snapshot(store: Store, snapshot: str, manifest: Manifest) -> Verified:
    """Check every file that a manifest names; otherwise as `verify_store`."""
    return _verified(store, snapshot, {snapshot: manifest}, [])


def _verified(
    store: Store, snapshot: str, manifests: Mapping[str, Manifest], problems: list[tuple[str, str]]
) -> Verified:
    files = {(file.path, file.blake3): file for one in manifests.values() for file in one.files()}
    read = ((file, store.problem_of(file)) for file in files.values())
    problems += [(_as_written(file), f"{file.path}: {said}") for file, said in read if said is not None]
    if not problems:  # what follows reads them
        problems = [*_records(store, manifests.values()), *_ids(store, manifests.values())]
    if problems:
        more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        named = problems[:_NAMED]
        raise IntegrityError(
            f"{len(files)} files as they were written: " + "; ".join(wanted for wanted, _ in named),
            "; ".join(said for _, said in named) + more,
            "delete these files and run `vitrine run` again: it writes anew what is published; until then "
            "serve an earlier one. What earlier ones alone name comes from a backup, or they are deleted",
        )
    return Verified(snapshot, len(files), sum(file.bytes for file in files.values()), len(manifests))


def _whole_models(manifests: Iterable[Manifest]) -> tuple[ModelFiles, ...]:
    """The models that these snapshots were made with; IntegrityError where one that is here differs."""
    models = model_files(manifests)
    differing = [one for one in models if one.state == "differs"]
    if differing:
        raise IntegrityError(
            "the files of "
            + ", ".join(f"model {one.model} as {_snapshots(one.snapshots)} made with them" for one in differing),
            "; ".join(one.detail for one in differing),
            "restore the folder: the snapshots are whole, but queries that need the model are refused here; or run "
            "again with this one, and let `vitrine gc` delete what was made with the other",
        )
    return tuple(models)


def _snapshots(count: int) -> str:
    return "1 snapshot was" if count == 1 else f"{count} snapshots were"


def _as_written(file: FileRef) -> str:
    return f"{file.path} with {file.bytes} bytes and blake3 {file.blake3}"


def _records(store: Store, manifests: Iterable[Manifest]) -> Iterator[tuple[str, str]]:
    """(what was expected, what came) of each record that is not there under its own name."""
    shards = {entry.name for manifest in manifests for entry in manifest.shards.entries}
    indexes = {partition.index.name for manifest in manifests for partition in manifest.partitions}
    wrong = [f"shards/{name}.json" for name in sorted(shards) if own_record(store, name) is None]
    wrong += [f"indexes/{name}/record.json" for name in sorted(indexes) if own_index_record(store, name) is None]
    entries = [entry.lexical for manifest in manifests for entry in manifest.partitions if entry.lexical is not None]
    words = sorted({one.name for one in entries})
    wrong += [f"indexes/{name}/record.json" for name in words if own_lexical_record(store, name) is None]
    found = [one.duplicates for manifest in manifests for one in manifest.partitions if one.duplicates is not None]
    groups = sorted({one.name for one in found})
    wrong += [f"indexes/{name}/record.json" for name in groups if own_duplicates(store, name) is None]
    for path in wrong:
        came = "another's, or an altered one" if store.exists(path) else "no such file"
        yield f"{path}, a record that bears the name of its place", f"{path}: {came}"


def _ids(store: Store, manifests: Iterable[Manifest]) -> Iterator[tuple[str, str]]:
    """(what was expected, what came) of each index whose ids are not those of its rows."""
    for manifest in manifests:
        for name, said in misplaced(store, manifest, manifest.partitions).items():
            yield f"the index of {name!r} to have the ids of its rows", said
