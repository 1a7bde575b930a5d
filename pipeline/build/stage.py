"""The build step: live segments in, one index per partition out, as a Beam pipeline of its own on references.

It is apart from the embed step, so that no failure here can cost an encoded row.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions

from index_builders.rows.vectors_file import part_count
from lookup.store.entries.index_record import IndexRecord, describe_training
from lookup.store.entries.lexical_record import LexicalRecord
from lookup.store.manifest import Manifest, PartitionEntry
from lookup.store.shards import Shards
from lookup.store.store import Store, scratch_of
from pipeline.build.index_files import index_record, index_stands
from pipeline.build.lexical import LexicalIndexes, LexicalTask, lexical_record
from pipeline.build.part_files import PartFile, Task, needs_round
from pipeline.build.task_files import shards_of_run, write_shards, write_task
from pipeline.build.training_reuse import Retraining
from pipeline.build.transforms import OF_LARGE, BuildIndex, BuildJob, BuildLexical, FillPart, MergeParts
from pipeline.config.encoding import fusion_of
from pipeline.config.sections import Indexing
from pipeline.engine.execution import Execution
from pipeline.engine.progress import watched
from pipeline.engine.runners import run_pipeline

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Built:
    """The partitions of some shards, by name, those whose index stood before this run, and how many lexical indexes
    were built.
    """

    partitions: tuple[PartitionEntry, ...]
    reused: set[str]
    lexical: int = 0

    @property
    def names(self) -> set[str]:
        """The partitions' names."""
        return {partition.name for partition in self.partitions}


def build_indexes(
    store: Store, indexing: Indexing, shards: Shards, parent: Manifest | None, execution: Execution
) -> Built:
    """Build the index of every partition of `shards` that does not stand whole already, see training_reuse.py.

    Each on its share of the cores, and on at most `build_threads`.
    """
    dim = fusion_of(indexing.embedding).dim
    retraining = Retraining(store, indexing, dim, parent)
    folder = f"{scratch_of(execution.run)}/indexes"
    records: dict[str, IndexRecord] = {}
    tasks: list[Task] = []
    parts, large = 0, False
    for number, (partition, rows) in enumerate(sorted(shards.segments.rows_of().items())):
        wanted = retraining.wanted(partition, shards.segments.of(partition))
        if isinstance(wanted, IndexRecord):
            records[partition] = wanted
        else:
            path = f"{folder}/{number:06d}.json"
            write_task(store, path, wanted.inputs, partition, f"{folder}/shards.json", wanted.offer)
            tasks.append(Task(number, partition, wanted.inputs, path, 0))
            parts += part_count(rows, execution.part_rows)
            large |= rows > execution.part_rows
    stood = set(records)
    lexical, lexical_tasks = _lexical(LexicalIndexes(store, indexing.lexical, parent), shards, f"{folder}/shards.json")
    todo = _Todo(tuple(tasks), lexical_tasks)
    if tasks or lexical_tasks:
        write_shards(store, f"{folder}/shards.json", shards)
        job = BuildJob(indexing, dim, store.root, execution.run, execution.part_rows, execution.build_threads, large)
        built = partial(_standing, store, todo)
        with watched(execution.progress, "build", len(tasks) + len(lexical_tasks), built):
            workers = min(execution.builds, parts + len(lexical_tasks))
            _build(store, job, todo, execution.beam_arguments, workers)
        shards_of_run.cache_clear()
        store.remove(folder)
    for task in tasks:
        records[task.partition] = record = index_record(store, task.inputs)
        if record.note:
            _log.warning("index of %s: %s", task.partition, record.note)
        if said := describe_training(record):
            _log.info("index of %s: %s", task.partition, said)
    lexical |= {task.partition: lexical_record(store, task.inputs) for task in lexical_tasks}
    entries = (
        PartitionEntry(name=name, rows=record.rows, index=record, lexical=lexical[name])
        for name, record in sorted(records.items())
    )
    return Built(tuple(entries), stood, len(lexical_tasks))


def _lexical(
    words: LexicalIndexes, shards: Shards, path: str
) -> tuple[dict[str, LexicalRecord | None], tuple[LexicalTask, ...]]:
    """The lexical indexes that stand, by partition, None where there is to be none; and those to build of the shards in
    file `path`.
    """
    wanted = {name: words.wanted(name, shards.segments.of(name)) for name in sorted(shards.segments.rows_of())}
    stand = {name: one for name, one in wanted.items() if not isinstance(one, str)}
    numbered = enumerate(wanted.items())
    return stand, tuple(LexicalTask(n, name, one, path) for n, (name, one) in numbered if isinstance(one, str))


@dataclass(frozen=True)
class _Todo:
    """Indexes to build: of embeddings, and of words."""

    tasks: tuple[Task, ...]
    lexical: tuple[LexicalTask, ...]


def _standing(store: Store, todo: _Todo) -> int:
    inputs = [*(task.inputs for task in todo.tasks), *(task.inputs for task in todo.lexical)]
    return sum(index_stands(store, one) for one in inputs)


def _build(store: Store, job: BuildJob, todo: _Todo, beam_arguments: Sequence[str], workers: int) -> None:
    """Run the pipeline on all tasks, and again on those whose index fell short of all rows, until none is left."""
    while todo.tasks or todo.lexical:
        stage = BuildIndexes(job, todo.tasks, todo.lexical)
        with store.scratch() as scratch:
            run_pipeline(beam_arguments, workers, partial(_staged, stage), scratch)
        following = (task._replace(round=task.round + 1) for task in todo.tasks)
        todo = _Todo(tuple(task for task in following if needs_round(store, task)), ())


def _staged(stage: beam.PTransform, pipeline: beam.Pipeline) -> beam.PCollection:
    return pipeline | "Indexes" >> stage


class BuildIndexes(beam.PTransform):  # type: ignore[misc]
    """Tasks -> references to indexes; large partitions by way of parts, where there are any; beside them, those of
    words.
    """

    def __init__(self, job: BuildJob, tasks: Sequence[Task], lexical: Sequence[LexicalTask] = ()) -> None:
        super().__init__()
        self.job, self.tasks, self.lexical = job, tasks, lexical

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection:
        """Build the stage."""
        branches = [self._of_vectors(begin)] if self.tasks else []
        if self.lexical:
            words = (
                begin
                | "Texts" >> beam.Create(self.lexical, reshuffle=False).with_output_types(LexicalTask)
                | "SpreadTexts" >> beam.Reshuffle()
                | "BuildLexical" >> beam.ParDo(BuildLexical(self.job))
            )
            branches.append(words)
        return branches[0] if len(branches) == 1 else tuple(branches) | "Both" >> beam.Flatten()

    def _of_vectors(self, begin: beam.pvalue.PBegin) -> beam.PCollection:
        at_once = min(begin.pipeline.options.view_as(DirectOptions).direct_num_workers, len(self.tasks))
        given = self.job, at_once
        tasks = (
            begin
            | "Partitions" >> beam.Create(self.tasks, reshuffle=False).with_output_types(Task)
            | "Spread" >> beam.Reshuffle()
        )
        if not self.job.large:  # every step of a pipeline costs some 50 ms, whatever goes through it
            return tasks | "BuildIndex" >> beam.ParDo(BuildIndex(*given))
        built = tasks | "BuildIndex" >> beam.ParDo(BuildIndex(*given)).with_outputs(OF_LARGE, main="done")
        merged = (
            built[OF_LARGE]
            | "SpreadParts" >> beam.Reshuffle()
            | "FillPart" >> beam.ParDo(FillPart(*given)).with_output_types(tuple[Task, PartFile])
            | "ByTask" >> beam.GroupByKey()
            | "MergeParts" >> beam.ParDo(MergeParts(*given))
        )
        return (built["done"], merged) | "Done" >> beam.Flatten()
