"""What an index will take before it is built: bytes, memory and seconds, from rows, dim and settings alone.

Bytes follow from the types (BuilderSpec.vector_bytes). Memory counts what a build holds at its peak and cannot give
back; pages of the memory-mapped scratch files are not counted, because the kernel drops them when it needs the room.
Seconds are of the sort that a plan shows: counted multiplications over a measured speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from index_builders.base import MULTIPLICATIONS, BuilderSpec
from index_builders.choose.choice import CHOOSE_ROWS, KNOWN_TO
from index_builders.rows.training_set import CODE_ROWS
from index_builders.rows.vectors_file import ROWS, whole_blocks
from index_builders.settings import IndexSettings

_CANDIDATE_BYTES = 24e6  # that tuning holds of each thread: scores and positions of 500 queries by 1,000 candidates
_ROW_BYTES = 100  # of a row's id, its hash and its place while ids are compared
_FIXED_BYTES = 30e6
_SINGLE_SPEED = (
    4e9  # multiplications a second of one thread where a query alone is compared with every row: memory is the bound
)
_PASSES = 4  # of held-out queries over all rows, many at a time, where all are compared: tuned, settled, proved, told
_INDEX_SECONDS = 0.1  # of an index however small: files written and flushed, opened again, checked
_TUNE_SECONDS = 0.5  # of an index, for each 64 dimensions


@dataclass(frozen=True)
class IndexForecast:
    """One partition's index: bytes of its file and of that with refine vectors, from the least candidate to the most;
    peak bytes of memory while it is built, and of each part that is filled beside; bytes of scratch files; and about
    how many seconds with one thread.
    """

    rows: int
    types: tuple[str, ...]
    least_bytes: int
    most_bytes: int
    least_disk_bytes: int
    most_disk_bytes: int
    memory_bytes: int
    part_bytes: int
    scratch_bytes: int
    seconds: float


def forecast(settings: IndexSettings, rows: int, dim: int, threads: int, part_rows: int) -> IndexForecast:
    """What becomes of a partition of `rows` vectors of length `dim`, built on `threads` threads.

    `part_rows` is how many rows are added to an index that is held in memory; more are added in parts.
    """
    part_rows = whole_blocks(part_rows)
    chosen = settings.choose(rows, dim)
    weighed = settings.candidates(rows, dim) if chosen is None else [chosen]
    within = [place for place, one in enumerate(weighed) if settings.fits(one, rows, dim, KNOWN_TO)]
    specs = [weighed[place] for place in within] or weighed
    memory = [one.shared_bytes(dim) + rows * one.vector_bytes(dim) for one in specs]
    disk = [held + rows * one.refine_bytes(dim) for held, one in zip(memory, specs, strict=True)]
    peak = max(_build_bytes(one, settings, rows, dim, threads, part_rows) for one in specs)
    seconds = max(_build_seconds(one, settings, rows, dim) for one in specs)
    scratch = 2.0 * rows * dim + max(disk)
    if chosen is None:
        few = min(rows, CHOOSE_ROWS)
        trials = settings.candidates(few, dim, rows)
        peak = max(peak, _choice_bytes(trials, settings, few, dim, threads) + (2.0 * few * dim if few < rows else 0))
        seconds += sum(_build_seconds(trials[place], settings, few, dim) for place in within or range(len(trials)))
        scratch += sum(few * (one.vector_bytes(dim) + one.refine_bytes(dim)) for one in trials)
    return IndexForecast(
        rows=rows,
        types=tuple(one.type for one in specs),
        least_bytes=round(min(memory)),
        most_bytes=round(max(memory)),
        least_disk_bytes=round(min(disk)),
        most_disk_bytes=round(max(disk)),
        memory_bytes=round(peak + _FIXED_BYTES + rows * _ROW_BYTES),
        part_bytes=round(max(_part_bytes(one, rows, dim, part_rows) for one in specs)),
        scratch_bytes=round(scratch),
        seconds=seconds,
    )


def _build_bytes(
    spec: BuilderSpec, settings: IndexSettings, rows: int, dim: int, threads: int, part_rows: int
) -> float:
    """Learning, or adding to an index that is held whole or in parts; then measuring."""
    sample = 4.0 * dim * settings.train_rows(rows, dim) if spec.trained else 0.0
    held = min(rows, part_rows) if spec.mergeable else rows
    return sample + _trial_bytes(spec, settings, rows, dim, held) + threads * _thread_bytes(dim)


def _part_bytes(spec: BuilderSpec, rows: int, dim: int, part_rows: int) -> float:
    """Of a part that is filled on one thread; nothing where there are none."""
    if rows <= part_rows or not spec.mergeable:
        return 0.0
    return part_rows * spec.filling_bytes(dim) + spec.shared_bytes(dim) + _thread_bytes(dim)


def _choice_bytes(specs: Sequence[BuilderSpec], settings: IndexSettings, rows: int, dim: int, threads: int) -> float:
    """One sample to learn from, and on each thread one candidate: at worst the largest."""
    sizes = sorted((_trial_bytes(one, settings, rows, dim, rows) for one in specs), reverse=True)
    return 4.0 * dim * settings.train_rows(rows, dim) + sum(sizes[:threads]) + threads * _thread_bytes(dim)


def _trial_bytes(spec: BuilderSpec, settings: IndexSettings, rows: int, dim: int, held: int) -> float:
    learning = 2 * 4.0 * dim * min(settings.train_rows(rows, dim), CODE_ROWS) if spec.trained else 0.0
    return max(learning, held * spec.filling_bytes(dim)) + spec.shared_bytes(dim)


def _thread_bytes(dim: int) -> float:
    return 2 * 4.0 * dim * ROWS + _CANDIDATE_BYTES


def _build_seconds(spec: BuilderSpec, settings: IndexSettings, rows: int, dim: int) -> float:
    built = spec.build_seconds(rows, settings.train_rows(rows, dim), dim)
    compared = settings.held_out(rows) * rows * dim
    exact = _PASSES / MULTIPLICATIONS + 1 / _SINGLE_SPEED if spec.exact else 0.0
    tuned = _TUNE_SECONDS * dim / 64 * min(1.0, rows / CHOOSE_ROWS)
    return _INDEX_SECONDS + built + compared * (1 / MULTIPLICATIONS + exact) + tuned
