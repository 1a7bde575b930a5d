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
from index_builders.fill.fill import filled, finding_lists, write_index
from index_builders.measure.equal_rows import firsts, instead
from index_builders.measure.queries import Alone, asked
from index_builders.measure.recall import HeldOut
from index_builders.measure.tune import Tuned, settled, tune
from index_builders.rows.training_set import TrainingSet
from index_builders.rows.vectors_file import Kept
from index_builders.settings import IndexSettings
from lookup.index.partition_index import INDEX_FILE, RANGE_FILE, REFINE_FILE, PartitionIndex
from lookup.index.refine import appended, codes, ranges
from lookup.store.index_record import CurvePoint


@dataclass(frozen=True)
class Rows:
    """What an index is made of: all rows, those to learn from, held-out queries, an id file.

    What is learned from and the queries were drawn at random; no query was learned from.
    """

    kept: Kept
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
class Trial:
    """A tuned index: its files by role, and bytes per vector of the FAISS file, and of that with the refine vectors."""

    spec: BuilderSpec
    files: dict[str, Path]
    promised: Unmeasured
    tuned: Tuned
    kept: Kept
    asked: HeldOut | None  # None: every row is compared, there is nothing to measure
    train_rows: int
    memory_bytes: float
    disk_bytes: float
    note: str = ""  # why this is not what was asked for

    @property
    def queries(self) -> HeldOut:
        """What it was tuned with."""
        if self.asked is None:
            raise TypeError("an exact index was not asked anything")
        return self.asked

    @cached_property
    def index(self) -> PartitionIndex:
        """Opened when it is asked for: of candidates that lost no mapped page stays in memory."""
        return PartitionIndex.open(self.files, self.promised)


def drawn(kept: Kept, nt: int, nq: int, k: int, seed: int, ids: Path, alone: Alone | None = None) -> Rows:
    """Random rows of `kept`: `nt` to train on and `nq` to ask for, drawn together and split at random.

    With `alone` the latter are asked for by one tower alone as well.
    """
    learned, own = _positions(len(kept), nt, nq, seed)
    return Rows(kept, _learned(kept, learned), asked(kept, own, k, alone), ids)


def drawn_by(settings: IndexSettings, kept: Kept, ids: Path, alone: Alone | None = None) -> Rows:
    """As many random rows of `kept` as the settings want; their ids are in `ids`. See `drawn` for `alone`."""
    nt, nq = settings.train_rows(len(kept), kept.dim), settings.held_out(len(kept))
    return drawn(kept, nt, nq, settings.k, settings.seed, ids, alone)


def held_out_by(settings: IndexSettings, kept: Kept, ids: Path, alone: Alone | None) -> Rows:
    """What `drawn_by` gives, but with no rows to learn from: these are not read."""
    nt, nq = settings.train_rows(len(kept), kept.dim), settings.held_out(len(kept))
    _, own = _positions(len(kept), nt, nq, settings.seed)
    return Rows(
        kept, TrainingSet(kept.at(own[:0]), kept.metric, kept.compute), asked(kept, own, settings.k, alone), ids
    )


def learned_from_by(settings: IndexSettings, kept: Kept) -> TrainingSet:
    """What `drawn_by` gives to learn from, without queries, whose answers take a search of all rows."""
    nt, nq = settings.train_rows(len(kept), kept.dim), settings.held_out(len(kept))
    return _learned(kept, _positions(len(kept), nt, nq, settings.seed)[0])


def _learned(kept: Kept, positions: Positions) -> TrainingSet:
    return TrainingSet(kept.at(firsts(kept, positions)), kept.metric, kept.compute, len(positions))


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
    learned: faiss.Index | None = None,
) -> Trial:
    """Build `spec` over `rows`, or what equal_rows.py puts in its place, in `folder` and tune it to recall@k of
    `target`.

    `built` is the FAISS file of all rows, of a spec that may differ in the refine stage: it is used as it is.
    `learned` is what `spec.empty` gave for other rows: nothing is trained then.
    """
    kept = rows.kept
    spec, note = instead(spec, kept, rows.learned_from)
    learned_from = rows.learned_from if spec.trained and learned is None else rows.learned_from.none()
    files = {"index": built or folder / INDEX_FILE, "ids": rows.ids}
    if built is None:
        empty = spec.empty(learned_from, kept.dim, kept.metric) if learned is None else learned
        write_index(
            filled(empty, kept.blocks(), rows=len(kept), compute=finding_lists(spec, kept.compute)), files["index"]
        )
    files |= _write_refine(kept, spec, folder)
    factor = 1 if spec.refined[0] != "none" else 0
    promised = Unmeasured(str(folder), kept.dim, len(kept), kept.metric.value, 0, factor)
    index = PartitionIndex.open(files, promised)
    # Settled here, so that what is weighed, and refused, is the recall that a reader gets.
    tuned = settled(index, rows.queries, tune(index, spec, rows.queries, target), target)
    memory = files["index"].stat().st_size / len(kept)
    refine = sum(path.stat().st_size for role, path in files.items() if role.startswith("refine")) / len(kept)
    return Trial(spec, files, promised, tuned, kept, rows.queries, len(learned_from), memory, memory + refine, note)


def exact(spec: BuilderSpec, kept: Kept, ids: Path, folder: Path) -> Trial:
    """Build `spec`, which compares every row, over `kept` in `folder`: there is nothing to learn, tune or measure."""
    files = {"index": folder / INDEX_FILE, "ids": ids}
    nothing = TrainingSet(kept.at(np.empty(0, np.int64)), kept.metric, kept.compute)
    empty = spec.empty(nothing, kept.dim, kept.metric)
    write_index(filled(empty, kept.blocks(), rows=len(kept), compute=finding_lists(spec, kept.compute)), files["index"])
    promised = Unmeasured(str(folder), kept.dim, len(kept), kept.metric.value, 0, 0)
    each = files["index"].stat().st_size / len(kept)
    point = CurvePoint(nprobe=0, recall=1.0, ms=0.0)
    return Trial(spec, files, promised, Tuned(point, ()), kept, None, 0, each, each)


def _write_refine(kept: Kept, spec: BuilderSpec, folder: Path) -> dict[str, Path]:
    """Write the refine vectors of `spec`; role -> path."""
    kind, shape = spec.refined[0], (len(kept), kept.dim)
    if kind == "none":
        return {}
    files = {"refine": folder / REFINE_FILE}
    if kind == "fp16":
        _write(_raw(kept), shape, "<f2", files["refine"])
        return files
    files["refine_range"] = folder / RANGE_FILE
    span = ranges(kept.blocks(), kept.dim)
    _write(iter([span]), span.shape, "<f4", files["refine_range"])
    _write((codes(block, span) for block in kept.blocks()), shape, "|u1", files["refine"])
    return files


def _raw(kept: Kept, rows: int = 16_384) -> Iterator[npt.NDArray[Any]]:
    for start in range(0, len(kept), rows):
        yield kept.rows[start : start + rows]


def _write(blocks: Iterator[npt.NDArray[Any]], shape: tuple[int, ...], dtype: str, path: Path) -> None:
    with path.open("wb") as out:
        for _ in appended(blocks, shape, dtype, out):
            pass
