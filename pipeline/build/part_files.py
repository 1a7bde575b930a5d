"""Large partitions in the store: what workers hand on to each other while an index is built as parts.

    <task>/so-far-<round>.json     what rounds before this one found, and took
    <task>/<round>/learned.json    what is built in this round, and the digest of its trained index
    <task>/<round>/learned.faiss   the trained index without rows
    <task>/<round>/<part>.faiss    the same with the rows of one part

`<task>` is the path of the task's file without its ending, in the scratch of the run. All of it is dropped as soon as
nobody needs it: after its round, at the end of the build step, and by the next run.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import faiss
import numpy as np
from blake3 import blake3

from foundation.errors import IntegrityError
from index_builders.build import Partition
from index_builders.fill.fill import write_index as write_faiss
from index_builders.measure.queries import Embed
from index_builders.parts import EarlierRounds, Trained, fill, finish, learn, parts_of
from index_builders.settings import IndexSettings
from lookup.store.entries.index_record import IndexRecord
from lookup.store.fields import FileRef, NamedRecord
from lookup.store.records import lost_record, read_record, write_record
from lookup.store.store import Store
from pipeline.build.index_files import commit, reusable_index, training, write_index
from pipeline.build.task_files import TrainingOffer, earlier, read_rows, read_task


class _Learned(NamedRecord):
    """What is built in a round, and its trained index. Its name is its path."""

    index: FileRef
    trained: Trained
    seconds: float


class _Short(NamedRecord):
    """What rounds that fell short found, and took. Its name is its path."""

    rounds: EarlierRounds
    seconds: float


class Task(NamedTuple):
    """One partition's index to build: the segments are named in a file of the run, not carried."""

    number: int
    partition: str
    inputs: str
    path: str
    round: int


class Part(NamedTuple):
    """Some rows to be added to a copy of the index that was learned for a task."""

    number: int
    partition: str
    inputs: str
    path: str
    round: int
    part: int
    first: int
    end: int


class PartFile(NamedTuple):
    """A part's file, and the seconds that it took."""

    part: int
    path: str
    bytes: int
    rows: int
    blake3: str
    seconds: float


def started(
    store: Store, task: Task, settings: IndexSettings, part_rows: int, dim: int, embed: Embed | None
) -> IndexRecord | list[Part]:
    """Build the index of a task, or where it is large only learn it: the parts to fill."""
    began = time.perf_counter()
    partition, offer = _partition(store, task, settings, dim, embed)
    parts = parts_of(partition, part_rows)
    if not parts:
        return write_index(store, task.inputs, partition, offer)
    rounds, before = _earlier_rounds(store, task)
    with store.scratch() as folder:
        trained, empty = learn(partition, rounds, folder)
        write_faiss(empty, folder / "learned.faiss")
        file = store.put(folder / "learned.faiss", f"{_folder(task)}/learned.faiss", rows=0)
    seconds = before + time.perf_counter() - began
    path = _learned_path(task)
    write_record(store, path, _Learned(name=path, index=file, trained=trained, seconds=seconds))
    return [Part(*task, number, rows.start, rows.stop) for number, rows in enumerate(parts)]


def task_of(part: Part) -> Task:
    """The task that this is a part of. In worker processes elements have Beam's own types: the fields, no methods."""
    return Task(part.number, part.partition, part.inputs, part.path, part.round)


def filled_part(store: Store, part: Part, settings: IndexSettings) -> PartFile:
    """Fill one part, its file in the store."""
    began, task = time.perf_counter(), task_of(part)
    trained, empty, _ = _learned(store, task)
    rows = range(part.first, part.end)
    first, segments = read_rows(store, part.path, part.inputs, rows)
    with store.scratch() as folder:
        path = folder / "part.faiss"
        fill((trained.spec, empty), segments, first, rows, settings, path)
        file = store.put(path, f"{_folder(task)}/{part.part:06d}.faiss", len(rows))
    return PartFile(part.part, file.path, file.bytes, file.rows, file.blake3, time.perf_counter() - began)


def merged(
    store: Store, task: Task, parts: Iterable[PartFile], settings: IndexSettings, dim: int, embed: Embed | None
) -> IndexRecord | None:
    """Make the index of a task of all its parts; None where it falls short and another round is needed.

    Its `build_seconds` are those of all steps together: of learning, of each part and of merging, in every round.
    A runner may ask for this again when it was done: then the index stands, or the next round has its file.
    """
    if needs_round(store, task._replace(round=task.round + 1)):
        return None
    began, parts = time.perf_counter(), sorted(parts, key=lambda one: one.part)
    partition, offer = _partition(store, task, settings, dim, embed)
    record = reusable_index(store, task.inputs)
    if record is None:
        trained, empty, before = _learned(store, task)
        files = [FileRef(path=one.path, bytes=one.bytes, rows=one.rows, blake3=one.blake3) for one in parts]
        with store.scratch() as folder:
            found = finish(partition, trained, empty, [store.verified(file) for file in files], folder)
            seconds = before + sum(one.seconds for one in parts) + time.perf_counter() - began
            if isinstance(found, EarlierRounds):
                path = _so_far_path(task._replace(round=task.round + 1))
                write_record(store, path, _Short(name=path, rounds=found, seconds=seconds))
            else:
                found = replace(found, build_seconds=seconds)
                learned = training(task.inputs, offer, found, settings)
                record = commit(store, task.inputs, folder, found, learned, partition.segments)
    store.remove(_folder(task))
    return record


def needs_round(store: Store, task: Task) -> bool:
    """Whether the round before that of `task` fell short."""
    return store.exists(_so_far_path(task))


def _partition(
    store: Store, task: Task, settings: IndexSettings, dim: int, embed: Embed | None
) -> tuple[Partition, TrainingOffer]:
    segments, offer = read_task(store, task.path, task.inputs)
    return Partition(segments, dim, settings, embed, earlier(store, offer)), offer


def _earlier_rounds(store: Store, task: Task) -> tuple[EarlierRounds, float]:
    """What rounds before found, and the seconds of all their steps."""
    if not task.round:
        return EarlierRounds(), 0.0
    short = read_record(store, _so_far_path(task), _Short)
    if short is None:
        raise _misplaced(_so_far_path(task))
    return short.rounds, short.seconds


def _learned(store: Store, task: Task) -> tuple[Trained, faiss.Index, float]:
    """What was learned for a task, and the seconds until then; not through the cache of a remote store, where nobody
    would drop it.
    """
    learned = read_record(store, _learned_path(task), _Learned)
    if learned is None:
        raise _misplaced(_learned_path(task))
    file = learned.index
    raw = store.read(file.path)
    found = blake3(raw).hexdigest()
    if found != file.blake3:
        expected = f"{file.path} with {file.bytes} bytes and blake3 {file.blake3}"
        raise IntegrityError(
            expected, f"{len(raw)} bytes, blake3 {found}", "run `vitrine run` again: it is learned anew"
        )
    index = faiss.deserialize_index(np.frombuffer(raw, dtype=np.uint8))
    return learned.trained, index, learned.seconds


def _misplaced(path: str) -> IntegrityError:
    return lost_record("what was learned so far", path, "index", "run `vitrine run` again: it is learned anew")


def _learned_path(task: Task) -> str:
    return f"{_folder(task)}/learned.json"


def _folder(task: Task) -> str:
    return f"{_of_rounds(task)}/{task.round}"


def _so_far_path(task: Task) -> str:
    return f"{_of_rounds(task)}/so-far-{task.round}.json"


def _of_rounds(task: Task) -> str:
    return task.path.removesuffix(".json")
