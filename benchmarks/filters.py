"""Search under filters: recall and time of every kind of index, for filters that keep many rows and few.

    python benchmarks/filters.py [--rows 100000] [--dim 64]

Each index that Vitrine weighs is built and tuned to recall@10 of 0.95 for all rows. Then rows are kept at random, or
as one region: whole categories, or the rows nearest to one of them, which most queries see from far away. Truth is
exact search over the kept rows. Vectors: those of benchmarks/index.py, queries: rows that no filter keeps.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import faiss
import numpy as np
from index import IP, _write_ids, clustered
from measure import publish

from index_builders.base import builder_spec
from index_builders.choose.choice import described
from index_builders.measure.trial import drawn_by, trial
from index_builders.rows.vectors_file import VectorsFile
from index_builders.settings import IndexSettings
from lookup.index.partition_index import IDS_FILE, PartitionIndex
from lookup.index.ranking import best
from lookup.index.subset import RowSubset, reach

QUERIES, K, TARGET = 200, 10, 0.95
SHARES = (0.1, 0.01, 0.001)


def filters(x: np.ndarray, category: np.ndarray, own: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """(name, mask (n,) bool) of each filter; none keeps the rows `own`, which are the queries."""
    rng = np.random.default_rng(5)
    masks = {"all": np.ones(len(x), np.bool_)}
    masks |= {f"{share:.1%} at random": rng.random(len(x)) < share for share in SHARES}
    masks["half, 15 of 30 categories"] = np.isin(category, rng.choice(30, 15, replace=False))
    near = np.argsort(-(x @ x[rng.integers(len(x))]), kind="stable")
    masks |= {f"{share:.1%} in one region": np.isin(np.arange(len(x)), near[: int(share * len(x))]) for share in SHARES}
    for name, mask in masks.items():
        mask[own] = False
        yield name, mask


def opened(kept: VectorsFile, folder: Path) -> Iterator[tuple[str, PartitionIndex]]:
    """Each candidate of `type: auto`, exact search and a graph, tuned."""
    settings = IndexSettings(exact_below=512, target_recall=TARGET)
    rows = drawn_by(settings, kept, folder / IDS_FILE, None)
    specs = [*settings.candidates(len(kept), kept.dim), builder_spec({"type": "hnsw", "m": 16, "ef_construction": 100})]
    if all(spec.type != "flat" for spec in specs):
        specs.append(builder_spec({"type": "flat"}))
    for number, spec in enumerate(specs):
        into = folder / str(number)
        into.mkdir()
        made = trial(spec, rows, TARGET, into)
        point = made.tuned.point
        print(described(spec), point, flush=True)
        yield described(spec), replace(made.index, nprobe=point.nprobe, refine_factor=point.refine_factor)


def measured(index: PartitionIndex, subset: RowSubset, xq: np.ndarray, least: np.ndarray, x: np.ndarray) -> list[str]:
    """Recall@k, median ms, kept rows looked at, and the recall of FAISS's filter without looking wider."""
    found = index.search(xq, K, subset=subset)[1]
    times = []
    for one in xq[:, None, :]:
        started = time.process_time()
        index.search(one, K, subset=subset)
        times.append(1000 * (time.process_time() - started))
    looked = len(subset)
    if index.nlist:
        far = reach(index, subset, K, index.nprobe)
        looked = round(far.lists * len(subset) / len(subset.lists)) if far.lists else len(subset)
    plain = _recall(_as_tuned(index, subset, xq), xq, least, x)
    return [f"{_recall(found, xq, least, x):.3f}", f"{median(times):.2f}", f"{looked:,}", f"{plain:.3f}"]


def _as_tuned(index: PartitionIndex, subset: RowSubset, xq: np.ndarray) -> np.ndarray:
    """Positions by FAISS's own filter, with nprobe and candidates as they are tuned for rows of all."""
    params: Any = faiss.SearchParameters(sel=subset.by_bit)
    if index.nlist:
        params = faiss.SearchParametersIVF(nprobe=index.nprobe, sel=subset.by_bit)
    elif index.widest:
        params = faiss.SearchParametersHNSW(efSearch=index.nprobe, sel=subset.by_bit)
    if isinstance(index.faiss_index, faiss.IndexPreTransform):
        params = faiss.SearchParametersPreTransform(index_params=params)
    scores, positions = index.faiss_index.search(xq, index.candidates_for(K, index.refine_factor), params=params)
    if index.refine is not None:
        scores = index.refine.scores(xq, positions)
    return best(scores, positions, K)[1]


def _recall(found: np.ndarray, xq: np.ndarray, least: np.ndarray, x: np.ndarray) -> float:
    scores = np.where(found >= 0, np.einsum("qd,qkd->qk", xq, x[found]), -np.inf)
    return float((scores >= least[:, None] - 1e-5).sum(axis=1).mean() / K)


def main() -> None:
    """Measure every index under every filter and publish one page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=64)
    given = parser.parse_args()
    faiss.omp_set_num_threads(1)
    halves, category = clustered(given.rows, given.dim)
    x = halves.astype(np.float32)
    own = np.random.default_rng(2).choice(given.rows, QUERIES, replace=False)
    asked = [(name, mask, _least(x[own], x[mask])) for name, mask in filters(x, category, own)]
    rows: list[Sequence[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        _write_ids(given.rows, Path(folder) / IDS_FILE)
        for name, index in opened(VectorsFile(halves, IP), Path(folder)):
            for kept, mask, least in asked:
                rows.append([name, kept, f"{mask.sum():,}", *measured(index, index.subset(mask), x[own], least, x)])
                print(*rows[-1], sep=" | ", flush=True)
    publish(
        "filters",
        "Search under filters",
        f"python benchmarks/filters.py --rows {given.rows} --dim {given.dim}",
        ["index", "kept", "rows", "recall@10", "ms", "rows compared", "recall@10 as tuned"],
        rows,
        f"{given.rows:,} rows of {given.dim} dimensions in 30 categories, {QUERIES} queries that no filter keeps, "
        f"asked one by one; ms of CPU, one thread, median. Each index is tuned to recall@10 of {TARGET} for all rows. "
        "`rows compared` are kept rows that codes or vectors score, in the mean. The last column is FAISS's own filter "
        "with nprobe and candidates as tuned. A region is the rows nearest to one row.",
    )


def _least(xq: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """(nq,) the score of the true k-th of the kept rows."""
    return np.partition(xq @ kept.T, -K, axis=1)[:, -K]


if __name__ == "__main__":
    main()
