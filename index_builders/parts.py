"""A large partition's index, built as parts: learned once, filled part by part anywhere, merged and measured.

    learn     keep the vectors, weigh candidates by a sample, train: an empty index, and how far the choice has come
    fill      one part: the rows of a range of positions, added to that empty index
    finish    merge the parts (fill/merge.py), then tune, check and measure as build.py does; or say who fell short

An index that falls short of all rows, or an earlier training that does not fit them, costs another round with what was
learned from it. The files equal those of `build`, whatever the size of the parts: rows are added in blocks of
`kept.ROWS` from a part's first row on, and parts are whole blocks but the last. FAISS rounds a block of another size
otherwise: by the last bit, in the factors of RaBitQ codes (measured).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from foundation.arrays import Vectors
from index_builders.base import BuilderSpec, builder_spec
from index_builders.build import BuiltIndex, Made, anew, finished, within_bytes, written_into
from index_builders.choose import choice as choose
from index_builders.choose.choice import Choice, of_sample
from index_builders.choose.training_reuse import Earlier, judged, near_enough, spec_of
from index_builders.fill.compute import compute_of
from index_builders.fill.fill import filled, finding_lists, write_index
from index_builders.fill.merge import merge
from index_builders.measure.equal_rows import instead
from index_builders.measure.queries import Alone, Embed
from index_builders.measure.trial import held_out_by, learned_from_by, trial
from index_builders.rows import vectors_file as kept
from index_builders.rows.shards import SegmentRef, verified_blocks
from index_builders.rows.vectors_file import Kept, keep
from index_builders.settings import IndexSettings
from lookup.index.partition_index import IDS_FILE, INDEX_FILE


@dataclass(frozen=True)
class Partition:
    """What is built: segments of embeddings of length `dim`. See `build` for what the rest is for."""

    segments: Sequence[SegmentRef]
    dim: int
    settings: IndexSettings
    embed: Embed | None
    earlier: Earlier | None

    @property
    def rows(self) -> int:
        """Of all segments."""
        return sum(ref.rows for ref in self.segments)

    @property
    def alone(self) -> Alone | None:
        """How rows are asked by one tower alone; None where they are not."""
        wanted = self.embed is not None and self.settings.asks_alone(self.rows, self.dim)
        return Alone(self.segments, self.embed) if wanted and self.embed is not None else None


@dataclass(frozen=True)
class SoFar:
    """What rounds before found: why an earlier training is not used (None: open yet), and a choice under way."""

    reason: str | None = None
    choice: Choice | None = None

    @classmethod
    def of(cls, fields: dict[str, Any]) -> SoFar:
        """What `fields` wrote down."""
        choice = fields["choice"]
        return cls(fields["reason"], None if choice is None else Choice.of(choice))

    def fields(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return {"reason": self.reason, "choice": None if self.choice is None else self.choice.fields()}


@dataclass(frozen=True)
class Learning:
    """What a round builds: the spec, trained on so many rows, with an earlier training or not, and what came before."""

    spec: BuilderSpec
    train_rows: int
    earlier: bool
    so_far: SoFar
    note: str = ""  # why the spec is not what was asked for

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Learning:
        """What `fields` wrote down."""
        return cls(**{**fields, "spec": builder_spec(fields["spec"]), "so_far": SoFar.of(fields["so_far"])})

    def fields(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return {**vars(self), "spec": self.spec.model_dump(mode="json"), "so_far": self.so_far.fields()}


def parts_of(partition: Partition, part_rows: int) -> list[range]:
    """The rows of each part, `part_rows` up to whole blocks; none for a partition that is to be built in one piece.

    That is one of fewer rows, of a type that cannot be merged, or small enough to be chosen for by all its rows: it is
    built while choosing.
    """
    rows, spec = partition.rows, partition.settings.choose(partition.rows, partition.dim)
    if rows <= part_rows or (rows <= choose.CHOOSE_ROWS if spec is None else not spec.mergeable):
        return []
    size = kept.whole_blocks(part_rows)
    return [range(start, min(start + size, rows)) for start in range(0, rows, size)]


def learn(partition: Partition, so_far: SoFar, folder: Path) -> tuple[Learning, faiss.Index]:
    """What to build of `partition` next, and its index, trained and without rows; errors are those of `build`.

    `folder` takes scratch files, which have to stay while the index is used.
    """
    settings, rows, dim = partition.settings, partition.rows, partition.dim
    with written_into(folder):
        compute = compute_of(settings.device)
        whole = keep(verified_blocks(partition.segments), rows, dim, settings.metric, folder / "vectors.npy", compute)
        if partition.earlier is not None and so_far.reason is None:
            empty, reason = near_enough(partition.earlier, whole, settings)
            if empty is not None:
                record = partition.earlier.record
                return Learning(spec_of(record), record.train_rows, True, so_far), empty
            so_far = replace(so_far, reason=reason)
        spec = settings.choose(rows, dim)
        if spec is None:
            choice = so_far.choice or of_sample(whole, settings, folder, partition.alone)
            spec, so_far = choice.next(settings, whole), replace(so_far, choice=choice)
    learned_from = learned_from_by(settings, whole)
    spec, note = instead(spec, whole, learned_from)
    if not spec.trained:  # as a candidate: settings see to a type that is named
        learned_from = learned_from.none()
    return Learning(spec, len(learned_from), False, so_far, note), spec.empty(learned_from, dim, settings.metric)


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
        write_index(filled(empty, blocks, rows.start, len(rows), compute), path)


def finish(
    partition: Partition, learning: Learning, empty: faiss.Index, parts: Sequence[Path], folder: Path
) -> BuiltIndex | SoFar:
    """The index of `partition`, of all its `parts` in order, its files in `folder`; or what another round must know.

    `learning` and `empty` are those of `learn`; errors are those of `build`.
    """
    settings, so_far = partition.settings, learning.so_far

    def make(whole: Kept, alone: Alone | None, work: Path) -> Made:
        merge(empty, parts, work / INDEX_FILE)
        rows = held_out_by(settings, whole, work / IDS_FILE, alone)
        made = trial(learning.spec, rows, settings.target_recall, work, built=work / INDEX_FILE)
        made = replace(made, train_rows=learning.train_rows, note=learning.note)
        if learning.earlier and partition.earlier is not None:
            learned = judged(partition.earlier, made, settings)
            if not learned.reused:
                raise _FellShortError(replace(so_far, reason=learned.reason))
            return made, {"considered": (), "learned": learned}
        if so_far.choice is None:
            return anew(within_bytes(made, settings), (), so_far.reason or "", settings)
        choice = so_far.choice.after(made, settings)
        if not choice.found(settings):
            raise _FellShortError(replace(so_far, choice=choice))
        return anew(made, choice.considered(settings), so_far.reason or "", settings)

    try:
        return finished(partition.segments, partition.dim, settings, folder, partition.embed, make)
    except _FellShortError as short:
        return short.so_far


class _FellShortError(Exception):
    """Another round is needed."""

    def __init__(self, so_far: SoFar) -> None:
        super().__init__(so_far)
        self.so_far = so_far


def _within(blocks: Iterable[Vectors], first: int, rows: range) -> Iterator[Vectors]:
    """Of `blocks` (n, d), whose first row is row `first`, the `rows`; all blocks are read, so that all are verified."""
    for block in blocks:
        inside = block[max(0, rows.start - first) : max(0, rows.stop - first)]
        if len(inside):
            yield inside
        first += len(block)


def _blocks(blocks: Iterable[Vectors]) -> Iterator[Vectors]:
    """The rows of `blocks` (n, d) in blocks of `kept.ROWS`, as those of `Kept` are; the last may be shorter."""
    left: list[Vectors] = []
    for block in blocks:
        while len(block):
            fits = kept.ROWS - sum(map(len, left))
            left.append(block[:fits])
            block = block[fits:]
            if sum(map(len, left)) == kept.ROWS:
                yield np.concatenate(left)
                left = []
    if left:
        yield np.concatenate(left)
