"""What a run will take, said by `vitrine plan` before anything runs; and the run that fits a bound on its memory.

Memory is what the process cannot do without: pages of files that are mapped come on top while there is room, and the
kernel drops them when there is none. A bound (`run.memory`) decides only how much is done at once, never a result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from encoders.base import EncoderSpec
from foundation.errors import InputError
from index_builders.base import builder_class
from index_builders.choose.forecast import IndexForecast, forecast
from index_builders.rows.ids import ids_bytes
from index_builders.rows.vectors_file import part_count, whole_blocks
from pipeline.catalog.rows import read_names
from pipeline.catalog.schema import file_columns
from pipeline.config.encoding import fusion_of, tower_dims
from pipeline.config.run_section import RunConfig
from pipeline.config.sections import Embedding, EncodersConfig, Indexing, RunSettings
from pipeline.engine.execution import Execution
from pipeline.engine.progress import Progress
from pipeline.files.catalog import part_of
from pipeline.files.discover import open_file
from pipeline.files.footers import chunks_of
from pipeline.plan.units import Plan, Unit

_PROCESS_BYTES = 270e6  # Beam, Arrow and FAISS imported, their libraries' pages included
_TORCH_BYTES = 750e6  # torch imported and warmed up
_UNIT_BYTES = 30e6  # of a worker, whatever its unit
_ROW_BYTES = 2_500  # of a row of a unit: its strings while they are cleaned and its fingerprints
_NUMBER_BYTES = 16  # of each number of a row's vectors: float32 and float16 copies, the Parquet pages
_PIXEL_BYTES = 16  # of a photo while it is decoded and made RGB: PNG and WebP with transparency, measured
_PLAN_BYTES = 40  # of each row of the catalog: hashes of its id, in the plan and in the last gate
_LEAST_PART = 32_768  # rows: smaller parts are not tried
_ID_ROWS, _ID_UNITS = 65_536, 16  # whose ids are written for a trial, at most
_ID_LEAST = 8  # rows seen of a partition, below which the frame of a file would weigh more than its ids
_EMBEDDING, _TOWER = 1.76, 2.0  # bytes of a number in a shard; measured on dense float16 numbers (shards.py)
# Of a lexical index: bytes of a row and field, of short titles and of texts of some sentences, and seconds to build it.
_LEAST_WORDS, _MOST_WORDS, _WORDS_SECONDS = 20, 300, 60e-6
_SHARD_ROW = 60  # fingerprints, row number, page headers


@dataclass(frozen=True)
class AtOnce:
    """How much is done at the same time: workers while rows are embedded; builds, the threads of each, and the rows of
    a part while indexes are built.
    """

    embed_workers: int
    builds: int
    build_threads: int
    part_rows: int


@dataclass(frozen=True)
class Forecast:
    """What a run takes that can use nothing of an earlier one. Bytes; `partitions`, and `ids` beside each, by name."""

    at_once: AtOnce
    embed_memory: int
    build_memory: int
    shard_bytes: int
    ids: dict[str, int]
    partitions: dict[str, IndexForecast]
    fields: int = 0  # that are searched by words

    @property
    def memory(self) -> int:
        """Peak bytes of memory."""
        return max(self.embed_memory, self.build_memory)

    @property
    def disk(self) -> tuple[int, int]:
        """Bytes that the store will have more, at least and at most."""
        each = self.partitions.values()
        least, most = sum(one.least_disk_bytes for one in each), sum(one.most_disk_bytes for one in each)
        others, texts = self.shard_bytes + sum(self.ids.values()), self._texts
        return others + least + _LEAST_WORDS * texts, others + most + _MOST_WORDS * texts

    @property
    def _texts(self) -> int:
        """Texts that are searched by words."""
        return self.fields * sum(one.rows for one in self.partitions.values())

    @property
    def scratch(self) -> int:
        """Bytes of scratch files at most, which are gone when the run has ended."""
        return sum(sorted((one.scratch_bytes for one in self.partitions.values()), reverse=True)[: self.at_once.builds])

    @property
    def build_seconds(self) -> float:
        """About how long the indexes take."""
        lanes = self.at_once.builds * self.at_once.build_threads
        each = [one.seconds for one in self.partitions.values()]
        vectors = max(sum(each) / lanes, max(each) / self.at_once.build_threads)
        return vectors + _WORDS_SECONDS * self._texts / self.at_once.builds


@dataclass(frozen=True)
class _Work:
    """What a forecast is of: all that a run would embed and index, when it can use nothing of an earlier one."""

    indexing: Indexing
    limits: RunConfig
    plan: Plan

    @property
    def embedding(self) -> Embedding:
        return self.indexing.embedding


def _usual(work: _Work, partitions: Sequence[int]) -> AtOnce:
    """How much a run of partitions of so many rows does at once that nothing bounds."""
    limits = work.limits
    share = max(1, _cores() // min(limits.workers, len(partitions)))
    part_rows = whole_blocks(limits.part_rows)
    builds = min(limits.workers, sum(part_count(rows, part_rows) for rows in partitions))
    workers = min(_embed_workers(limits, work.embedding.encoders), len(work.plan.units))
    return AtOnce(workers, builds, share, part_rows)


def _embed_workers(limits: RunConfig, encoders: EncodersConfig) -> int:
    # Two and three that share a network on a CPU were no faster than one, and each holds 350 to 550 MB.
    return 1 if encoders.networks_on_cpu else limits.workers


def expected(indexing: Indexing, limits: RunConfig, plan: Plan, category: str | None = None) -> Forecast:
    """The forecast of a run of `plan`, within `run.memory` where that is set; InputError where it cannot be."""
    bound, work = limits.memory, _Work(indexing, limits, plan)
    rows = list(plan.partitions.values()) if category is None else [plan.partitions[category]]
    first = _forecast(work, _usual(work, rows), category)
    if bound is None or first.memory <= bound:
        return first
    embedding = next((one for one in _embedding(work, first) if one.embed_memory <= bound), None)
    building = _building(work, first, bound)
    if embedding is not None and building is not None:
        at_once = replace(building.at_once, embed_workers=embedding.at_once.embed_workers)
        return replace(building, at_once=at_once, embed_memory=embedding.embed_memory)
    raise _refusal(work, first)


def unbounded(
    run: str, settings: RunSettings, beam_arguments: Sequence[str] = (), progress: Progress | None = None
) -> Execution:
    """How `run`, a run's id, is carried out as its settings say, whatever memory that takes."""
    limits = settings.limits
    return Execution(
        run=run,
        beam_arguments=tuple(beam_arguments),
        progress=progress,
        workers=_embed_workers(limits, settings.embedding.encoders),
        photo_threads=limits.photo_threads,
        builds=limits.workers,
        build_threads=None,
        part_rows=limits.part_rows,
        memory=limits.memory,
        stall_minutes=limits.stall_minutes,
    )


def bounded(execution: Execution, forecast: Forecast | None) -> Execution:
    """`execution` so that a run that takes what `forecast` says keeps within its memory; as it is where that is any."""
    if execution.memory is None or forecast is None:
        return execution
    at_once = forecast.at_once
    return replace(
        execution,
        workers=at_once.embed_workers,
        builds=at_once.builds,
        build_threads=at_once.build_threads,
        part_rows=at_once.part_rows,
    )


def _forecast(work: _Work, at_once: AtOnce, category: str | None) -> Forecast:
    dim = fusion_of(work.embedding).dim
    wanted = work.plan.partitions if category is None else {category: work.plan.partitions[category]}
    built = _built(work, wanted, at_once.build_threads, at_once.part_rows)
    return Forecast(
        at_once=at_once,
        embed_memory=_embed_memory(work, at_once.embed_workers),
        build_memory=round(_everywhere(work) + _held(built, at_once.builds)),
        shard_bytes=round(work.plan.rows * _shard_row_bytes(work, dim)),
        ids=_ids_bytes(work, wanted),
        partitions=built,
        fields=len(work.embedding.catalog.searched),
    )


def _built(work: _Work, partitions: Mapping[str, int], threads: int, part_rows: int) -> dict[str, IndexForecast]:
    """What the partitions, rows by name, will be and take."""
    dim = fusion_of(work.embedding).dim
    return {name: forecast(work.indexing.index, rows, dim, threads, part_rows) for name, rows in partitions.items()}


def _held(built: Mapping[str, IndexForecast], builds: int) -> float:
    """Bytes of so many builds at once: the largest, and parts of one where there are fewer partitions."""
    largest = sorted((one.memory_bytes for one in built.values()), reverse=True)[:builds]
    return sum(largest) + max(one.part_bytes for one in built.values()) * (builds - len(largest))


def _everywhere(work: _Work) -> float:
    """Bytes of the process and of what is known of each row of the catalog, at every step."""
    return _process_bytes(work) + _PLAN_BYTES * sum(work.plan.partitions.values())


def _embed_memory(work: _Work, workers: int) -> int:
    numbers = fusion_of(work.embedding).dim + sum(dim for dim in tower_dims(work.embedding) if dim)
    units = sorted((_unit_bytes(unit, numbers) for unit in work.plan.units), reverse=True)[:workers]
    # as many pixels as one photo may have are decoded at a time, see pixel_room.py
    photos = 0 if work.embedding.encoders.image is None else work.embedding.catalog.max_photo_pixels * _PIXEL_BYTES
    return round(_everywhere(work) + sum(units) + photos)


def _unit_bytes(unit: Unit, numbers: int) -> float:
    return _UNIT_BYTES + unit.rows * (_ROW_BYTES + _NUMBER_BYTES * numbers) + 5.0 * unit.size


def _embedding(work: _Work, first: Forecast) -> Iterator[Forecast]:
    """Forecasts of embedding with less and less at once, the fastest first."""
    for workers in range(first.at_once.embed_workers, 0, -1):
        at_once = replace(first.at_once, embed_workers=workers)
        yield replace(first, at_once=at_once, embed_memory=_embed_memory(work, workers))


def _building(work: _Work, first: Forecast, bound: int) -> Forecast | None:
    """The fastest way to build the partitions of `first` within `bound`: with less and less at once. None: there is
    none.
    """
    everywhere, sizes = _everywhere(work), _part_sizes(first.at_once.part_rows)
    least = _least(work, first)
    for builds in range(first.at_once.builds, 0, -1):
        if everywhere + _held(least, builds) > bound:  # nothing takes less: no other way needs a look
            continue
        for threads in _halves(max(1, _cores() // min(builds, len(least)))):
            for part in sizes:
                built = _built(work, _rows(first), threads, part)
                memory = round(everywhere + _held(built, builds))
                if memory <= bound:
                    at_once = replace(first.at_once, builds=builds, build_threads=threads, part_rows=part)
                    return replace(first, at_once=at_once, build_memory=memory, partitions=built)
    return None


def _least(work: _Work, first: Forecast) -> dict[str, IndexForecast]:
    """The partitions of `first`, each built on one thread in the smallest parts."""
    return _built(work, _rows(first), 1, _part_sizes(first.at_once.part_rows)[-1])


def _rows(found: Forecast) -> dict[str, int]:
    return {name: one.rows for name, one in found.partitions.items()}


def _halves(most: int) -> list[int]:
    """`most`, and its halves down to 1."""
    return [most >> n for n in range(most.bit_length())]


def _part_sizes(most: int) -> list[int]:
    """`most`, and its halves down to the least that is tried."""
    return [most, *(most >> n for n in range(1, 32) if most >> n >= _LEAST_PART)]


def _refusal(work: _Work, first: Forecast) -> InputError:
    built = _least(work, first)
    *_, slowest = _embedding(work, first)
    embed, build = slowest.embed_memory, round(_everywhere(work) + _held(built, 1))
    name, worst = max(built.items(), key=lambda one: one[1].memory_bytes)
    if embed >= build:
        photos = work.embedding.encoders.image is not None
        why = "one unit at a time" + (", and the largest photo that is allowed" if photos else "")
        fix = "lower catalog.max_photo_pixels" if photos else "write the catalog in smaller row groups"
    else:
        why = f"the index of partition {name}, {worst.rows:,} rows, built alone on one thread"
        learned = any(builder_class(name).trained for name in worst.types)
        fix = "lower index.max_train_rows, or name an index.large.type of smaller codes" if learned else ""
    needed = math.ceil(max(embed, build) / 1e7) / 100  # upwards, so that who sets what is named is let through
    return InputError(
        f"run.memory of at least {needed:.2f} GB, for {why}",
        f"{work.limits.memory or 0:,} bytes",
        "raise it" + (fix and f", or {fix}"),
    )


def _process_bytes(work: _Work) -> float:
    specs = [one for one in (work.embedding.encoders.text, work.embedding.encoders.image) if one is not None]
    models = {folder for spec in specs for one in spec.members for folder in _model_folders(one)}
    weights = sum(file.stat().st_size for folder in models for file in folder.rglob("*.safetensors"))
    return _PROCESS_BYTES + (_TORCH_BYTES + 2.0 * weights if models else 0)


def _model_folders(spec: EncoderSpec) -> Sequence[Path]:
    named = spec.model_dump().get("model")
    if named is None:
        return []
    from encoders.models.folders import located

    return [located(named)]


def _shard_row_bytes(work: _Work, dim: int) -> float:
    """Bytes of a shard's row: vectors, and what is carried of the catalog, as the first file has it compressed."""
    vectors = _EMBEDDING * dim + (
        _TOWER * sum(one for one in tower_dims(work.embedding) if one) if work.embedding.shards.towers else 0
    )
    path = work.plan.units[0].path
    with open_file(path, part=part_of(work.embedding.catalog, path)) as opened:
        columns = file_columns(opened.schema_arrow, work.embedding.catalog, path)
        photo = [work.embedding.catalog.image] if work.embedding.catalog.image else []
        kept = ("id", *work.embedding.catalog.attributes, *work.embedding.catalog.searched, *photo)
        carried = {columns[name] for name in kept if name in columns}
        [group] = chunks_of(path, opened.metadata, [work.plan.units[0].first_group], carried)
        size = sum(chunk.total_compressed_size for _, chunk in group.pairs)
    return float(vectors + _SHARD_ROW + size / max(1, group.rows))


def _ids_bytes(work: _Work, partitions: Mapping[str, int]) -> dict[str, int]:
    """Bytes of ids.parquet beside the index of each of `partitions`, rows by name.

    Ids of up to 16 units, at equal distances in the catalog, are written as an index has them, a row group for each
    unit, and nowhere: what comes of a row is taken for that of every row of the partition, and the mean over all
    partitions where few of its rows were among them. Parquet's statistics say less: how many bytes ids have as the
    catalog is compressed, of all partitions together.
    """
    apart = max(math.ceil(work.plan.rows / _ID_ROWS), math.ceil(len(work.plan.units) / _ID_UNITS))
    segments: dict[str, list[pa.Array]] = {}
    for unit in work.plan.units[::apart]:
        groups, limit = range(unit.first_group, unit.end_group), work.embedding.shards.max_unit_bytes
        ids, names = read_names(unit.path, groups, unit.first_row, work.embedding.catalog, limit, unit.spellings)
        for name in partitions.keys() & set(names.unique().to_pylist()):
            segments.setdefault(name, []).append(ids.filter(pc.equal(names, name)).drop_null())
    tried = {name: (ids_bytes(several), sum(map(len, several))) for name, several in segments.items()}
    every = sum(size for size, _ in tried.values()), sum(rows for _, rows in tried.values())

    def of(name: str, rows: int) -> int:
        size, of_rows = tried.get(name, every)
        if of_rows < min(rows, _ID_LEAST):
            size, of_rows = every
        return round(rows * size / max(1, of_rows))

    return {name: of(name, rows) for name, rows in partitions.items()}


def _cores() -> int:
    import faiss

    cores: int = faiss.omp_get_max_threads()
    return cores
