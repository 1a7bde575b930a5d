"""An index's files in the store, its record written last; and the task file that names the segments it is made of, and
the training that it is offered.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from pathlib import Path

from foundation.errors import IntegrityError
from index_builders.build import BuiltIndex, Partition, build
from index_builders.choose.training_reuse import Earlier, learned_under
from index_builders.rows.shards import SegmentRef
from index_builders.settings import IndexSettings
from lookup.store.digests import differs
from lookup.store.fields import FileRef, NamedRecord, Record
from lookup.store.index_record import IndexRecord, Training, made_of
from lookup.store.manifest import Segment
from lookup.store.records import lost_record, read_record, write_record
from lookup.store.store import Store

# A segment, the shard file it lies in, and what the shard was made of: a catalog file and row groups.
Located = tuple[FileRef, Segment, str, tuple[int, int]]


class Offer(Record):
    """The training that an index may have: that of `parent`, an index of the parent snapshot, or None."""

    content: str  # the name of the index when it is trained on its own rows
    texts: str | None  # see IndexSettings.identity
    reason: str  # why nothing is offered
    parent: IndexRecord | None


def earlier(store: Store, offer: Offer) -> Earlier | None:
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


def training(name: str, offer: Offer, built: BuiltIndex, settings: IndexSettings) -> Training:
    """What the record of index `name` says of its training."""
    learned, trained_by = built.learned, name
    if learned.reused and offer.parent is not None and offer.parent.training is not None:
        trained_by = offer.parent.training.trained_by
    return Training(
        content=offer.content,
        settings=learned_under(settings, offer.texts, built.spec),
        trained_by=trained_by,
        reused=learned.reused,
        reason=learned.reason or offer.reason,
        then=learned.then,
        now=learned.now,
    )


class _Listed(Record):
    """A segment of an index to build, and the shard file it lies in."""

    file: FileRef
    segment: Segment
    source: str
    groups: tuple[int, int]


class _TaskFile(NamedRecord):
    """What an index shall be made of, in order, and the training that it may have. Its name is its path."""

    index: str  # the name of the index
    segments: tuple[_Listed, ...]
    offer: Offer


def write_index(store: Store, name: str, partition: Partition, offer: Offer) -> IndexRecord:
    """Build the index of `partition` as index `name`, its record last."""
    settings, segments = partition.settings, partition.segments
    with store.scratch() as folder:
        built = build(segments, partition.dim, settings, folder, partition.embed, partition.earlier)
        return commit(store, name, folder, built, training(name, offer, built, settings), segments)


def commit(
    store: Store, name: str, folder: Path, built: BuiltIndex, learned: Training, segments: Sequence[SegmentRef]
) -> IndexRecord:
    """Put the files of `folder` into the store as index `name` of these segments, and its record last."""
    files = {role: store.put(folder / file, f"indexes/{name}/{file}", built.rows) for role, file in built.files.items()}
    record = built.record(name, files, learned, made_of([segment.digest for segment in segments]))
    write_record(store, _record_path(name), record)
    return record


def reusable_index(store: Store, name: str) -> IndexRecord | None:
    """The record of index `name` when it and its files are whole; None when it has to be built (again)."""
    record = own_index_record(store, name)
    whole = record is not None and all(store.stands(file) for file in record.files.values())
    return record if whole else None


def own_index_record(store: Store, name: str) -> IndexRecord | None:
    """The record of index `name`, whatever became of its files; None when there is none of that name."""
    return read_record(store, _record_path(name), IndexRecord, name)


def write_task(store: Store, path: str, index: str, located: Sequence[Located], offer: Offer) -> None:
    """Name the segments of an index, in order, and the training that it may have, in a file of the store."""
    segments = tuple(
        _Listed(file=file, segment=segment, source=source, groups=groups) for file, segment, source, groups in located
    )
    write_record(store, path, _TaskFile(name=path, index=index, segments=segments, offer=offer))


def index_stands(store: Store, name: str) -> bool:
    """Whether index `name` was finished; its files are not looked at."""
    return store.exists(_record_path(name))


def index_record(store: Store, name: str) -> IndexRecord:
    """The record of an index that this run built or found whole."""
    record = own_index_record(store, name)
    if record is None:
        raise lost_record(f"the record of index {name}", _record_path(name), "index")
    return record


def read_task(store: Store, path: str, index: str) -> tuple[list[SegmentRef], Offer]:
    """The segments of the task of an index, their files' digests checked, and what it says of the training."""
    task = _task(store, path, index)
    return _opened(store, task.segments), task.offer


def read_rows(store: Store, path: str, index: str, rows: range) -> tuple[int, list[SegmentRef]]:
    """The segments of a task in which `rows` of its partition lie, checked alike, and the first row of the first."""
    listed = _task(store, path, index).segments
    ends = list(itertools.accumulate(one.segment.rows for one in listed))
    first = bisect.bisect_right(ends, rows.start)
    return ends[first - 1] if first else 0, _opened(store, listed[first : bisect.bisect_left(ends, rows.stop) + 1])


def _task(store: Store, path: str, index: str) -> _TaskFile:
    task = read_record(store, path, _TaskFile)
    if task is None or task.index != index:
        raise lost_record(f"the task of index {index}", path, "index")
    return task


def _opened(store: Store, listed: Sequence[_Listed]) -> list[SegmentRef]:
    paths: dict[str, Path] = {}
    for one in listed:
        if one.file.path not in paths:
            paths[one.file.path] = _verified(store, one.file)
    segments = ((paths[one.file.path], one.segment, one) for one in listed)
    return [
        SegmentRef(path, segment.row_group, segment.rows, segment.digest, one.source, one.groups)
        for path, segment, one in segments
    ]


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


def _record_path(name: str) -> str:
    return f"indexes/{name}/record.json"
