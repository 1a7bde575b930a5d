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
from pipeline.config.load import Config
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

    @property
    def memory(self) -> int:
        """Peak bytes of memory."""
        return max(self.embed_memory, self.build_memory)

    @property
    def disk(self) -> tuple[int, int]:
        """Bytes that the store will have more, at least and at most."""
        each = self.partitions.values()
        least, most = sum(one.least_disk_bytes for one in each), sum(one.most_disk_bytes for one in each)
        others = self.shard_bytes + sum(self.ids.values())
        return others + least, others + most

    @property
    def scratch(self) -> int:
        """Bytes of scratch files at most, which are gone when the run has ended."""
        return sum(sorted((one.scratch_bytes for one in self.partitions.values()), reverse=True)[: self.at_once.builds])

    @property
    def build_seconds(self) -> float:
        """About how long the indexes take."""
        lanes = self.at_once.builds * self.at_once.build_threads
        each = [one.seconds for one in self.partitions.values()]
        return max(sum(each) / lanes, max(each) / self.at_once.build_threads)


def usual(config: Config, units: int, partitions: Sequence[int]) -> AtOnce:
    """How much a run of so many units, and of partitions of so many rows, does at once that nothing bounds."""
    share = max(1, _cores() // min(config.run.workers, len(partitions)))
    part_rows = whole_blocks(config.run.part_rows)
    builds = min(config.run.workers, sum(part_count(rows, part_rows) for rows in partitions))
    return AtOnce(min(_embed_workers(config), units), builds, share, part_rows)


def _embed_workers(config: Config) -> int:
    # Two and three that share a network on a CPU were no faster than one, and each holds 350 to 550 MB.
    return 1 if config.encoders.networks_on_cpu else config.run.workers


def expected(config: Config, plan: Plan, category: str | None = None) -> Forecast:
    """The forecast of a run of `plan`, within `run.memory` where that is set; InputError where it cannot be."""
    bound = config.run.memory
    rows = list(plan.partitions.values()) if category is None else [plan.partitions[category]]
    first = _forecast(config, plan, usual(config, len(plan.units), rows), category)
    if bound is None or first.memory <= bound:
        return first
    embedding = next((one for one in _embedding(config, plan, first) if one.embed_memory <= bound), None)
    building = _building(config, plan, first, bound)
    if embedding is not None and building is not None:
        at_once = replace(building.at_once, embed_workers=embedding.at_once.embed_workers)
        return replace(building, at_once=at_once, embed_memory=embedding.embed_memory)
    raise _refusal(config, plan, first)


@dataclass(frozen=True)
class Fitted:
    """The config of each step, so that together they keep within `run.memory`; and the threads of a build at most."""

    embedding: Config
    building: Config
    build_threads: int | None  # None: its share of the cores


def fitted(config: Config, forecast: Forecast | None) -> Fitted:
    """How a run that takes what `forecast` says keeps within `run.memory`; as the config says where that is null."""
    if config.run.memory is None or forecast is None:
        return Fitted(_with(config, {"workers": _embed_workers(config)}), config, None)
    at_once = forecast.at_once
    embedding = {"workers": at_once.embed_workers}
    building = {"workers": at_once.builds, "part_rows": at_once.part_rows}
    return Fitted(_with(config, embedding), _with(config, building), at_once.build_threads)


def _with(config: Config, run: dict[str, int]) -> Config:
    return config.model_copy(update={"run": config.run.model_copy(update=run)})


def _forecast(config: Config, plan: Plan, at_once: AtOnce, category: str | None) -> Forecast:
    dim = fusion_of(config).dim
    wanted = plan.partitions if category is None else {category: plan.partitions[category]}
    built = _built(config, wanted, at_once.build_threads, at_once.part_rows)
    return Forecast(
        at_once=at_once,
        embed_memory=_embed_memory(config, plan, at_once.embed_workers),
        build_memory=round(_everywhere(config, plan) + _held(built, at_once.builds)),
        shard_bytes=round(plan.rows * _shard_row_bytes(config, plan, dim)),
        ids=_ids_bytes(config, plan, wanted),
        partitions=built,
    )


def _built(config: Config, partitions: Mapping[str, int], threads: int, part_rows: int) -> dict[str, IndexForecast]:
    """What the partitions, rows by name, will be and take."""
    dim = fusion_of(config).dim
    return {name: forecast(config.index, rows, dim, threads, part_rows) for name, rows in partitions.items()}


def _held(built: Mapping[str, IndexForecast], builds: int) -> float:
    """Bytes of so many builds at once: the largest, and parts of one where there are fewer partitions."""
    largest = sorted((one.memory_bytes for one in built.values()), reverse=True)[:builds]
    return sum(largest) + max(one.part_bytes for one in built.values()) * (builds - len(largest))


def _everywhere(config: Config, plan: Plan) -> float:
    """Bytes of the process and of what is known of each row of the catalog, at every step."""
    return _process_bytes(config) + _PLAN_BYTES * sum(plan.partitions.values())


def _embed_memory(config: Config, plan: Plan, workers: int) -> int:
    numbers = fusion_of(config).dim + sum(dim for dim in tower_dims(config) if dim)
    units = sorted((_unit_bytes(unit, numbers) for unit in plan.units), reverse=True)[:workers]
    # as many pixels as one photo may have are decoded at a time, see pixel_room.py
    photos = 0 if config.encoders.image is None else config.catalog.max_photo_pixels * _PIXEL_BYTES
    return round(_everywhere(config, plan) + sum(units) + photos)


def _unit_bytes(unit: Unit, numbers: int) -> float:
    return _UNIT_BYTES + unit.rows * (_ROW_BYTES + _NUMBER_BYTES * numbers) + 5.0 * unit.size


def _embedding(config: Config, plan: Plan, first: Forecast) -> Iterator[Forecast]:
    """Forecasts of embedding with less and less at once, the fastest first."""
    for workers in range(first.at_once.embed_workers, 0, -1):
        at_once = replace(first.at_once, embed_workers=workers)
        yield replace(first, at_once=at_once, embed_memory=_embed_memory(config, plan, workers))


def _building(config: Config, plan: Plan, first: Forecast, bound: int) -> Forecast | None:
    """The fastest way to build the partitions of `first` within `bound`: with less and less at once. None: there is
    none.
    """
    everywhere, sizes = _everywhere(config, plan), _part_sizes(first.at_once.part_rows)
    least = _least(config, first)
    for builds in range(first.at_once.builds, 0, -1):
        if everywhere + _held(least, builds) > bound:  # nothing takes less: no other way needs a look
            continue
        for threads in _halves(max(1, _cores() // min(builds, len(least)))):
            for part in sizes:
                built = _built(config, _rows(first), threads, part)
                memory = round(everywhere + _held(built, builds))
                if memory <= bound:
                    at_once = replace(first.at_once, builds=builds, build_threads=threads, part_rows=part)
                    return replace(first, at_once=at_once, build_memory=memory, partitions=built)
    return None


def _least(config: Config, first: Forecast) -> dict[str, IndexForecast]:
    """The partitions of `first`, each built on one thread in the smallest parts."""
    return _built(config, _rows(first), 1, _part_sizes(first.at_once.part_rows)[-1])


def _rows(found: Forecast) -> dict[str, int]:
    return {name: one.rows for name, one in found.partitions.items()}


def _halves(most: int) -> list[int]:
    """`most`, and its halves down to 1."""
    return [most >> n for n in range(most.bit_length())]


def _part_sizes(most: int) -> list[int]:
    """`most`, and its halves down to the least that is tried."""
    return [most, *(most >> n for n in range(1, 32) if most >> n >= _LEAST_PART)]


def _refusal(config: Config, plan: Plan, first: Forecast) -> InputError:
    built = _least(config, first)
    *_, slowest = _embedding(config, plan, first)
    embed, build = slowest.embed_memory, round(_everywhere(config, plan) + _held(built, 1))
    name, worst = max(built.items(), key=lambda one: one[1].memory_bytes)
    if embed >= build:
        photos = config.encoders.image is not None
        why = "one unit at a time" + (", and the largest photo that is allowed" if photos else "")
        fix = "lower catalog.max_photo_pixels" if photos else "write the catalog in smaller row groups"
    else:
        why = f"the index of partition {name}, {worst.rows:,} rows, built alone on one thread"
        learned = any(builder_class(name).trained for name in worst.types)
        fix = "lower index.max_train_rows, or name an index.large.type of smaller codes" if learned else ""
    needed = math.ceil(max(embed, build) / 1e7) / 100  # upwards, so that who sets what is named is let through
    return InputError(
        f"run.memory of at least {needed:.2f} GB, for {why}",
        f"{config.run.memory or 0:,} bytes",
        "raise it" + (fix and f", or {fix}"),
    )


def _process_bytes(config: Config) -> float:
    specs = [one for one in (config.encoders.text, config.encoders.image) if one is not None]
    models = {folder for spec in specs for folder in _model_folders(spec)}
    weights = sum(file.stat().st_size for folder in models for file in folder.rglob("*.safetensors"))
    return _PROCESS_BYTES + (_TORCH_BYTES + 2.0 * weights if models else 0)


def _model_folders(spec: EncoderSpec) -> Sequence[Path]:
    named = spec.model_dump().get("model")
    if named is None:
        return []
    from encoders.models.folders import located

    return [located(named)]


def _shard_row_bytes(config: Config, plan: Plan, dim: int) -> float:
    """Bytes of a shard's row: vectors, and what is carried of the catalog, as the first file has it compressed."""
    vectors = _EMBEDDING * dim + (_TOWER * sum(one for one in tower_dims(config) if one) if config.shards.towers else 0)
    path = plan.units[0].path
    with open_file(path) as opened:
        columns = file_columns(opened.schema_arrow, config.catalog, path)
        photo = [config.catalog.image] if config.catalog.image else []
        carried = {columns[name] for name in ("id", *config.catalog.attributes, *photo) if name in columns}
        [group] = chunks_of(path, opened.metadata, [plan.units[0].first_group], carried)
        size = sum(chunk.total_compressed_size for _, chunk in group.pairs)
    return float(vectors + _SHARD_ROW + size / max(1, group.rows))


def _ids_bytes(config: Config, plan: Plan, partitions: Mapping[str, int]) -> dict[str, int]:
    """Bytes of ids.parquet beside the index of each of `partitions`, rows by name.

    Ids of up to 16 units, at equal distances in the catalog, are written as an index has them, a row group for each
    unit, and nowhere: what comes of a row is taken for that of every row of the partition, and the mean over all
    partitions where few of its rows were among them. Parquet's statistics say less: how many bytes ids have as the
    catalog is compressed, of all partitions together.
    """
    apart = max(math.ceil(plan.rows / _ID_ROWS), math.ceil(len(plan.units) / _ID_UNITS))
    segments: dict[str, list[pa.Array]] = {}
    for unit in plan.units[::apart]:
        groups, limit = range(unit.first_group, unit.end_group), config.shards.max_unit_bytes
        ids, names = read_names(unit.path, groups, unit.first_row, config.catalog, limit, unit.spellings)
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
