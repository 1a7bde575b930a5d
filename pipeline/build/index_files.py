"""An index's files in the store, its record written last.

Its folder is named by its content, so no name has two: equal segments and settings may give other bytes under another
version of FAISS. What it was made of, its inputs, decides whether it has to be built: `indexes/<inputs>.json` names the
index that was last made of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from foundation.identity import identity_of
from index_builders.build import BuiltIndex, Partition, build
from index_builders.choose.training_reuse import learned_under
from index_builders.rows.shards import SegmentRef
from index_builders.settings import IndexSettings
from lookup.store.digests import digest_file
from lookup.store.entries.index_record import IndexRecord, Training, made_of
from lookup.store.fields import FileRef, NamedRecord
from lookup.store.records import lost_record, read_record, write_record
from lookup.store.store import Store
from pipeline.build.task_files import TrainingOffer


class Made(NamedRecord):
    """Which index was made of some inputs, by which it is named: of several the last."""

    index: str


def training(inputs: str, offer: TrainingOffer, built: BuiltIndex, settings: IndexSettings) -> Training:
    """What the record of an index of these inputs says of its training."""
    learned, trained_by = built.learned, inputs
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


def write_index(store: Store, inputs: str, partition: Partition, offer: TrainingOffer) -> IndexRecord:
    """Build the index of `partition`, which is made of `inputs`, its record last."""
    settings, segments = partition.settings, partition.segments
    with store.scratch() as folder:
        built = build(segments, partition.dim, settings, folder, partition.embed, partition.earlier)
        return commit(store, inputs, folder, built, training(inputs, offer, built, settings), segments)


def commit(
    store: Store, inputs: str, folder: Path, built: BuiltIndex, learned: Training, segments: Sequence[SegmentRef]
) -> IndexRecord:
    """Put the files of `folder` into the store as the index that is made of `inputs`, of these segments, and its record
    last. Where the very same index stands, its record stays.
    """
    name, files = put_files(store, inputs, folder, built.files, built.rows)
    record = own_index_record(store, name)
    made = made_of([segment.digest for segment in segments])
    if record is None or (record.inputs, record.files, record.made_of) != (inputs, files, made):
        record = built.record(name, inputs, files, learned, made)
        write_record(store, record_path(name), record)
    write_record(store, made_path(inputs), Made(name=inputs, index=name))
    return record


def put_files(
    store: Store, inputs: str, folder: Path, written: Mapping[str, str], rows: int
) -> tuple[str, dict[str, FileRef]]:
    """Put the files of `folder`, `written` as role -> its name there, into the store as an index of `rows` that is made
    of `inputs`: its name, and its files by role.
    """
    found = {role: (file, *digest_file(folder / file)) for role, file in written.items()}
    name = identity_of({"inputs": inputs, "files": {role: digest for role, (_, digest, _) in sorted(found.items())}})
    files = dict[str, FileRef]()
    for role, (file, digest, size) in found.items():
        files[role] = FileRef(path=f"indexes/{name}/{file}", bytes=size, rows=rows, blake3=digest)
        store.put_whole(folder / file, files[role])
    return name, files


def reusable_index(store: Store, inputs: str) -> IndexRecord | None:
    """The record of the index that was made of `inputs`, when it and its files are whole; None when it has to be built
    (again). What says so is written anew: it may be old and of no retained snapshot, and now it is needed.
    """
    record = _made_of(store, inputs)
    if record is None:
        return None
    write_record(store, made_path(inputs), Made(name=inputs, index=record.name))
    return record if all(store.stands(file) for file in record.files.values()) else None


def restored_index(store: Store, record: IndexRecord) -> IndexRecord | None:
    """An index that a manifest names, when its files are whole; its record is written again where that was lost."""
    if not all(store.stands(file) for file in record.files.values()):
        return None
    if own_index_record(store, record.name) is None:
        write_record(store, record_path(record.name), record)
    return record


def own_index_record(store: Store, name: str) -> IndexRecord | None:
    """The record of index `name`, whatever became of its files; None when there is none of that name."""
    return read_record(store, record_path(name), IndexRecord, name)


def index_stands(store: Store, inputs: str) -> bool:
    """Whether an index of these inputs was finished; its files are not looked at."""
    return store.exists(made_path(inputs))


def index_record(store: Store, inputs: str) -> IndexRecord:
    """The record of the index of these inputs, which this run built or found whole."""
    record = _made_of(store, inputs)
    if record is None:
        raise lost_record(f"the record of the index of {inputs}", made_path(inputs), "index")
    return record


def pointed_index(store: Store, inputs: str) -> str | None:
    """The name of the index that was last made of `inputs`; None where nothing that is whole says so."""
    made = read_record(store, made_path(inputs), Made, inputs)
    return None if made is None else made.index


def _made_of(store: Store, inputs: str) -> IndexRecord | None:
    made = read_record(store, made_path(inputs), Made, inputs)
    record = own_index_record(store, inputs if made is None else made.index)  # earlier versions named it by its inputs
    return record if record is not None and record.inputs == inputs else None


def made_path(inputs: str) -> str:
    """The path of what says which index was last made of `inputs`."""
    return f"indexes/{inputs}.json"


def record_path(name: str) -> str:
    """The path of the record of index `name`."""
    return f"indexes/{name}/record.json"
