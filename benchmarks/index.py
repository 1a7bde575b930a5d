"""Indexes of the same vectors in the same FAISS: what Vitrine chooses against what index_factory gives.

    python benchmarks/index.py [--rows 500000] [--dim 256] [--repeats 5] [--photos FOLDER] [--quick]

- coarse: centroids of FAISS's default training, of flat k-means as `fill/coarse.py` does it, and of its two levels.
- search: recall@10 and queries/s, one thread, batches of 1,000: IVF,Flat and IVF,PQ by index_factory with default
  training on all rows, and the index that Vitrine chooses within 64 bytes a vector in memory and 320 in all. Each is
  built in a process of its own, on all cores.
- order: rows sorted by cluster. Trained on the first rows, as autofaiss does, and on a random sample.

Vectors: clusters in clusters, or crops of the photos in FOLDER as pixels. All are unit length.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from measure import apart, publish
from searches import TARGETS, Asks, Speed, by_vitrine, in_faiss, interleaved, targets, tuned, words
from vectors import IP, QUERIES, K, Vectors, drawn

from index_builders.choose.choice import described
from index_builders.fill.coarse import kmeans, two_level
from index_builders.measure.recall import HeldOut, held_out
from index_builders.measure.tune import tune
from index_builders.rows.vectors_file import VectorsFile
from index_builders.sizes import nlist_for
from lookup.index.partition_index import INDEX_FILE

BUILD = str(Path(__file__).with_name("index_build.py"))


def coarse(kept: VectorsFile, queries: HeldOut) -> list[list[str]]:
    """Rows of a table: how centroids were trained, seconds of CPU, and recall by rows scanned."""
    nlist = nlist_for(len(kept), len(kept))
    at = np.sort(np.random.default_rng(1).choice(len(kept), min(len(kept), 64 * nlist), replace=False))
    xt = kept.at(at)
    ways: dict[str, Callable[[], np.ndarray]] = {
        "index_factory, default": lambda: _factory_centroids(kept.at(np.arange(len(kept))), nlist),
        "flat, 64 a centroid": lambda: kmeans(xt, nlist, IP, 1234),
        "two levels": lambda: two_level(xt, nlist, IP, 1234),
    }
    rows = []
    for name, train in ways.items():
        started = time.process_time()
        centroids = train()
        spent = time.process_time() - started
        quantizer = faiss.IndexFlatIP(kept.dim)
        quantizer.add(centroids)
        index = faiss.IndexIVFFlat(quantizer, kept.dim, nlist, faiss.METRIC_INNER_PRODUCT)
        index.train(xt[:nlist])
        for block in kept.blocks():
            index.add(block)
        found = [_recall_and_scanned(index, queries, nprobe) for nprobe in (4, 16, 64)]
        rows.append([name, f"{spent:.1f}", *(f"{recall:.3f} at {scanned:,.0f}" for recall, scanned in found)])
    return rows


def _factory_centroids(x: np.ndarray, nlist: int) -> np.ndarray:
    index: Any = faiss.index_factory(x.shape[1], f"IVF{nlist},Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(x)
    return np.asarray(index.quantizer.reconstruct_n(0, nlist))


def _recall_and_scanned(index: Any, queries: HeldOut, nprobe: int) -> tuple[float, float]:
    index.nprobe = nprobe
    sizes = np.array([index.invlists.list_size(number) for number in range(index.nlist)])
    scanned = sizes[index.quantizer.search(queries.xq, nprobe)[1]].sum(axis=1).mean()
    return float(queries.recalls(index.search(queries.xq, K)[1]).mean()), float(scanned)


def search(vectors: Vectors, bounds: dict[str, float], repeats: int) -> tuple[list[list[str]], str]:
    """Rows of a table: index, bytes, what its build took, best recall, and queries/s at each target recall; and how
    the last row, Vitrine's, compares with IVF,Flat and IVF,PQ.
    """
    nlist, dim = nlist_for(len(vectors.kept), len(vectors.kept)), vectors.kept.dim
    entries = [_by_key(vectors, key) for key in (f"IVF{nlist},Flat", f"IVF{nlist},PQ{dim // 8}x8", f"IVF{nlist},SQ8")]
    entries.append(_by_vitrine(vectors, bounds))
    speeds = interleaved([asks for _, asks in entries], repeats)
    rows = [[*head, *map(words, speed.values())] for (head, _), speed in zip(entries, speeds, strict=True)]
    ratios = [_ratio(speeds[-1][name], speeds[0][name]) for name in speeds[0]]
    spent = [float(entries[-1][0][place]) / float(entries[1][0][place]) for place in (3, 4)]
    return rows, (
        f"Vitrine's index answers {ratios[0]} times the queries/s of IVF,Flat at recall {TARGETS[0]:.2f} and "
        f"{ratios[1]} times at {TARGETS[1]:.2f} (goal: 1.5 with at most 64 bytes in memory and 320 in all), and took "
        f"{spent[0]:.2f} of the CPU time and {spent[1]:.2f} of the wall time of IVF,PQ (goal: 0.5)."
    )


def _ratio(one: Speed | None, other: Speed | None) -> str:
    return "never" if one is None or other is None else f"{one[1] / other[1]:.2f}"


def _by_key(vectors: Vectors, key: str) -> tuple[list[str], Asks]:
    folder = vectors.folder / key.replace(",", "-")
    figures = apart(BUILD, str(vectors.folder), str(folder), key)
    index: Any = faiss.read_index(str(folder / INDEX_FILE))
    ask = in_faiss(index, vectors.queries)
    best = float(vectors.queries.recalls(ask(f"nprobe={index.nlist}")[1]).mean())
    return [key, *built(figures), f"{best:.3f}"], targets(ask, vectors.queries, "nprobe=1", index.nlist)


def _by_vitrine(vectors: Vectors, bounds: dict[str, float]) -> tuple[list[str], Asks]:
    """What Vitrine chooses within the bounds, tuned to each target on the queries of this benchmark."""
    folder = vectors.folder / "vitrine"
    settings = {"target_recall": TARGETS[-1], "exact_below": 512, **bounds}
    figures = apart(BUILD, str(vectors.folder), str(folder), json.dumps(settings))
    spec, index = by_vitrine(vectors, folder)
    best = max(point.recall for point in tune(index, spec, vectors.queries, 1.0).curve)
    return [f"Vitrine: {described(spec)}", *built(figures), f"{best:.3f}"], tuned(spec, index, vectors.queries)


def built(figures: dict[str, float]) -> list[str]:
    """Bytes in memory and in all per vector, CPU and wall seconds, and peak MB of a build, for a table."""
    return [f"{figures[name]:.0f}" for name in ("memory_bytes", "disk_bytes", "cpu_s", "wall_s", "peak_mb")]


def order(kept: VectorsFile, group: np.ndarray, queries: HeldOut) -> list[list[str]]:
    """Rows of a table: recall at equal nprobe of a catalog sorted by category, by what was trained on."""
    by_group = np.argsort(group, kind="stable")
    sorted_rows = VectorsFile(np.ascontiguousarray(kept.rows[by_group]), IP)
    nlist = nlist_for(len(kept), len(kept))
    nt = min(len(kept) // 4, 64 * nlist)
    queries = held_out(queries.xq, queries.own, sorted_rows, K)
    random = np.sort(np.random.default_rng(4).choice(len(kept), nt, replace=False))
    rows = []
    for name, at in (("the first rows", np.arange(nt)), ("a random sample", random)):
        quantizer = faiss.IndexFlatIP(kept.dim)
        quantizer.add(kmeans(sorted_rows.at(at), nlist, IP, 1234))
        index = faiss.IndexIVFFlat(quantizer, kept.dim, nlist, faiss.METRIC_INNER_PRODUCT)
        index.train(sorted_rows.at(at[:nlist]))
        for block in sorted_rows.blocks():
            index.add(block)
        found = [_recall_and_scanned(index, queries, nprobe) for nprobe in (4, 16, 64)]
        rows.append([name, "", *(f"{recall:.3f} at {scanned:,.0f}" for recall, scanned in found)])
    return rows


def main() -> None:
    """Measure the three parts and publish one page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bytes", type=float, default=64, help="in memory per vector, for what Vitrine chooses")
    parser.add_argument("--disk-bytes", type=float, default=320, help="in all per vector, refine vectors included")
    parser.add_argument("--photos", type=Path, help="folder of photos: real vectors, of crops as pixels")
    parser.add_argument("--quick", action="store_true", help="100,000 rows of 64 dimensions, 3 repeats: minutes")
    parser.add_argument("--name", help="of the page; by default index_clustered or index_photos")
    given = parser.parse_args()
    if given.quick:
        given.rows, given.dim, given.repeats = 100_000, 64, 3
    bounds = {"max_bytes_per_vector": given.bytes, "max_disk_bytes_per_vector": given.disk_bytes}
    with tempfile.TemporaryDirectory() as folder:
        vectors = drawn(given.rows, given.dim, given.photos, Path(folder))
        found, ratios = search(vectors, bounds, given.repeats)  # first: builds use all cores
        faiss.omp_set_num_threads(1)
        trained = coarse(vectors.kept, vectors.queries) + order(vectors.kept, vectors.group, vectors.queries)
    _publish(given.name or f"index_{'photos' if given.photos else 'clustered'}", given, trained, found, ratios)


def _publish(
    name: str, given: argparse.Namespace, trained: list[list[str]], found: list[list[str]], ratios: str
) -> None:
    command = f"python benchmarks/index.py --rows {given.rows} --dim {given.dim} --repeats {given.repeats}"
    command += f" --bytes {given.bytes:g} --disk-bytes {given.disk_bytes:g}"
    command += " --photos FOLDER" if given.photos else ""
    command += f" --name {given.name}" if given.name else ""
    heads = ["index", "bytes in memory", "bytes in all", "build CPU s", "wall s", "peak MB", "best recall@10"]
    heads += [f"queries/s at {target:.2f}" for target in TARGETS]
    training = ["| centroids from | CPU s | recall@10 at rows scanned, nprobe 4 | 16 | 64 |", "|" + " --- |" * 5]
    training += ["| " + " | ".join(row) + " |" for row in trained]
    publish(
        name,
        "Indexes of the same vectors",
        command,
        heads,
        found,
        f"{ratios}\n\n{given.rows:,} rows of {given.dim} dimensions, and {QUERIES:,} queries that are none of them. "
        "Builds in processes of their own on all cores, their peak memory with the vectors, which FAISS alone is given "
        "as one float32 array, and Vitrine as a mapped float16 file. Searches on one thread; queries per second of "
        f"CPU time, median of {given.repeats} interleaved runs, with the range. Vitrine's build counts all candidates "
        f"that it weighed. Load of the machine at the end: {os.getloadavg()[1]:.1f} (mean of 5 minutes).\n\n"
        + "\n".join(training)
        + "\n\nThe last two rows of this table are a catalog sorted by category, trained on its first rows or not.",
    )


if __name__ == "__main__":
    main()
