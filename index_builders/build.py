"""Build one partition's index: keep its vectors, choose, write, open again as readers do, check, tune, measure.

Memory: the index in the making (whole vectors for ivf_flat, flat and hnsw), the training sample, which candidates
share, and a few blocks of rows. While candidates are weighed, one such index on each thread; a sample's vectors and
training rows are let go before all rows are built. Vectors lie in a scratch file (rows/vectors_file.py), two bytes a
number; refine vectors go straight to disk. Large partitions are built as parts, see parts.py.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa

from foundation.errors import InputError, VitrineError
from foundation.identity import identity_of
from foundation.machine import machine_fault
from index_builders.base import BuilderSpec
from index_builders.choose.choice import choose, refused, too_slow
from index_builders.choose.training_reuse import Earlier, Learned, figures, used_again
from index_builders.fill.compute import compute_of
from index_builders.measure.proof import check_ids, prove, prove_exact, spread
from index_builders.measure.queries import Embed, TowerQueries, least, recalls_of_kinds
from index_builders.measure.recall import HeldOut, milliseconds, recalls
from index_builders.measure.trial import Trial, Unmeasured, drawn_by, exact, held_out_by, trial
from index_builders.measure.tune import clocked
from index_builders.rows.ids import writing_ids
from index_builders.rows.shards import FORMAT as SHARD_FORMAT
from index_builders.rows.shards import SegmentRef, verified_blocks
from index_builders.rows.vectors_file import VectorsFile, keep
from index_builders.settings import IndexSettings
from lookup.index.partition_index import FORMAT, IDS_FILE, PartitionIndex
from lookup.store.entries.index_record import Considered, CurvePoint, IndexRecord, KindRecall, Proof, Training
from lookup.store.fields import FileRef

WORK = "work"  # the folder of scratch files below that of an index in the making
_TIMED = 100  # queries of an exact index, where its time is bounded
_TIMED_ALONE = 200  # of another: their median is known to some 2%, and two are slower than the 99th percentile


@dataclass(frozen=True)
class Partition:
    """What is built: segments of embeddings of length `dim`. See `build` for what the rest is for."""

    segments: Sequence[SegmentRef]
    dim: int
    settings: IndexSettings
    embed: Embed | None = None
    earlier: Earlier | None = None

    @property
    def rows(self) -> int:
        """Of all segments."""
        return sum(ref.rows for ref in self.segments)

    @property
    def alone(self) -> TowerQueries | None:
        """How rows are asked by one tower alone; None where they are not."""
        asks = self.embed is not None and self.settings.asks_alone(self.rows, self.dim)
        return TowerQueries(self.segments, self.embed) if asks and self.embed is not None else None


@dataclass(frozen=True)
class Materials:
    """The rows of a partition, kept in a file, their ids in `ids`; what is made of them in `work` goes to `folder`."""

    partition: Partition
    vectors: VectorsFile
    id_digests: tuple[str, ...]  # of each segment, see ids_digest
    folder: Path
    started: float  # by time.perf_counter()

    @property
    def work(self) -> Path:
        """Scratch, which is dropped when the index is measured."""
        return self.folder / WORK

    @property
    def ids(self) -> Path:
        """The file of ids."""
        return self.work / IDS_FILE


@dataclass(frozen=True)
class Chosen:
    """The tuned index of all rows, what else was weighed, and where its training is from."""

    trial: Trial
    learned: Learned
    considered: tuple[Considered, ...] = ()


@dataclass(frozen=True)
class Measured:
    """What readers get of an index, measured on its files."""

    nprobe: int
    refine_factor: int
    recall: float
    p50_ms: float
    p99_ms: float
    proof: Proof
    recall_queries: int = 0
    recalls: tuple[KindRecall, ...] = ()
    curve: tuple[CurvePoint, ...] = ()


@dataclass(frozen=True)
class BuiltIndex:
    """What became of a partition."""

    files: dict[str, str]  # role (index, ids, refine, refine_range) -> file name in the folder
    spec: BuilderSpec
    metric: str
    dim: int
    rows: int
    k: int
    train_rows: int
    build_seconds: float
    note: str
    considered: tuple[Considered, ...]
    learned: Learned
    measured: Measured

    def record(
        self,
        name: str,
        inputs: str,
        files: dict[str, FileRef],
        training: Training | None = None,
        made_of: str | None = None,
    ) -> IndexRecord:
        """Its record, as index `name` that is made of `inputs`, with these files in the store, by role."""
        measured = self.measured
        return IndexRecord(
            name=name,
            inputs=inputs,
            type=self.spec.type,
            parameters=self.spec.model_dump(mode="json", exclude={"type"}),
            metric=self.metric,
            dim=self.dim,
            rows=self.rows,
            files=files,
            nprobe=measured.nprobe,
            refine_factor=measured.refine_factor,
            k=self.k,
            recall=measured.recall,
            recall_queries=measured.recall_queries,
            curve=measured.curve,
            p50_ms=measured.p50_ms,
            p99_ms=measured.p99_ms,
            train_rows=self.train_rows,
            build_seconds=self.build_seconds,
            proof=measured.proof,
            considered=self.considered,
            recalls=measured.recalls,
            training=training,
            made_of=made_of,
            note=self.note,
            faiss=str(faiss.__version__),
        )


def index_inputs(segment_digests: Sequence[str], settings_identity: str) -> str:
    """What decides the index of these segments, in this order: 64 hex digits; see IndexSettings.identity."""
    formats = {"index": FORMAT, "shard": SHARD_FORMAT}
    return identity_of({"formats": formats, "settings": settings_identity, "segments": list(segment_digests)})


def build(
    segments: Sequence[SegmentRef],
    dim: int,
    settings: IndexSettings,
    folder: Path,
    embed: Embed | None = None,
    earlier: Earlier | None = None,
) -> BuiltIndex:
    """Build, check and measure the index of `segments` (embeddings of length `dim`), leaving its files in `folder`.

    With `embed`, rows are also asked for by one tower alone, unless every row is compared in any case. The training of
    `earlier`, which `why_anew` found nothing against, is used again while it fits. InputError for settings that do not
    fit the rows; GateError when no index meets the bounds; IntegrityError when a file does not hold what went in;
    VitrineError for a full disk, or when a vector does not find itself.
    With a type that the config names, a target recall that no setting reaches is no error here: what was measured is
    returned, and a gate decides.
    """
    with written_into(folder):
        rows = keep_rows(Partition(segments, dim, settings, embed, earlier), folder)
        chosen = _choose(rows)
    return measure(rows, chosen)


def keep_rows(partition: Partition, folder: Path) -> Materials:
    """The rows of `partition`, verified, and their ids, in files below `folder`; InputError where there are none."""
    started = time.perf_counter()
    if not partition.rows:
        raise InputError(
            "a partition with rows",
            f"{len(partition.segments)} segments without any",
            "leave empty partitions out of the build",
        )
    work, metric = folder / WORK, partition.settings.metric
    work.mkdir()
    compute = compute_of(partition.settings.device)
    digests = list[str]()
    with writing_ids(work / IDS_FILE) as write:

        def see(ids: pa.Array, digest: str) -> None:
            digests.append(digest)
            write(ids)

        blocks = verified_blocks(partition.segments, see_ids=see)
        vectors = keep(blocks, partition.rows, partition.dim, metric, work / "vectors.npy", compute)
    return Materials(partition, vectors, tuple(digests), folder, started)


def measure(rows: Materials, chosen: Chosen) -> BuiltIndex:
    """The index of all `rows`, its files in their folder: opened as readers open it, checked and measured."""
    partition, trial = rows.partition, chosen.trial
    paths = {role: rows.folder / path.name for role, path in trial.files.items()}
    with written_into(rows.folder):
        for role, path in paths.items():
            trial.files[role].replace(path)
    measured = _measured(trial, paths, rows)
    shutil.rmtree(rows.work)
    return BuiltIndex(
        files={role: path.name for role, path in paths.items()},
        spec=trial.spec,
        metric=partition.settings.metric.value,
        dim=partition.dim,
        rows=partition.rows,
        k=partition.settings.k,
        train_rows=trial.train_rows,
        build_seconds=time.perf_counter() - rows.started,
        note=trial.note,
        considered=chosen.considered,
        learned=chosen.learned,
        measured=measured,
    )


@contextmanager
def written_into(folder: Path) -> Iterator[None]:
    """VitrineError for what the disk does not take."""
    try:
        yield
    except OSError as err:
        raise machine_fault(err) or VitrineError(
            f"to write an index into {folder}", str(err), "free space on that disk, then run again"
        ) from err


def trained_anew(trial: Trial, considered: tuple[Considered, ...], reason: str, settings: IndexSettings) -> Chosen:
    """`trial`, trained on its own rows; `reason`: why an earlier training was not used, if one was offered."""
    found = figures(trial, settings.seed)
    return Chosen(trial, Learned(False, reason, found, found), considered)


def within_bytes(made: Trial, settings: IndexSettings) -> Trial:
    """`made`, of a type that the config names; GateError where its bytes exceed a bound."""
    error = refused(made, settings) if made.promised.rows >= settings.exact_below else None
    if error is not None:
        raise error
    return made


def _choose(rows: Materials) -> Chosen:
    """The index with the training of `earlier` if that fits, or one trained on its own rows."""
    reason, partition = "", rows.partition
    if partition.earlier is not None:
        drawn = held_out_by(partition.settings, rows.vectors, rows.ids, partition.alone)
        again, learned = used_again(partition.earlier, drawn, partition.settings, rows.work / "earlier")
        if again is not None:
            return Chosen(again, learned)
        reason = learned.reason
    trial, considered = _trained(rows)
    return trained_anew(trial, considered, reason, partition.settings)


def _trained(rows: Materials) -> tuple[Trial, tuple[Considered, ...]]:
    """The index of the type that the config names, or the best of the candidates."""
    vectors, settings, alone = rows.vectors, rows.partition.settings, rows.partition.alone
    spec = settings.choose(len(vectors), vectors.dim)
    if spec is None:
        return choose(vectors, rows.ids, settings, rows.work, alone)
    if spec.exact:
        return exact(spec, vectors, rows.ids, rows.work), ()
    made = trial(spec, drawn_by(settings, vectors, rows.ids, alone), settings.target_recall, rows.work)
    return within_bytes(made, settings), ()


def _measured(made: Trial, paths: dict[str, Path], materials: Materials) -> Measured:
    """The checks and figures of the files in `paths`, opened as readers open them."""
    partition, point, folder = materials.partition, made.tuned.point, str(materials.folder)
    settings = partition.settings
    rows, metric = made.promised.rows, settings.metric.value
    promised = Unmeasured(folder, made.promised.dim, rows, metric, point.nprobe, point.refine_factor)
    index = PartitionIndex.open(paths, promised)
    check_ids(index, partition.segments, materials.id_digests)
    return _of_exact(made, index, settings) if made.spec.exact else _of_tuned(made, index, settings)


def _of_exact(made: Trial, index: PartitionIndex, settings: IndexSettings) -> Measured:
    """Of an index that compares every row: its recall needs no proof, its rows do. Only where a bound asks for it, the
    time of a query is taken.
    """
    bound = settings.max_query_ms if index.rows >= settings.exact_below else None
    times = (
        [0.0] if bound is None else milliseconds(index, made.vectors.at(spread(index.rows, _TIMED)), settings.k, None)
    )
    p50, p99 = np.percentile(times, (50, 99))
    if bound is not None and p50 > bound:
        raise too_slow(float(p50), (), settings)
    proof = prove_exact(index, made.vectors, (made.memory_bytes, made.disk_bytes))
    return Measured(nprobe=0, refine_factor=0, recall=1.0, p50_ms=float(p50), p99_ms=float(p99), proof=proof)


def _of_tuned(made: Trial, index: PartitionIndex, settings: IndexSettings) -> Measured:
    queries, point, rows = made.queries, made.tuned.point, index.rows
    values = recalls(index, queries)
    kinds = recalls_of_kinds(queries, values)
    proof = prove(index, made.spec, queries, kinds[0], (made.memory_bytes, made.disk_bytes))
    curve = clocked(index, queries, made.tuned.curve)
    p50, p99 = np.percentile(_times(index, queries), (50, 99))
    if settings.max_query_ms is not None and rows >= settings.exact_below and p50 > settings.max_query_ms:
        raise too_slow(float(p50), curve, settings)
    return Measured(
        nprobe=point.nprobe,
        refine_factor=point.refine_factor,
        recall=least(queries, values),
        recall_queries=kinds[0].queries,
        recalls=kinds if len(kinds) > 1 else (),
        curve=curve,
        p50_ms=float(p50),
        p99_ms=float(p99),
        proof=proof,
    )


def _times(index: PartitionIndex, queries: HeldOut) -> list[float]:
    """Milliseconds of some queries of all kinds, one at a time."""
    some = queries.xq[spread(len(queries.xq), _TIMED_ALONE)]
    return milliseconds(index, some, queries.k, index.nprobe or None)
