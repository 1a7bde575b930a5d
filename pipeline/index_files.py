"""An index's files in the store, its record written last, and the task file that names the segments it is made of."""

from __future__ import annotations

import bisect
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from index_builders.asked import Embed
from index_builders.build import BuiltIndex, build
from index_builders.shards import SegmentRef
from index_builders.sizing import IndexSettings
from lookup.errors import IntegrityError
from lookup.manifest import FileRef, IndexRecord, Segment, Training
from lookup.records import read_record, write_record
from lookup.store import Store
from pipeline.offers import Offer, earlier, training

Located = tuple[FileRef, Segment]  # a segment and the shard file it lies in


def write_index(
    store: Store, name: str, task: str, settings: IndexSettings, dim: int, embed: Embed | None
) -> IndexRecord:
    """Build the index of the segments in file `task` of the store, as index `name`, its record last.

    `embed` makes queries of text vectors, see index_builders/asked.py.
    """
    segments, offer = read_task(store, task)
    with store.scratch() as folder:
        built = build(segments, dim, settings, folder, embed, earlier(store, offer))
        return commit(store, name, folder, built, training(name, offer, built, settings))


def commit(store: Store, name: str, folder: Path, built: BuiltIndex, learned: Training) -> IndexRecord:
    """Put the files of `folder` into the store as index `name`, and its record last."""
    files = {role: store.put(folder / file, f"indexes/{name}/{file}", built.rows) for role, file in built.files.items()}
    measured = {field: value for field, value in vars(built).items() if field not in ("files", "learned")}
    record = IndexRecord(name=name, files=files, training=learned, **measured)
    write_record(store, _record_path(name), record)
    return record


def reusable_index(store: Store, name: str) -> IndexRecord | None:
    """The record of index `name` when it and its files are whole; None when it has to be built (again)."""
    record = read_record(store, _record_path(name), IndexRecord)
    whole = record is not None and all(store.stands(file) for file in record.files.values())
    return record if whole else None


def write_task(store: Store, path: str, located: Sequence[Located], offer: Offer) -> None:
    """Name the segments of an index, in order, and the training that it may have, in a file of the store."""
    segments = [{"file": file.model_dump(), "segment": segment.model_dump()} for file, segment in located]
    store.put_bytes(json.dumps({"segments": segments, "offer": offer.model_dump(mode="json")}).encode(), path)


def index_stands(store: Store, name: str) -> bool:
    """Whether index `name` was finished; its files are not looked at."""
    return store.exists(_record_path(name))


def index_record(store: Store, name: str) -> IndexRecord:
    """The record of an index that this run built or found whole."""
    record = read_record(store, _record_path(name), IndexRecord)
    if record is None:
        raise IntegrityError(f"the record of index {name}", "none, or an altered one", "run again: it is written anew")
    return record


def read_task(store: Store, path: str) -> tuple[list[SegmentRef], Offer]:
    """The segments of a task, their files' digests checked, and what it says of the training."""
    task = json.loads(store.read(path))
    return _opened(store, task["segments"]), Offer.model_validate(task["offer"])


def read_rows(store: Store, path: str, rows: range) -> tuple[int, list[SegmentRef]]:
    """The segments of a task in which `rows` of its partition lie, checked alike, and the first row of the first."""
    listed = json.loads(store.read(path))["segments"]
    ends = list(itertools.accumulate(one["segment"]["rows"] for one in listed))
    first = bisect.bisect_right(ends, rows.start)
    return ends[first - 1] if first else 0, _opened(store, listed[first : bisect.bisect_left(ends, rows.stop) + 1])


def _opened(store: Store, listed: Sequence[dict[str, Any]]) -> list[SegmentRef]:
    paths: dict[str, Path] = {}
    for one in listed:
        file = FileRef.model_validate(one["file"])
        if file.path not in paths:
            paths[file.path] = store.verified(file)
    segments = ((one["file"]["path"], Segment.model_validate(one["segment"])) for one in listed)
    return [SegmentRef(paths[path], segment.row_group, segment.rows, segment.digest) for path, segment in segments]


def _record_path(name: str) -> str:
    return f"indexes/{name}/record.json"
