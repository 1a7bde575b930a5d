"""Beam shells from build task to index. The logic is in index_builders and part_files.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import apache_beam as beam
from apache_beam import coders
from apache_beam.pvalue import TaggedOutput

from foundation.allocator import give_back
from foundation.liveness import attach, computing
from index_builders.fill.threads import fair_share, threads
from lookup.store.entries.index_record import IndexRecord
from lookup.store.store import Store
from pipeline.build.lexical import LexicalTask, write_lexical
from pipeline.build.part_files import Part, PartFile, Task, filled_part, merged, started, task_of
from pipeline.build.tower_queries import tower_queries
from pipeline.config.sections import Indexing
from pipeline.engine.elements import Done
from pipeline.engine.failures import translate_failures

OF_LARGE = "parts"  # the output of BuildIndex for the parts of large partitions

for element in (Task, Part, PartFile, LexicalTask):
    coders.registry.register_coder(element, coders.RowCoder)


@dataclass(frozen=True)
class BuildJob:
    """What every step of the build is told."""

    indexing: Indexing
    dim: int  # of the embeddings
    store: str  # its path
    run: str
    part_rows: int
    most_threads: int | None  # of a build; None: its share of the cores
    large: bool  # whether any partition may be built as parts


class StoreDoFn(beam.DoFn):  # type: ignore[misc]
    """What the steps of the build share: the store, and what asks for rows by their texts."""

    def __init__(self, job: BuildJob, at_once: int) -> None:
        self.job, self.at_once = job, at_once  # builds that share this machine

    def setup(self) -> None:
        """Open the store, and load the fusion where texts are asked."""
        self.store = Store.at(self.job.store)
        attach(self.store.sign_of(self.job.run))
        self.embed = tower_queries(self.job.indexing)


class BuildIndex(StoreDoFn):
    """Task -> index in the store, and a reference to it; of a large partition only what is learned, and its parts."""

    def process(self, task: Task) -> Iterator[Done | TaggedOutput[Literal["parts"], Part]]:
        """Build one partition's index, or begin to."""
        with translate_failures(), computing(), threads(fair_share(self.at_once, self.job.most_threads)):
            settings, part_rows = self.job.indexing.index, self.job.part_rows
            found = started(self.store, task, settings, part_rows, self.job.dim, self.embed)
        give_back()
        if isinstance(found, IndexRecord):
            yield Done(task.number, found.name, found.rows, False)
        else:
            yield from (TaggedOutput(OF_LARGE, part) for part in found)


class FillPart(StoreDoFn):
    """Part -> its file in the store, and a reference to it. On one thread: other parts are filled beside it."""

    def process(self, part: Part) -> Iterator[tuple[Task, PartFile]]:
        """Fill one part."""
        with translate_failures(), computing(), threads(1):
            yield task_of(part), filled_part(self.store, part, self.job.indexing.index)


class MergeParts(StoreDoFn):
    """Task and its parts -> index in the store, and a reference to it; nothing where another round is needed."""

    def process(self, filled: tuple[Task, Iterable[PartFile]]) -> Iterator[Done]:
        """Merge, tune, check and measure one partition's index."""
        task, parts = filled
        with translate_failures(), computing(), threads(fair_share(self.at_once, self.job.most_threads)):
            record = merged(self.store, task, parts, self.job.indexing.index, self.job.dim, self.embed)
        give_back()
        if record is not None:
            yield Done(task.number, record.name, record.rows, False)


class BuildLexical(beam.DoFn):  # type: ignore[misc]
    """Task -> lexical index in the store, and a reference to it."""

    def __init__(self, job: BuildJob) -> None:
        self.job = job

    def setup(self) -> None:
        """Open the store."""
        self.store = Store.at(self.job.store)
        attach(self.store.sign_of(self.job.run))

    def process(self, task: LexicalTask) -> Iterator[Done]:
        """Build one partition's lexical index."""
        settings = self.job.indexing.lexical
        assert settings is not None
        with translate_failures(), computing():
            record = write_lexical(self.store, task, settings)
        give_back()
        yield Done(task.number, record.name, record.rows, False)
