"""Build one partition's index: keep its vectors, choose, write, open again as readers do, check, tune, measure.

Memory: the index in the making (whole vectors for ivf_flat, flat and hnsw), the training sample, which candidates
share, and a few blocks of rows. While candidates are weighed, one such index on each thread; a sample's vectors and
training rows are let go before all rows are built. Vectors lie in a scratch file (rows/vectors_file.py), two bytes a
number; refine vectors go straight to disk. Large partitions are built as parts, see parts.py.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foundation.errors import InputError, VitrineError
from foundation.identity import identity_of
from foundation.machine import machine_fault
from index_builders.choose.choice import choose, refused, too_slow
from index_builders.choose.training_reuse import Earlier, Learned, figures, used_again
from index_builders.fill.compute import compute_of
from index_builders.measure.proof import check_ids, prove, prove_exact, spread
from index_builders.measure.queries import Alone, Embed, least, recalls_of_kinds
from index_builders.measure.recall import HeldOut, milliseconds, recalls
from index_builders.measure.trial import Trial, Unmeasured, drawn_by, exact, held_out_by, trial
from index_builders.measure.tune import clocked
from index_builders.rows.ids import write_ids
from index_builders.rows.shards import FORMAT as SHARD_FORMAT
from index_builders.rows.shards import SegmentRef, read_ids, verified_blocks
from index_builders.rows.vectors_file import Kept, keep
from index_builders.settings import IndexSettings
from lookup.index.partition_index import FORMAT, IDS_FILE, PartitionIndex
from lookup.store.index_record import Considered, CurvePoint, KindRecall, Proof

_TIMED = 100  # queries of an exact index, where its time is bounded

Made = tuple[
    Trial, dict[str, Any]
]  # a tuned index, and fields of a BuiltIndex: what was considered, what it learned from


@dataclass(frozen=True)
class BuiltIndex:
    """What became of a partition: all of an IndexRecord but names, and where its files are published."""

    files: dict[str, str]  # role (index, ids, refine, refine_range) -> file name in the folder
    type: str
    parameters: dict[str, Any]
    metric: str
    dim: int
    rows: int
    nprobe: int
    refine_factor: int
    k: int
    recall: float
    recall_queries: int
    curve: tuple[CurvePoint, ...]
    p50_ms: float
    p99_ms: float
    train_rows: int
    build_seconds: float
    proof: Proof
    considered: tuple[Considered, ...]
    recalls: tuple[KindRecall, ...]
    learned: Learned
    note: str


def index_name(segment_digests: Sequence[str], settings_identity: str) -> str:
    """The name (64 hex digits) of the index of these segments, in this order; see IndexSettings.identity."""
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

    def make(kept: Kept, alone: Alone | None, work: Path) -> Made:
        return _made(kept, settings, work, alone, earlier)

    return finished(segments, dim, settings, folder, embed, make)


def finished(
    segments: Sequence[SegmentRef],
    dim: int,
    settings: IndexSettings,
    folder: Path,
    embed: Embed | None,
    make: Callable[[Kept, Alone | None, Path], Made],
) -> BuiltIndex:
    """See `build`; `make` gives the tuned index of all rows, made in a folder that has their ids in `IDS_FILE`."""
    started = time.perf_counter()
    rows = sum(ref.rows for ref in segments)
    if not rows:
        raise InputError("a partition with rows", "none", "leave empty partitions out of the build")
    work = folder / "work"
    work.mkdir()
    with written_into(folder):
        compute = compute_of(settings.device)
        kept = keep(verified_blocks(segments), rows, dim, settings.metric, work / "vectors.npy", compute)
        write_ids(map(read_ids, segments), work / IDS_FILE)
        alone = Alone(segments, embed) if embed is not None and settings.asks_alone(rows, dim) else None
        made, decided = make(kept, alone, work)
        paths = {role: folder / path.name for role, path in made.files.items()}
        for role, path in paths.items():
            made.files[role].replace(path)
    found = _figures(made, paths, made.promised.rows, segments, settings)
    shutil.rmtree(work)
    return BuiltIndex(
        files={role: path.name for role, path in paths.items()},
        type=made.spec.type,
        parameters=made.spec.model_dump(mode="json", exclude={"type"}),
        metric=settings.metric.value,
        dim=dim,
        rows=rows,
        k=settings.k,
        train_rows=made.train_rows,
        build_seconds=time.perf_counter() - started,
        note=made.note,
        **decided,
        **found,
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


def _made(kept: Kept, settings: IndexSettings, work: Path, alone: Alone | None, earlier: Earlier | None) -> Made:
    """The index with the training of `earlier` if that fits, or one trained on its own rows; ids are in `work`."""
    reason, ids = "", work / IDS_FILE
    if earlier is not None:
        again, learned = used_again(earlier, held_out_by(settings, kept, ids, alone), settings, work / "earlier")
        if again is not None:
            return again, {"considered": (), "learned": learned}
        reason = learned.reason
    made, considered = _trained(kept, settings, work, alone)
    return anew(made, considered, reason, settings)


def anew(made: Trial, considered: tuple[Considered, ...], reason: str, settings: IndexSettings) -> Made:
    """`made`, trained on its own rows; `reason`: why an earlier training was not used, if one was offered."""
    found = figures(made, settings.seed)
    return made, {"considered": considered, "learned": Learned(False, reason, found, found)}


def within_bytes(made: Trial, settings: IndexSettings) -> Trial:
    """`made`, of a type that the config names; GateError where its bytes exceed a bound."""
    error = refused(made, settings) if made.promised.rows >= settings.exact_below else None
    if error is not None:
        raise error
    return made


def _trained(
    kept: Kept, settings: IndexSettings, work: Path, alone: Alone | None
) -> tuple[Trial, tuple[Considered, ...]]:
    """The index of the type that the config names, or the best of the candidates."""
    spec = settings.choose(len(kept), kept.dim)
    if spec is None:
        return choose(kept, work / IDS_FILE, settings, work, alone)
    if spec.exact:
        return exact(spec, kept, work / IDS_FILE, work), ()
    made = trial(spec, drawn_by(settings, kept, work / IDS_FILE, alone), settings.target_recall, work)
    return within_bytes(made, settings), ()


def _figures(
    made: Trial, paths: dict[str, Path], rows: int, segments: Sequence[SegmentRef], settings: IndexSettings
) -> dict[str, Any]:
    """The checks and figures of the files in `paths`, opened as readers open them: fields of a BuiltIndex."""
    point, folder = made.tuned.point, str(paths["index"].parent)
    promised = Unmeasured(folder, made.promised.dim, rows, settings.metric.value, point.nprobe, point.refine_factor)
    index = PartitionIndex.open(paths, promised)
    check_ids(index, segments)
    return _exact(made, index, settings) if made.spec.exact else _measured(made, index, settings)


def _exact(made: Trial, index: PartitionIndex, settings: IndexSettings) -> dict[str, Any]:
    """Of an index that compares every row: its recall needs no proof, its rows do. Only where a bound asks for it, the
    time of a query is taken.
    """
    bound = settings.max_query_ms if index.rows >= settings.exact_below else None
    times = [0.0] if bound is None else milliseconds(index, made.kept.at(spread(index.rows, _TIMED)), settings.k, None)
    p50, p99 = np.percentile(times, (50, 99))
    if bound is not None and p50 > bound:
        raise too_slow(float(p50), (), settings)
    return {
        "nprobe": 0,
        "refine_factor": 0,
        "recall": 1.0,
        "recall_queries": 0,
        "recalls": (),
        "curve": (),
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "proof": prove_exact(index, made.kept, (made.memory_bytes, made.disk_bytes)),
    }


def _measured(made: Trial, index: PartitionIndex, settings: IndexSettings) -> dict[str, Any]:
    queries, point, rows = made.queries, made.tuned.point, index.rows
    proof = prove(index, made.spec, queries, (made.memory_bytes, made.disk_bytes))
    curve = clocked(index, queries, made.tuned.curve)
    p50, p99 = np.percentile(_times(index, queries), (50, 99))
    if settings.max_query_ms is not None and rows >= settings.exact_below and p50 > settings.max_query_ms:
        raise too_slow(float(p50), curve, settings)
    values = recalls(index, queries)
    kinds = recalls_of_kinds(queries, values)
    return {
        "nprobe": point.nprobe,
        "refine_factor": point.refine_factor,
        "recall": least(queries, values),
        "recall_queries": kinds[0].queries,
        "recalls": kinds if len(kinds) > 1 else (),
        "curve": curve,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "proof": proof,
    }


def _times(index: PartitionIndex, queries: HeldOut) -> list[float]:
    return milliseconds(index, queries.xq, queries.k, index.nprobe or None)
