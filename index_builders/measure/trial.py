"""One index of one spec, written, opened again as readers do, and tuned: what is compared, and what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from foundation.arrays import Positions
from index_builders.base import BuilderSpec
from index_builders.fill.fill import fill_index, finding_lists, write_index
from index_builders.measure.equal_rows import firsts, instead
from index_builders.measure.queries import TowerQueries, make_queries
from index_builders.measure.recall import HeldOut
from index_builders.measure.tune import Tuned, settled, tune, tune_again
from index_builders.rows.training_set import TrainingSet
from index_builders.rows.vectors_file import VectorsFile
from index_builders.settings import IndexSettings
from lookup.index.partition_index import INDEX_FILE, RANGE_FILE, REFINE_FILE, PartitionIndex
from lookup.index.refine import appended, codes, ranges
from lookup.store.entries.index_record import CurvePoint, TrainingFigures


@dataclass(frozen=True)
class Rows:
    """What an index is made of: all rows, those to learn from, held-out queries, an id file.

    What is learned from and the queries were drawn at random; no query was learned from.
    """

    vectors: VectorsFile
    learned_from: TrainingSet
    queries: HeldOut
    ids: Path


@dataclass(frozen=True)
class Unmeasured:
    """What the reader must know of an index that has no record yet."""

    name: str
    dim: int
    rows: int
    metric: str
    nprobe: int
    refine_factor: int


@dataclass(frozen=True)
class Before:
    """A training of other rows: what `spec.empty` gave for them, and the figures of then."""

    empty: faiss.Index
    then: TrainingFigures


@dataclass(frozen=True)
class Trial:
    """A tuned index: its files by role, and bytes per vector of the FAISS file, and of that with the refine vectors."""

    spec: BuilderSpec
    files: dict[str, Path]
    promised: Unmeasured
    tuned: Tuned
    vectors: VectorsFile
    held_out: HeldOut | None  # None: every row is compared, there is nothing to measure
    train_rows: int
    memory_bytes: float
    disk_bytes: float
    note: str = ""  # why this is not what was asked for

    @property
    def queries(self) -> HeldOut:
        """What it was tuned with."""
        if self.held_out is None:
            raise TypeError(f"an exact index was not asked anything: {self.spec.described}")
        return self.held_out

    @cached_property
    def index(self) -> PartitionIndex:
        """Opened when it is asked for: of candidates that lost no mapped page stays in memory."""
        return PartitionIndex.open(self.files, self.promised)


def drawn(
    vectors: VectorsFile, nt: int, nq: int, k: int, seed: int, ids: Path, alone: TowerQueries | None = None
) -> Rows:
    """Random rows of `vectors`: `nt` to train on and `nq` to ask for, drawn together and split at random.

    With `alone` the latter are asked for by one tower alone as well.
    """
    learned, own = _positions(len(vectors), nt, nq, seed)
    return Rows(vectors, _learned(vectors, learned), make_queries(vectors, own, k, alone), ids)


def drawn_by(settings: IndexSettings, vectors: VectorsFile, ids: Path, alone: TowerQueries | None = None) -> Rows:
    """As many random rows of `vectors` as the settings want; their ids are in `ids`. See `drawn` for `alone`."""
    nt, nq = settings.train_rows(len(vectors), vectors.dim), settings.held_out(len(vectors))
    return drawn(vectors, nt, nq, settings.k, settings.seed, ids, alone)


def held_out_by(settings: IndexSettings, vectors: VectorsFile, ids: Path, alone: TowerQueries | None) -> Rows:
    """What `drawn_by` gives, but with no rows to learn from: these are not read."""
    nt, nq = settings.train_rows(len(vectors), vectors.dim), settings.held_out(len(vectors))
    _, own = _positions(len(vectors), nt, nq, settings.seed)
    return Rows(
        vectors,
        TrainingSet(vectors.at(own[:0]), vectors.metric, vectors.compute),
        make_queries(vectors, own, settings.k, alone),
        ids,
    )


def learned_from_by(settings: IndexSettings, vectors: VectorsFile) -> TrainingSet:
    """What `drawn_by` gives to learn from, without queries, whose answers take a search of all rows."""
    nt, nq = settings.train_rows(len(vectors), vectors.dim), settings.held_out(len(vectors))
    return _learned(vectors, _positions(len(vectors), nt, nq, settings.seed)[0])


def _learned(vectors: VectorsFile, positions: Positions) -> TrainingSet:
    return TrainingSet(vectors.at(firsts(vectors, positions)), vectors.metric, vectors.compute, len(positions))


def _positions(rows: int, nt: int, nq: int, seed: int) -> tuple[Positions, Positions]:
    """The positions of `nt` and of `nq` of the `rows`, each rising, none in both."""
    rng = np.random.default_rng(seed)
    positions: Positions = np.sort(rng.choice(rows, nt + nq, replace=False, shuffle=False)).astype(np.int64)
    held = np.zeros(nt + nq, dtype=np.bool_)
    held[np.random.default_rng((seed, 1)).choice(nt + nq, nq, replace=False)] = True
    return positions[~held], positions[held]


def trial(
    spec: BuilderSpec,
    rows: Rows,
    target: float,
    folder: Path,
    built: Path | None = None,
    before: Before | None = None,
) -> Trial:
    """Build `spec` over `rows`, or what equal_rows.py puts in its place, in `folder` and tune it to recall@k of
    `target`.

    `built` is the FAISS file of all rows, of a spec that may differ in the refine stage: it is used as it is.
    With `before` nothing is trained, and it is tuned from there.
    """
    vectors = rows.vectors
    spec, note = instead(spec, vectors, rows.learned_from)
    learned_from = rows.learned_from if spec.trained and before is None else rows.learned_from.none()
    files = {"index": built or folder / INDEX_FILE, "ids": rows.ids}
    if built is None:
        empty = spec.empty(learned_from, vectors.dim, vectors.metric) if before is None else before.empty
        write_index(
            fill_index(empty, vectors.blocks(), rows=len(vectors), compute=finding_lists(spec, vectors.compute)),
            files["index"],
        )
    files |= _write_refine(vectors, spec, folder)
    factor = 1 if spec.refined[0] != "none" else 0
    promised = Unmeasured(str(folder), vectors.dim, len(vectors), vectors.metric.value, 0, factor)
    index = PartitionIndex.open(files, promised)
    tuned = _tuned(index, spec, rows.queries, target, before)
    memory = files["index"].stat().st_size / len(vectors)
    refine = sum(path.stat().st_size for role, path in files.items() if role.startswith("refine")) / len(vectors)
    return Trial(spec, files, promised, tuned, vectors, rows.queries, len(learned_from), memory, memory + refine, note)


def _tuned(index: PartitionIndex, spec: BuilderSpec, queries: HeldOut, target: float, before: Before | None) -> Tuned:
    """Settled, so that what is weighed, and refused, is the recall that a reader gets."""
    if before is not None and before.then.recall >= target:
        again = tune_again(index, spec, queries, target, before.then)
        tuned = None if again is None else settled(index, queries, again, target)
        if tuned is not None and tuned.point.recall >= target:
            return tuned
    return settled(index, queries, tune(index, spec, queries, target), target)


def exact(spec: BuilderSpec, vectors: VectorsFile, ids: Path, folder: Path) -> Trial:
    """Build `spec`, which compares every row, of `vectors` in `folder`: there is nothing to learn, tune or measure."""
    files = {"index": folder / INDEX_FILE, "ids": ids}
    nothing = TrainingSet(vectors.at(np.empty(0, np.int64)), vectors.metric, vectors.compute)
    empty = spec.empty(nothing, vectors.dim, vectors.metric)
    write_index(
        fill_index(empty, vectors.blocks(), rows=len(vectors), compute=finding_lists(spec, vectors.compute)),
        files["index"],
    )
    promised = Unmeasured(str(folder), vectors.dim, len(vectors), vectors.metric.value, 0, 0)
    each = files["index"].stat().st_size / len(vectors)
    point = CurvePoint(nprobe=0, recall=1.0, ms=0.0)
    return Trial(spec, files, promised, Tuned(point, ()), vectors, None, 0, each, each)


def _write_refine(vectors: VectorsFile, spec: BuilderSpec, folder: Path) -> dict[str, Path]:
    """Write the refine vectors of `spec`; role -> path."""
    kind, shape = spec.refined[0], (len(vectors), vectors.dim)
    if kind == "none":
        return {}
    files = {"refine": folder / REFINE_FILE}
    if kind == "fp16":
        _write(_raw(vectors), shape, "<f2", files["refine"])
        return files
    files["refine_range"] = folder / RANGE_FILE
    span = ranges(vectors.blocks(), vectors.dim)
    _write(iter([span]), span.shape, "<f4", files["refine_range"])
    _write((codes(block, span) for block in vectors.blocks()), shape, "|u1", files["refine"])
    return files


def _raw(vectors: VectorsFile, rows: int = 16_384) -> Iterator[npt.NDArray[Any]]:
    for start in range(0, len(vectors), rows):
        yield vectors.rows[start : start + rows]


def _write(blocks: Iterator[npt.NDArray[Any]], shape: tuple[int, ...], dtype: str, path: Path) -> None:
    with path.open("wb") as out:
        for _ in appended(blocks, shape, dtype, out):
            pass
