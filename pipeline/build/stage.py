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

from foundation.errors import VitrineError
from index_builders.rows.vectors_file import part_count
from lookup.store.index_record import describe_training
from lookup.store.manifest import Manifest, PartitionEntry, ShardEntry
from lookup.store.store import PARTS, Store
from pipeline.build.index_files import Located, index_record, index_stands, write_task
from pipeline.build.part_files import PartFile, Task, needs_round
from pipeline.build.training_reuse import Retraining
from pipeline.build.transforms import OF_LARGE, BuildIndex, BuildJob, FillPart, MergeParts
from pipeline.config.encoding import fusion_of
from pipeline.config.sections import Indexing
from pipeline.engine.execution import Execution
from pipeline.engine.progress import watched
from pipeline.engine.runners import run_pipeline

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Built:
    """The partitions of some shards, by name, and those whose index stood before this run."""

    partitions: tuple[PartitionEntry, ...]
    reused: set[str]

    @property
    def names(self) -> set[str]:
        """The partitions' names."""
        return {partition.name for partition in self.partitions}


def build_indexes(
    store: Store, indexing: Indexing, shards: Sequence[ShardEntry], parent: Manifest | None, execution: Execution
) -> Built:
    """Build the index of every partition of `shards` that does not stand whole already, see training_reuse.py.

    Each on its share of the cores, and on at most `build_threads`.
    """
    dim = fusion_of(indexing.embedding).dim
    retraining = Retraining(store, indexing, dim, parent)
    names: dict[str, str] = {}
    tasks: list[Task] = []
    parts, large = 0, False
    for number, (partition, located) in enumerate(sorted(_by_partition(shards).items())):
        wanted = retraining.wanted(partition, located)
        names[partition] = wanted.name
        if wanted.offer is not None:
            path = f"runs/{execution.run}/indexes/{number:06d}.json"
            write_task(store, path, wanted.name, located, wanted.offer)
            tasks.append(Task(number, partition, wanted.name, path, 0))
            rows = sum(segment.rows for _, segment, *_ in located)
            parts += part_count(rows, execution.part_rows)
            large |= rows > execution.part_rows
    if tasks:
        job = BuildJob(indexing, dim, store.root, execution.part_rows, execution.build_threads, large)
        built = partial(_standing, store, tuple(tasks))
        with watched(execution.progress, "build", len(tasks), built):
            _build(store, job, tasks, execution.beam_arguments, min(execution.builds, parts))
    records = {partition: index_record(store, name) for partition, name in names.items()}
    for task in tasks:
        if note := records[task.partition].note:
            _log.warning("index of %s: %s", task.partition, note)
        if said := describe_training(records[task.partition]):
            _log.info("index of %s: %s", task.partition, said)
    partitions = tuple(PartitionEntry(name=name, rows=record.rows, index=record) for name, record in records.items())
    return Built(partitions, set(names) - {task.partition for task in tasks})


def _standing(store: Store, tasks: Sequence[Task]) -> int:
    return sum(index_stands(store, task.name) for task in tasks)


def _build(store: Store, job: BuildJob, tasks: Sequence[Task], beam_arguments: Sequence[str], workers: int) -> None:
    """Run the pipeline on all tasks, and again on those whose index fell short of all rows, until none is left."""
    try:
        while tasks:
            stage = BuildIndexes(job, tasks)
            with store.scratch() as scratch:
                run_pipeline(beam_arguments, workers, partial(_staged, stage), scratch)
            following = [task._replace(round=task.round + 1) for task in tasks]
            tasks = [task for task in following if needs_round(store, task)]
    finally:
        store.remove(PARTS)


def _staged(stage: beam.PTransform, pipeline: beam.Pipeline) -> beam.PCollection:
    return pipeline | "Indexes" >> stage


class BuildIndexes(beam.PTransform):  # type: ignore[misc]
    """Tasks -> references to indexes; large partitions by way of parts, where there are any."""

    def __init__(self, job: BuildJob, tasks: Sequence[Task]) -> None:
        super().__init__()
        self.job, self.tasks = job, tasks

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection:
        """Build the stage."""
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


def _by_partition(shards: Sequence[ShardEntry]) -> dict[str, list[Located]]:
    """Partition -> its live segments and their files, in the order of the shards: the order of index positions."""
    found: dict[str, list[Located]] = {}
    for shard in shards:
        for segment in shard.segments:
            if shard.record.file is None:
                raise VitrineError(
                    "a file for every segment",
                    f"none in shard {shard.record.name}",
                    "report this: a shard lost its file",
                )
            found.setdefault(segment.partition, []).append((shard.record.file, segment, shard.source, shard.row_groups))
    return found
