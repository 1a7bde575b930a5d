"""A large partition's index, built as parts: learned once, filled part by part anywhere, merged and measured.

    learn     keep the vectors, weigh candidates by a sample, train: an empty index, and how far the choice has come
    fill      one part: the rows of a range of positions, added to that empty index
    finish    merge the parts (fill/merge.py), then tune, check and measure as build.py does; or say who fell short

An index that falls short of all rows, or an earlier training that does not fit them, costs another round with what was
learned from it. The files equal those of `build`, whatever the size of the parts: rows are added in blocks of
`vectors_file.ROWS` from a part's first row on, and parts are whole blocks but the last. FAISS rounds a block of another
size otherwise: by the last bit, in the factors of RaBitQ codes (measured).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np

from foundation.arrays import Vectors
from index_builders.base import BuilderSpec, StoredSpec
from index_builders.build import (
    BuiltIndex,
    Chosen,
    Materials,
    Partition,
    keep_rows,
    measure,
    trained_anew,
    within_bytes,
    written_into,
)
from index_builders.choose import choice as choose
from index_builders.choose.choice import Choice, of_sample
from index_builders.choose.training_reuse import judge_training, near_enough, spec_of
from index_builders.fill.compute import compute_of
from index_builders.fill.fill import fill_index, finding_lists, write_index
from index_builders.fill.merge import merge
from index_builders.measure.equal_rows import instead
from index_builders.measure.trial import Before, held_out_by, learned_from_by, trial
from index_builders.rows import vectors_file
from index_builders.rows.shards import SegmentRef, verified_blocks
from index_builders.rows.vectors_file import keep
from index_builders.settings import IndexSettings
from lookup.index.partition_index import INDEX_FILE
from lookup.store.fields import Record


class EarlierRounds(Record):
    """What rounds before found: why an earlier training is not used (None: open yet), and a choice under way."""

    reason: str | None = None
    choice: Choice | None = None


class Trained(Record):
    """What a round builds: the spec, trained on so many rows, with an earlier training or not, and what came before."""

    spec: StoredSpec
    train_rows: int
    earlier: bool
    before: EarlierRounds
    note: str = ""  # why the spec is not what was asked for


def parts_of(partition: Partition, part_rows: int) -> list[range]:
    """The rows of each part, `part_rows` up to whole blocks; none for a partition that is to be built in one piece.

    That is one of fewer rows, of a type that cannot be merged, or small enough to be chosen for by all its rows: it is
    built while choosing.
    """
    rows, spec = partition.rows, partition.settings.choose(partition.rows, partition.dim)
    if rows <= part_rows or (rows <= choose.CHOOSE_ROWS if spec is None else not spec.mergeable):
        return []
    size = vectors_file.whole_blocks(part_rows)
    return [range(start, min(start + size, rows)) for start in range(0, rows, size)]


def learn(partition: Partition, before: EarlierRounds, folder: Path) -> tuple[Trained, faiss.Index]:
    """What to build of `partition` next, and its index, trained and without rows; errors are those of `build`.

    `folder` takes scratch files, which have to stay while the index is used.
    """
    settings, rows, dim = partition.settings, partition.rows, partition.dim
    with written_into(folder):
        compute = compute_of(settings.device)
        whole = keep(verified_blocks(partition.segments), rows, dim, settings.metric, folder / "vectors.npy", compute)
        if partition.earlier is not None and before.reason is None:
            empty, reason = near_enough(partition.earlier, whole, settings)
            if empty is not None:
                record = partition.earlier.record
                return Trained(spec=spec_of(record), train_rows=record.train_rows, earlier=True, before=before), empty
            before = before.model_copy(update={"reason": reason})
        spec = settings.choose(rows, dim)
        if spec is None:
            choice = before.choice or of_sample(whole, settings, folder, partition.alone)
            spec, before = choice.next(settings, whole), before.model_copy(update={"choice": choice})
    learned_from = learned_from_by(settings, whole)
    spec, note = instead(spec, whole, learned_from)
    if not spec.trained:  # as a candidate: settings see to a type that is named
        learned_from = learned_from.none()
    trained = Trained(spec=spec, train_rows=len(learned_from), earlier=False, before=before, note=note)
    return trained, spec.empty(learned_from, dim, settings.metric)


def fill(
    learned: tuple[BuilderSpec, faiss.Index],
    segments: Sequence[SegmentRef],
    first: int,
    rows: range,
    settings: IndexSettings,
    path: Path,
) -> None:
    """Write to `path` what was learned, an empty index of a spec, with some `rows` of a partition: of `segments`, whose
    first row is row `first`.

    Segments are read whole, since their digests say nothing of less; IntegrityError where one differs.
    """
    with written_into(path.parent):
        spec, empty = learned
        compute = finding_lists(spec, compute_of(settings.device))
        blocks = (settings.metric.stored(block) for block in _blocks(_within(verified_blocks(segments), first, rows)))
        write_index(fill_index(empty, blocks, rows.start, len(rows), compute), path)


def finish(
    partition: Partition, trained: Trained, empty: faiss.Index, parts: Sequence[Path], folder: Path
) -> BuiltIndex | EarlierRounds:
    """The index of `partition`, of all its `parts` in order, its files in `folder`; or what another round must know.

    `trained` and `empty` are those of `learn`; errors are those of `build`.
    """
    with written_into(folder):
        rows = keep_rows(partition, folder)
        merge(empty, parts, rows.work / INDEX_FILE)
        found = _decided(rows, trained, empty)
    return measure(rows, found) if isinstance(found, Chosen) else found


def _decided(rows: Materials, trained: Trained, empty: faiss.Index) -> Chosen | EarlierRounds:
    """The merged index, tuned, where it is good enough; else what another round must know."""
    settings, before = rows.partition.settings, trained.before
    earlier = rows.partition.earlier if trained.earlier else None
    drawn = held_out_by(settings, rows.vectors, rows.ids, rows.partition.alone)
    offered = None if earlier is None else Before(empty, earlier.then)
    made = trial(trained.spec, drawn, settings.target_recall, rows.work, rows.work / INDEX_FILE, offered)
    made = replace(made, train_rows=trained.train_rows, note=trained.note)
    if earlier is not None:
        learned = judge_training(earlier, made, settings)
        return Chosen(made, learned) if learned.reused else before.model_copy(update={"reason": learned.reason})
    if before.choice is None:
        return trained_anew(within_bytes(made, settings), (), before.reason or "", settings)
    choice = before.choice.after(made, settings)
    if not choice.found(settings):
        return before.model_copy(update={"choice": choice})
    return trained_anew(made, choice.considered(settings), before.reason or "", settings)


def _within(blocks: Iterable[Vectors], first: int, rows: range) -> Iterator[Vectors]:
    """Of `blocks` (n, d), whose first row is row `first`, the `rows`; all blocks are read, so that all are verified."""
    for block in blocks:
        inside = block[max(0, rows.start - first) : max(0, rows.stop - first)]
        if len(inside):
            yield inside
        first += len(block)


def _blocks(blocks: Iterable[Vectors]) -> Iterator[Vectors]:
    """The rows of `blocks` (n, d) float32 in blocks of ROWS, as those of a VectorsFile are; the last may be shorter."""
    left: list[Vectors] = []
    for block in blocks:
        while len(block):
            fits = vectors_file.ROWS - sum(map(len, left))
            left.append(block[:fits])
            block = block[fits:]
            if sum(map(len, left)) == vectors_file.ROWS:
                yield np.concatenate(left)
                left = []
    if left:
        yield np.concatenate(left)
