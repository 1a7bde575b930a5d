"""The segments of an index to build, and the training that it is offered, as workers hear of them: files of a run."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from foundation.errors import IntegrityError
from index_builders.choose.training_reuse import Earlier
from index_builders.rows.shards import SegmentRef
from lookup.store.digests import differs
from lookup.store.entries.index_record import IndexRecord
from lookup.store.fields import FileRef, NamedRecord, Record
from lookup.store.records import lost_record, read_record, write_record
from lookup.store.segment_table import SegmentTable
from lookup.store.shards import Located, ShardEntry, Shards
from lookup.store.store import Store


class TrainingOffer(Record):
    """The training that an index may have: that of `parent`, an index of the parent snapshot, or None."""

    content: str  # the name of the index when it is trained on its own rows
    texts: str | None  # see IndexSettings.identity
    reason: str  # why nothing is offered
    parent: IndexRecord | None


class _Shards(NamedRecord):
    """The shards of a run, and the file of their segments. Its name is its path."""

    entries: tuple[ShardEntry, ...]
    segments: FileRef


class _TaskFile(NamedRecord):
    """What an index shall be made of, and the training that it may have. Its name is its path."""

    index: str  # what it shall be made of, as its record will say: `inputs`
    partition: str
    shards: str  # path of the shards of the run
    offer: TrainingOffer


def write_shards(store: Store, path: str, shards: Shards) -> None:
    """Write the shards of a run for its workers: once, however many indexes are built of them."""
    with store.scratch() as folder:
        (folder / "segments").write_bytes(shards.segments.to_bytes())
        file = store.put(folder / "segments", f"{path.removesuffix('.json')}.segments", len(shards.segments))
    write_record(store, path, _Shards(name=path, entries=shards.entries, segments=file))


def write_task(store: Store, path: str, index: str, partition: str, shards: str, offer: TrainingOffer) -> None:
    """Write which partition of the shards in file `shards` an index is of, and the training that it may have."""
    write_record(store, path, _TaskFile(name=path, index=index, partition=partition, shards=shards, offer=offer))


def read_task(store: Store, path: str, index: str) -> tuple[list[SegmentRef], TrainingOffer]:
    """The segments of the task of an index, their files' digests checked, and what it says of the training."""
    task = _task(store, path, index)
    return opened(store, shards_of_run(store.root, task.shards).located(task.partition)), task.offer


def read_rows(store: Store, path: str, index: str, rows: range) -> tuple[int, list[SegmentRef]]:
    """The segments of a task in which `rows` of its partition lie, checked alike, and the first row of the first."""
    task = _task(store, path, index)
    shards = shards_of_run(store.root, task.shards)
    ends = shards.segments.of(task.partition).ends.tolist()
    first = bisect.bisect_right(ends, rows.start)
    within = list(shards.located(task.partition))[first : bisect.bisect_left(ends, rows.stop) + 1]
    return ends[first - 1] if first else 0, opened(store, within)


def opened(store: Store, segments: Iterable[Located]) -> list[SegmentRef]:
    """Segments in local files whose digests were checked."""
    paths: dict[str, Path] = {}
    found = list[SegmentRef]()
    for shard, file, row_group, rows, digest in segments:
        if file.path not in paths:
            paths[file.path] = _verified(store, file)
        found.append(SegmentRef(paths[file.path], row_group, rows, digest, shard.source, shard.row_groups))
    return found


@lru_cache(maxsize=2)  # of this run, and of the one before in a process that stays
def shards_of_run(root: str, path: str) -> Shards:
    """The shards that `write_shards` wrote into file `path` of the store at `root`: read once per process."""
    store = Store.at(root)
    record = read_record(store, path, _Shards)
    if record is None:
        raise lost_record("the shards of the run", path, "run")
    segments = SegmentTable.from_bytes(store.verified(record.segments).read_bytes())
    return Shards(entries=record.entries, segments=segments)


def _task(store: Store, path: str, index: str) -> _TaskFile:
    task = read_record(store, path, _TaskFile)
    if task is None or task.index != index:
        raise lost_record(f"the task of index {index}", path, "index")
    return task


def earlier(store: Store, offer: TrainingOffer) -> Earlier | None:
    """The training that is offered; IntegrityError where its file is damaged: no damage is passed over in silence."""
    if offer.parent is None:
        return None
    file = offer.parent.files["index"]
    path = store.local(file)
    problem = differs(path, file)
    if path is None or problem is not None:
        asked = (
            f"{file.path} with {file.bytes} bytes and blake3 {file.blake3}, whose training index.retrain: auto takes"
        )
        fix = "restore the file from a backup, or run once with index.retrain=always, which trains anew without it"
        raise IntegrityError(asked, problem or "no such file", fix)
    return Earlier(path, offer.parent)


def _verified(store: Store, shard: FileRef) -> Path:
    """The local path of a shard whose digest this process has checked, as long as the file stays as it was: one shard
    has rows of many partitions. What is read of it later has digests of its own.
    """
    key = store.root, shard
    path, seen = _SEEN.get(key, (None, None))
    if path is None or seen != _state(path):
        before = _state(store.backend.local(shard.path))
        path = store.verified(shard)
        if before == _state(path):  # else it came, or was written to, meanwhile: checked once more when asked for next
            _SEEN[key] = path, before
    return path


_SEEN: dict[tuple[str, FileRef], tuple[Path, tuple[int, int, int] | None]] = {}


def _state(path: Path) -> tuple[int, int, int] | None:
    """What of a file changes when it is written again; None where it is gone."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
