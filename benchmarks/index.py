"""Indexes of the same vectors in the same FAISS: what Vitrine chooses against what index_factory gives.

    python benchmarks/index.py [--rows 500000] [--dim 256] [--repeats 5] [--photos FOLDER] [--quick]

- coarse: centroids of FAISS's default training, of flat k-means as `inverted.py` does it, and of its two levels.
- search: recall@10 and queries/s, one thread, batches of 1,000: IVF,Flat and IVF,PQ by index_factory with default
  training on all rows, and the index that Vitrine chooses within 64 bytes a vector in memory and 320 in all.
- order: rows sorted by cluster. Trained on the first rows, as autofaiss does, and on a random sample.

Vectors: clusters in clusters, or crops of the photos in FOLDER as pixels. All are unit length.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import faiss
import numpy as np
from measure import publish

from index_builders.choose import described
from index_builders.evaluate import HeldOut, held_out
from index_builders.inverted import kmeans, two_level
from index_builders.kept import Kept
from index_builders.sizing import IndexSettings, nlist_for
from lookup.index import IDS_FILE, PartitionIndex
from lookup.metric import Metric

IP = Metric.INNER_PRODUCT
QUERIES, K = 1000, 10
TARGETS = (0.90, 0.95)
Asks = dict[float, Callable[[], object] | None]  # for each target recall a search of all queries, None: out of reach


# --- vectors ---


def clustered(n: int, dim: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, dim) float16 unit rows in 30 categories of 100 families, wide in 16 directions; and their categories."""
    rng = np.random.default_rng(seed)
    categories = rng.standard_normal((30, dim))
    families = 0.5 * rng.standard_normal((30, 100, dim))
    planes = rng.standard_normal((30, 16, dim)) / 4  # rows of length 1 in a direction of length sqrt(dim)
    rows = np.empty((n, dim), np.float16)
    category = rng.integers(0, 30, n)
    for start in range(0, n, 20_000):
        at = category[start : start + 20_000]
        family = families[at, rng.integers(0, 100, len(at))]
        within = np.einsum("nr,nrd->nd", rng.standard_normal((len(at), 16)), planes[at])
        x = categories[at] + family + within + 0.4 * rng.standard_normal((len(at), dim))
        rows[start : start + 20_000] = x / np.linalg.norm(x, axis=1, keepdims=True)
    return rows, category


def photo_crops(folder: Path, n: int, dim: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, dim) float16 unit rows: random square crops of photos as 16 x 16 pixels, their `dim` principal components."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    each = -(-n // len(paths))
    pixels, photo = np.empty((each * len(paths), 768), np.float32), np.repeat(np.arange(len(paths)), each)
    for number, path in enumerate(paths):
        opened = Image.open(path)
        opened.draft("RGB", (96, 96))
        image = opened.convert("RGB").resize((64, 64))
        for crop in range(each):
            side = int(rng.integers(20, 64))
            left, top = rng.integers(0, 65 - side, 2)
            cut = image.resize((16, 16), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
            pixels[number * each + crop] = np.asarray(cut, np.float32).ravel()
    pixels -= pixels.mean(axis=0)
    sample = pixels[rng.choice(len(pixels), min(len(pixels), 20_000), replace=False)]
    _, axes = np.linalg.eigh(sample.T @ sample)
    x = pixels[:n] @ axes[:, ::-1][:, :dim]
    return (x / np.maximum(1e-9, np.linalg.norm(x, axis=1, keepdims=True))).astype(np.float16), photo[:n]


# --- the three parts ---


def coarse(kept: Kept, queries: HeldOut) -> list[list[str]]:
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
    return float(queries.recalls(index.search(queries.xq, K + 1)[1]).mean()), float(scanned)


def search(kept: Kept, queries: HeldOut, bounds: Mapping[str, float], repeats: int, folder: Path) -> list[list[str]]:
    """Rows of a table: index, bytes, seconds to build, and queries/s at each target recall."""
    nlist = nlist_for(len(kept), len(kept))
    entries: list[tuple[list[str], Asks]] = []
    x = kept.at(np.arange(len(kept)))
    for key in (f"IVF{nlist},Flat", f"IVF{nlist},PQ{kept.dim // 8}x8", f"IVF{nlist},SQ8"):
        started = time.process_time()
        index: Any = faiss.index_factory(kept.dim, key, faiss.METRIC_INNER_PRODUCT)
        index.train(x)
        index.add(x)
        spent = time.process_time() - started
        size = len(faiss.serialize_index(index)) / len(kept)
        best, asks = _factory_settings(index, queries)
        entries.append(([key, f"{size:.0f}", f"{size:.0f}", f"{spent:.0f}", f"{best:.3f}"], asks))
    entries.append(_ours(kept, bounds, folder))
    names, rows = [head for head, _ in entries], []
    speeds = _interleaved([asks for _, asks in entries], repeats)
    for head, speed in zip(names, speeds, strict=True):
        rows.append([*head, *(_speed(speed[target]) for target in TARGETS)])
    return rows


def _factory_settings(index: Any, queries: HeldOut) -> tuple[float, Asks]:
    """The best recall, and for each target a search with the fewest lists (of some 20 numbers) that reaches it."""
    asks: Asks = dict.fromkeys(TARGETS)
    best = 0.0
    for nprobe in sorted({int(2 ** (step / 2)) for step in range(2 * int(np.log2(index.nlist)) + 1)}):
        recall = _recall_and_scanned(index, queries, nprobe)[0]
        best = max(best, recall)
        for target in TARGETS:
            if recall >= target and asks[target] is None:
                params = faiss.SearchParametersIVF(nprobe=nprobe)
                asks[target] = lambda params=params: index.search(queries.xq, K, params=params)
    return best, asks


def _ours(kept: Kept, bounds: Mapping[str, float], folder: Path) -> tuple[list[str], Asks]:
    """What Vitrine chooses within the bounds, tuned to each target."""
    from index_builders.choose import choose
    from index_builders.tune import tune

    settings = IndexSettings(target_recall=TARGETS[1], held_out_queries=QUERIES, exact_below=512, **bounds)
    started = time.process_time()
    made, considered = choose(kept, folder / IDS_FILE, settings, folder)
    spent = time.process_time() - started
    for one in considered:
        print(one.type, one.parameters, one.rows, f"{one.recall:.3f} {one.cost_us:.0f} us", one.verdict, flush=True)
    asks: Asks = {}
    for target in TARGETS:
        point = tune(made.index, made.spec, made.queries, target).point
        index = replace(made.index, nprobe=point.nprobe, refine_factor=point.refine_factor)
        asks[target] = (lambda index=index: _batches(index, made.queries)) if point.recall >= target else None
    best = max(point.recall for point in made.tuned.curve)
    name = f"Vitrine: {described(made.spec)}"
    return [name, f"{made.memory_bytes:.0f}", f"{made.disk_bytes:.0f}", f"{spent:.0f}", f"{best:.3f}"], asks


def _batches(index: PartitionIndex, queries: HeldOut) -> None:
    index.search(queries.xq, K)


def _interleaved(all_asks: list[Asks], repeats: int) -> list[dict[float, Any]]:
    """(least, median, most) queries per second of CPU for each entry and target, None where it does not reach it."""
    times: list[dict[float, list[float]]] = [{target: [] for target in TARGETS} for _ in all_asks]
    for _ in range(repeats):
        for asks, spent in zip(all_asks, times, strict=True):
            for target, ask in asks.items():
                if ask is not None:
                    started = time.process_time()
                    ask()
                    spent[target].append(QUERIES / (time.process_time() - started))
    return [{t: (min(s), median(s), max(s)) if s else None for t, s in spent.items()} for spent in times]


def _speed(speed: tuple[float, float, float] | None) -> str:
    return "never" if speed is None else f"{speed[1]:,.0f} ({speed[0]:,.0f}-{speed[2]:,.0f})"


def order(kept: Kept, group: np.ndarray) -> list[list[str]]:
    """Rows of a table: recall at equal nprobe of a catalog sorted by category, by what was trained on."""
    by_group = np.argsort(group, kind="stable")
    sorted_rows = Kept(np.ascontiguousarray(kept.rows[by_group]), IP)
    nlist = nlist_for(len(kept), len(kept))
    nt = min(len(kept) // 4, 64 * nlist)
    own = np.sort(np.random.default_rng(3).choice(len(kept), QUERIES, replace=False))
    queries = held_out(sorted_rows.rows[own].astype(np.float32), own, sorted_rows, K)
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
    given = parser.parse_args()
    if given.quick:
        given.rows, given.dim, given.repeats = 100_000, 64, 3
    faiss.omp_set_num_threads(1)
    made = photo_crops(given.photos, given.rows, given.dim) if given.photos else clustered(given.rows, given.dim)
    kept, kind = Kept(made[0], IP), "photos" if given.photos else "clustered"
    own = np.sort(np.random.default_rng(2).choice(len(kept), QUERIES, replace=False))
    queries = held_out(kept.rows[own].astype(np.float32), own, kept, K)
    trained = coarse(kept, queries) + order(kept, made[1])
    with tempfile.TemporaryDirectory() as folder:
        _write_ids(len(kept), Path(folder) / IDS_FILE)
        bounds = {"max_bytes_per_vector": given.bytes, "max_disk_bytes_per_vector": given.disk_bytes}
        found = search(kept, queries, bounds, given.repeats, Path(folder))
    _publish(f"index_{kind}", given, trained, found)


def _write_ids(n: int, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": [str(number) for number in range(n)]}), path)


def _publish(name: str, given: argparse.Namespace, trained: list[list[str]], found: list[list[str]]) -> None:
    command = f"python benchmarks/index.py --rows {given.rows} --dim {given.dim} --repeats {given.repeats}"
    command += f" --bytes {given.bytes:g} --disk-bytes {given.disk_bytes:g}"
    if given.photos:
        command += " --photos FOLDER"
    heads = ["index", "bytes in memory", "bytes in all", "build s", "best recall@10"]
    heads += [f"queries/s at {target:.2f}" for target in TARGETS]
    training = ["| centroids from | CPU s | recall@10 at rows scanned, nprobe 4 | 16 | 64 |", "|" + " --- |" * 5]
    training += ["| " + " | ".join(row) + " |" for row in trained]
    publish(
        name,
        "Indexes of the same vectors",
        command,
        heads,
        found,
        f"{given.rows:,} rows of {given.dim} dimensions. One thread; queries per second of CPU time, median of "
        f"{given.repeats} interleaved runs, with the range. Vitrine's build counts all candidates that it weighed.\n\n"
        + "\n".join(training)
        + "\n\nThe last two rows of this table are a catalog sorted by category, trained on its first rows or not.",
    )


if __name__ == "__main__":
    main()
