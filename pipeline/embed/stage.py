"""The embed step: units in, shards out, through one fused Beam stage. Finished units are never encoded twice."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import apache_beam as beam

from foundation.errors import VitrineError
from lookup.store.shards import Shards
from lookup.store.store import Store
from pipeline.config.encoding import refuse_other_models
from pipeline.config.sections import Embedding
from pipeline.embed.fetch_ahead import fetching_ahead
from pipeline.embed.shard_files import (
    finished_units,
    mark_unit,
    marked_units,
    noted,
    reusable_shard,
    shard_record,
    unfinished,
)
from pipeline.embed.tally import Tally
from pipeline.embed.transforms import EmbedJob, EncodeFuseAndWrite, EncodePhotos, EncodeTexts, FuseAndWrite, ReadUnit
from pipeline.embed.tries import failed_rows
from pipeline.engine.execution import Execution
from pipeline.engine.progress import begin, rows_under_way, watched
from pipeline.engine.runners import run_pipeline
from pipeline.photos.root import photo_root
from pipeline.plan.units import Plan, Unit

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Embedded:
    """The shard of each unit, in the order of the plan, how many stood before this run, and what of the others' vectors
    was encoded.
    """

    shards: Shards
    reused: int
    tally: Tally


def embed(store: Store, embedding: Embedding, plan: Plan, execution: Execution, earlier: str) -> Embedded:
    """Make the shards of all units of `plan`, with what `earlier` offers, see earlier/earlier_vectors.py."""
    run = execution.run
    resumed = _resume(store, embedding, plan, run)
    todo = [unit for unit in plan.units if unit.number not in resumed]
    if todo:
        begin()
        root, threads = photo_root(plan.image_root, embedding.catalog), execution.photo_threads
        job = EmbedJob(embedding, plan.encoding, store.root, root, run, threads, earlier)
        stage = Embed(job, todo)

        def build(pipeline: beam.Pipeline) -> None:
            _ = pipeline | "Units" >> stage
            refuse_other_models(embedding, plan.encoding)

        rows_done = partial(_rows_done, store, run, plan)
        with (
            watched(execution.progress, "embed", plan.rows, rows_done),
            store.scratch() as scratch,
            fetching_ahead(todo, embedding, root),
        ):
            run_pipeline(execution.beam_arguments, min(execution.workers, len(todo)), build, scratch)
    marks = marked_units(store, run)
    missing = [unit.number for unit in plan.units if unit.number not in marks]
    if missing:
        raise VitrineError(
            f"{len(plan.units)} units done",
            f"units {missing[:5]} are not",
            "report this: the runner lost work; run again to go on",
        )
    shards = Shards.of(
        (shard_record(store, marks[unit.number].shard), unit.path, (unit.first_group, unit.end_group))
        for unit in plan.units
    )
    for unit, shard in zip(plan.units, shards.entries, strict=True):
        if shard.rows_in != unit.rows:
            raise VitrineError(
                f"{unit.rows} rows in unit {unit.number}",
                f"{shard.rows_in}",
                "the catalog changed during the run: run again",
            )
    tally = sum((marks[unit.number].tally for unit in todo), Tally())
    return Embedded(shards, len(resumed) + sum(marks[unit.number].reused for unit in todo), tally)


class Embed(beam.PTransform):  # type: ignore[misc]
    """Units -> references to shards. From ReadUnit to FuseAndWrite is one fused stage; only units are shuffled."""

    def __init__(self, job: EmbedJob, units: Sequence[Unit]) -> None:
        super().__init__()
        self.job, self.units = job, units

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Build the stage."""
        read = (
            pipeline
            | "Plan" >> beam.Create(self.units).with_output_types(Unit)
            | "Spread" >> beam.Reshuffle()
            | "ReadUnit" >> beam.ParDo(ReadUnit(self.job))
        )
        if self.job.embedding.fusion.reads_states:
            return read | "EncodeFuseAndWrite" >> beam.ParDo(EncodeFuseAndWrite(self.job))
        return (
            read
            | "EncodeTexts" >> beam.ParDo(EncodeTexts(self.job))
            | "EncodePhotos" >> beam.ParDo(EncodePhotos(self.job))
            | "FuseAndWrite" >> beam.ParDo(FuseAndWrite(self.job))
        )


def _rows_done(store: Store, run: str, plan: Plan) -> int:
    finished = finished_units(store, run)
    return sum(unit.rows for unit in plan.units if unit.number in finished) + rows_under_way(finished)


def _resume(store: Store, embedding: Embedding, plan: Plan, run: str) -> dict[int, str]:
    """Units that an unfinished run of the same plan has done: unit -> shard, marked as done in this run too.

    They are not even read again, where the catalog's files alone decide what a photo is. Where a photo may change
    under an unchanged path, every unit is fingerprinted again, and a shard that stands is still not encoded again.
    """
    catalog_decides = embedding.encoders.image is None or embedding.catalog.image_identity == "version"
    previous = unfinished(store, plan.key, run) if catalog_decides else None
    if previous is not None and noted(store, f"runs/{previous}/run.json", "status") == "refused":
        previous = (
            None  # what stands in was measured anew since: its units are read, and skipped where they are the same
        )
    resumed: dict[int, str] = {}
    for number, mark in marked_units(store, previous).items() if previous else ():
        record = reusable_shard(store, mark.shard)
        if record is not None and not failed_rows(record):  # what failed may have passed meanwhile
            mark_unit(store, run, number, mark.shard, reused=True)
            resumed[number] = mark.shard
    if resumed:
        _log.info("resuming run %s: %d of %d units are done", previous, len(resumed), len(plan.units))
    return resumed
