"""Build one partition's index: sample, train, add, write, open again as readers do, check, tune, measure.

Memory: the training sample, the codes, a block of rows. Raw vectors are streamed; refine vectors go straight to disk.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from index_builders.base import BuilderSpec
from index_builders.evaluate import held_out, measure
from index_builders.shards import FORMAT as SHARD_FORMAT
from index_builders.shards import SegmentRef, Vectors, blocks, read_ids, sample, verified_blocks
from index_builders.sizing import IndexSettings
from index_builders.verify import check_finds_itself, check_ids
from lookup.errors import InputError, IntegrityError, VitrineError
from lookup.identity import identity_of
from lookup.index import FORMAT, IDS_FILE, INDEX_FILE, REFINE_FILE, PartitionIndex
from lookup.manifest import CurvePoint

Positions = npt.NDArray[np.int64]

_WRITE_BYTES = 1 << 20


@dataclass(frozen=True)
class BuiltIndex:
    """What became of a partition: all of an IndexRecord but its name and where its files are published."""

    files: dict[str, str]  # role (index, ids, refine) -> file name in the folder
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


@dataclass(frozen=True)
class _Unmeasured:
    """What the reader must know of an index before its nprobe is tuned."""

    name: str
    dim: int
    rows: int
    nprobe: int
    refine_factor: int


@dataclass(frozen=True)
class _Drawn:
    """Random rows of a partition: (nt, d) float32 to train on; (nq, d) float32 to ask for, which lie at `own`."""

    xt: Vectors
    xq: Vectors
    own: Positions


def index_name(segment_digests: Sequence[str], settings_identity: str) -> str:
    """The name (64 hex digits) of the index of these segments, in this order; see IndexSettings.identity."""
    formats = {"index": FORMAT, "shard": SHARD_FORMAT}
    return identity_of({"formats": formats, "settings": settings_identity, "segments": list(segment_digests)})


def build(segments: Sequence[SegmentRef], dim: int, settings: IndexSettings, folder: Path) -> BuiltIndex:
    """Build, check and measure the index of `segments` (embeddings of length `dim`), leaving its files in `folder`.

    InputError for settings that do not fit the rows; IntegrityError when a file does not hold what went in;
    VitrineError for a full disk, or when a vector does not find itself.
    A target recall that no nprobe reaches is no error here: what was measured is returned, and a gate decides.
    """
    started = time.perf_counter()
    rows = sum(ref.rows for ref in segments)
    if not rows:
        raise InputError("a partition with rows", "none", "leave empty partitions out of the build")
    spec = settings.choose(rows, dim)
    drawn = _draw(segments, rows, spec, settings)
    files = _write(segments, dim, spec, drawn.xt, folder)
    paths = {role: folder / name for role, name in files.items()}
    index = PartitionIndex.open(paths, _Unmeasured(str(folder), dim, rows, 0, spec.candidates_per_hit))
    check_ids(index, segments)
    queries = held_out(drawn.xq, drawn.own, blocks(segments), settings.k)
    quality = measure(index, queries, settings.target_recall)
    check_finds_itself(replace(index, nprobe=quality.nprobe), queries)
    return BuiltIndex(
        files=files,
        type=spec.type,
        parameters=spec.model_dump(mode="json", exclude={"type"}),
        metric="inner_product",
        dim=dim,
        rows=rows,
        nprobe=quality.nprobe,
        refine_factor=spec.candidates_per_hit,
        k=settings.k,
        recall=quality.recall,
        recall_queries=len(queries.xq),
        curve=quality.curve,
        p50_ms=quality.p50_ms,
        p99_ms=quality.p99_ms,
        train_rows=len(drawn.xt),
        build_seconds=time.perf_counter() - started,
    )


def _draw(segments: Sequence[SegmentRef], rows: int, spec: BuilderSpec, settings: IndexSettings) -> _Drawn:
    """One random sample, split at random, so that no query was trained on."""
    nq = settings.held_out(rows)
    nt = settings.train_rows(rows) if spec.trained else 0
    drawn, positions = sample(segments, nt + nq, settings.seed)
    held = np.zeros(nt + nq, dtype=np.bool_)
    held[np.random.default_rng((settings.seed, 1)).choice(nt + nq, nq, replace=False)] = True
    xq = drawn[held]
    # Rows from the end take the places of the queries: selecting the others would hold the sample twice.
    drawn[np.flatnonzero(held[:nt])] = drawn[nt:][~held[nt:]]
    return _Drawn(drawn[:nt], xq, positions[held])


def _write(segments: Sequence[SegmentRef], dim: int, spec: BuilderSpec, xt: Vectors, folder: Path) -> dict[str, str]:
    """Write the files of an index; role -> file name."""
    files = {"index": INDEX_FILE, "ids": IDS_FILE}
    try:
        if spec.candidates_per_hit:
            files["refine"] = REFINE_FILE
            with (folder / REFINE_FILE).open("wb") as out:
                shape = (sum(ref.rows for ref in segments), dim)
                np.lib.format.write_array_header_1_0(out, {"descr": "<f2", "fortran_order": False, "shape": shape})
                index = spec.build(xt, _refined(verified_blocks(segments), out), dim)
        else:
            index = spec.build(xt, verified_blocks(segments), dim)
        _write_index(index, folder / INDEX_FILE)
        _write_ids(segments, folder / IDS_FILE)
    except OSError as err:
        raise VitrineError(
            f"to write an index into {folder}", str(err), "free space on that disk, then run again"
        ) from err
    return files


def _refined(xb: Iterable[Vectors], out: IO[bytes]) -> Iterator[Vectors]:
    """Pass blocks on and append them to the refine vectors.

    By plain writes: a full disk under a memory-mapped file ends the process (SIGBUS) instead of raising.
    """
    for block in xb:
        with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused below
            halves = block.astype("<f2")
        if not np.array_equal(halves, block):
            raise IntegrityError(
                "embeddings whose values are float16 numbers, so that refine vectors are equal to them",
                f"a value that is {np.abs(halves - block).max():g} off its float16 number",
                "round the embeddings to float16 before they are written to a shard",
            )
        out.write(halves.tobytes())
        yield block


def _write_index(index: faiss.Index, path: Path) -> None:
    """Write through Python's file: FAISS's own writer says nothing when the disk fills at the end."""
    asked = 0

    def write(part: bytes) -> None:
        nonlocal asked
        asked += len(part)
        out.write(part)

    with path.open("wb") as out:
        faiss.write_index(index, faiss.PyCallbackIOWriter(write, _WRITE_BYTES))  # type: ignore[attr-defined]  # stubs lack it
    if path.stat().st_size != asked:
        raise OSError(f"{path} has {path.stat().st_size} bytes, {asked} were written")


def _write_ids(segments: Sequence[SegmentRef], path: Path) -> None:
    schema = pa.schema([pa.field("id", pa.string(), nullable=False)])
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False, write_page_checksum=True) as writer:
        for ref in segments:
            writer.write_table(pa.Table.from_arrays([read_ids(ref)], schema=schema))
