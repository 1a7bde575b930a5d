"""Partitions of rows in clusters, built in memory of a test, and what is true of them by brute force."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from foundation.metric import Metric
from index_builders.build import BuiltIndex, build
from index_builders.rows import shards
from index_builders.rows.shards import SegmentRef
from index_builders.rows.vectors_file import VectorsFile
from index_builders.settings import IndexSettings
from lookup.index.partition_index import PartitionIndex
from lookup.store.entries.index_record import IndexRecord
from lookup.store.fields import FileRef

DIM = 16


SMALL = IndexSettings(exact_below=512, held_out_queries=60, large={"type": "ivf_pq", "nlist": 16, "nbits": 4})


def clustered(n: int, seed: int = 0, dim: int = DIM) -> np.ndarray:
    """(n, dim) float32, nearly unit rows around 40 centres; their values are float16 numbers."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((40, dim))
    xb = centres[rng.integers(0, 40, n)] + 0.5 * rng.standard_normal((n, dim))
    return (xb / np.linalg.norm(xb, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)


def segments_of(folder: Path, xb: np.ndarray, ids: list[str] | None = None, per: int = 700) -> list[SegmentRef]:
    """`xb` in shards of one segment of `per` rows each."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = ids or [f"p{i}" for i in range(len(xb))]
    schema = shards.shard_schema(xb.shape[1], None, None, pa.schema([]), {})
    refs = []
    for start in range(0, len(xb), per):
        part = xb[start : start + per]
        known = {
            "id": pa.array(ids[start : start + per], pa.string()),
            "row": pa.array(range(len(part)), pa.int32()),
            "embedding": shards.embedding_array(part),
        }
        table = pa.table([known.get(field.name, pa.nulls(len(part), field.type)) for field in schema], schema=schema)
        path = folder / f"{start}.parquet"
        [digest] = shards.write_shard(path, table, [0, len(part)])
        refs.append(SegmentRef(path, 0, len(part), digest))
    return refs


def vectors_file(xb: np.ndarray) -> VectorsFile:
    """`xb` as a build keeps it."""
    return VectorsFile(xb.astype(np.float16), Metric.INNER_PRODUCT)


def built(folder: Path, xb: np.ndarray, chosen: IndexSettings = SMALL) -> tuple[IndexRecord, PartitionIndex]:
    """The record of an index of `xb`, and the index opened, its files in `folder`/out."""
    out = folder / "out"
    out.mkdir(parents=True)
    result = record_of(build(segments_of(folder / "shards", xb), xb.shape[1], chosen, out))
    return result, PartitionIndex.open({role: out / file.path for role, file in result.files.items()}, result)


def record_of(result: BuiltIndex) -> IndexRecord:
    """The record that a run writes of `result`, its files where they lie."""
    files = {role: FileRef(path=name, bytes=0, rows=result.rows, blake3="") for role, name in result.files.items()}
    return result.record("ab" * 32, "cd" * 32, files)


def true_recall(index: PartitionIndex, xb: np.ndarray, own: np.ndarray, k: int) -> float:
    """recall@k by brute force in float64: each row of `own` asked for, itself left out on both sides."""
    scores = xb[own].astype(np.float64) @ xb.astype(np.float64).T
    scores[np.arange(len(own)), own] = -np.inf
    truth = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    answers = index.search(xb[own], k + 1)[1]
    found = [len(set(a[a != me][:k]) & set(t)) for a, t, me in zip(answers, truth, own, strict=True)]
    return sum(found) / truth.size


AUTO = IndexSettings(exact_below=512, held_out_queries=100)


def within(**bounds: float) -> IndexSettings:
    """The defaults for small partitions, with bounds."""
    return IndexSettings(exact_below=512, held_out_queries=100, **bounds)  # type: ignore[arg-type]  # floats and ints


def brute_force(metric: Metric, xq: np.ndarray, xb: np.ndarray) -> np.ndarray:
    """All scores in float64, (nq, n), written out."""
    q, x = xq.astype(np.float64), xb.astype(np.float64)
    if metric is Metric.L2:
        return np.asarray(-((q[:, None, :] - x[None, :, :]) ** 2).sum(axis=2))
    products = q @ x.T
    if metric is Metric.INNER_PRODUCT:
        return np.asarray(products)
    norms = np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(x, axis=1)[None, :]
    return np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)


def write_ids(folder: Path, n: int) -> Path:
    """An ids file of `n` rows."""
    pq.write_table(pa.table({"id": [f"商品 {i}" for i in range(n)]}), folder / "ids.parquet")
    return folder / "ids.parquet"
