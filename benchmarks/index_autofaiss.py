"""What Vitrine builds against what autofaiss ships within the same bytes, on the same vectors and queries.

    python benchmarks/index_autofaiss.py --autofaiss PYTHON [--rows 200000] [--dim 256] [--photos FOLDER]

PYTHON is that of an environment with autofaiss: `pip install autofaiss==2.18.0 'numpy<2' 'faiss-cpu==1.8.0'
'pyarrow<20' 'setuptools<80' packaging`. It runs with that FAISS and not with ours, so for each budget there are four
rows: what it ships, in its own process and FAISS; the same file read by our FAISS; its key built by
index_factory in our FAISS (see index_build.py for OPQ), at the setting it ships; and what Vitrine chooses with at most
as many bytes in memory as it ships.

Then the same rows sorted by category and shuffled, by both, and whether the goals are met.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from index import BUILD, built
from measure import apart, publish
from searches import (
    TARGETS,
    Ask,
    Search,
    Speed,
    at,
    batch,
    by_vitrine,
    fewest,
    in_faiss,
    interleaved,
    recall_of,
    targets,
    tuned,
    words,
)
from vectors import QUERIES, K, Vectors, drawn, written

from index_builders.choose.choice import described
from index_builders.measure.recall import held_out
from lookup.index.partition_index import INDEX_FILE

PEER = str(Path(__file__).with_name("autofaiss_peer.py"))
GIVEN_UP = 0.01  # recall: what the fewest lists may lose against the setting that is shipped
ABOVE, HIGHEST = 0.002, 0.999  # recall: what Vitrine, tuned on other queries, is to reach beyond what is shipped
GOAL_FASTER, GOAL_BUILD = 10, 0.5
ORDER_KEY, ORDER_LISTS = "IVF512,Flat", 512  # autofaiss learns 512 lists from 51,200 rows


@dataclass(frozen=True)
class Entry:
    """A row of the table: what it is called, what its build took, its recall as shipped, and its searches."""

    name: str
    figures: dict[str, float]
    recall: float
    asks: dict[str, Ask | None] = field(default_factory=dict)

    def cells(self, speeds: dict[str, Speed | None]) -> list[str]:
        """The row, with its speeds in the order of the searches."""
        return [self.name, *built(self.figures), f"{self.recall:.3f}", *(words(speed) for speed in speeds.values())]


# --- autofaiss, in its own process ---


def peer_build(python: Path, vectors: Vectors, into: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Figures, key and setting of an index that autofaiss built of `vectors` into the file `into`."""
    rows = vectors.folder / "vectors.npy"
    command = [str(python), PEER, "build", str(rows), str(into), json.dumps(options)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    size = into.stat().st_size / len(vectors.kept)
    return {**figures, "memory_bytes": size, "disk_bytes": size}


@contextmanager
def peer_search(python: Path, vectors: Vectors, index: Path) -> Iterator[Search]:
    """Searches of an index that autofaiss built, by its own FAISS."""
    queries, found = index.with_suffix(".queries.npy"), index.with_suffix(".found.npy")
    np.save(queries, vectors.queries.xq)
    command = [str(python), PEER, "search", str(index), str(queries), str(found)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def search(setting: str) -> tuple[float, np.ndarray]:
            process.stdin.write(f"{setting}\n")
            process.stdin.flush()
            return float(process.stdout.readline()), np.load(found)

        yield search
        process.stdin.close()


# --- within the same bytes ---


def compared(
    python: Path, vectors: Vectors, budget: str, folder: Path, repeats: int
) -> tuple[list[list[str]], list[str]]:
    """The four rows of a budget of memory, and which goals they meet."""
    folder.mkdir()
    peer = peer_build(python, vectors, folder / "peer.faiss", {"max_index_memory_usage": budget})
    print(peer, flush=True)
    key, setting = str(peer["key"]), str(peer["setting"])
    direct = apart(BUILD, str(vectors.folder), str(folder / "direct"), key)
    with peer_search(python, vectors, folder / "peer.faiss") as asked:
        reached = float(vectors.queries.recalls(asked(setting)[1]).mean())
    settings = {"target_recall": min(HIGHEST, max(TARGETS[-1], reached + ABOVE)), "exact_below": 512}
    settings |= {"max_bytes_per_vector": float(peer["memory_bytes"])}
    ours = apart(BUILD, str(vectors.folder), str(folder / "vitrine"), json.dumps(settings))
    faiss.omp_set_num_threads(1)
    with peer_search(python, vectors, folder / "peer.faiss") as asked:
        read, in_ours = (
            in_faiss(faiss.read_index(str(path)), vectors.queries)
            for path in (folder / "peer.faiss", folder / "direct" / INDEX_FILE)
        )
        entries = [
            _shipped(f"autofaiss, {budget}: {key} at {setting}", peer, asked, vectors, setting),
            _shipped("the same file in our FAISS", peer, read, vectors, setting),
            _shipped("its key built by our FAISS", direct, in_ours, vectors, setting),
            _ours(vectors, folder / "vitrine", ours),
        ]
        speeds = interleaved([entry.asks for entry in entries], repeats)
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    return [entry.cells(speed) for entry, speed in zip(entries, speeds, strict=True)], judged(entries, speeds)


def judged(entries: Sequence[Entry], speeds: Sequence[dict[str, Speed | None]]) -> list[str]:
    """What was aimed at, what came, and whether that is enough, of the four rows of a budget."""
    peer, _, direct, ours = entries
    shipped = [speed["shipped"] for speed in speeds]
    faster = shipped[3][1] / shipped[0][1] if shipped[0] and shipped[3] else 0.0
    cpu, wall = (ours.figures[name] / direct.figures[name] for name in ("cpu_s", "wall_s"))
    held = f"{ours.figures['memory_bytes']:.0f} bytes against {peer.figures['memory_bytes']:.0f}"
    kept = f"{held} ({ours.figures['disk_bytes']:.0f} with refine vectors on disk)"
    goals = [
        (
            ours.recall >= peer.recall,
            f"recall@10 as shipped no lower: {ours.recall:.3f} against {peer.recall:.3f}, {kept}",
        ),
        (faster >= GOAL_FASTER, f"{GOAL_FASTER} times its queries/s as shipped: {faster:.1f} times"),
        (
            cpu <= GOAL_BUILD,
            f"half the time of its key in our FAISS: {cpu:.2f} of its CPU time, {wall:.2f} of its wall time",
        ),
    ]
    return [f"{'met' if met else 'missed'}: {what}" for met, what in goals]


def _shipped(name: str, figures: dict[str, float], search: Search, vectors: Vectors, setting: str) -> Entry:
    queries = vectors.queries
    recall = float(queries.recalls(search(setting)[1]).mean())
    most = _most(search, setting)
    nearly = fewest(search, queries, setting, most, recall - GIVEN_UP)
    asks: dict[str, Ask | None] = {"shipped": at(search, setting), "nearly": at(search, nearly) if nearly else None}
    return Entry(name, figures, recall, asks | targets(search, queries, setting, most))


def _most(search: Search, setting: str) -> int:
    """The widest setting worth asking: all lists, or for a graph 4,096 candidates."""
    lists = [word for word in setting.split(",") if word.startswith("nprobe=")]
    return max(4096, int(lists[0].split("=")[1])) if lists else 4096


def _ours(vectors: Vectors, folder: Path, figures: dict[str, float]) -> Entry:
    spec, index = by_vitrine(vectors, folder)
    shipped = batch(index, vectors.queries)
    asks: dict[str, Ask | None] = {"shipped": shipped, "nearly": shipped} | tuned(spec, index, vectors.queries)
    return Entry(f"Vitrine: {described(spec)}", figures, recall_of(index, vectors.queries), asks)


# --- sorted by category ---


def ordered(python: Path, vectors: Vectors, folder: Path, repeats: int) -> list[list[str]]:
    """Rows of a table: recall by lists searched, of a catalog shuffled or sorted by category, built by both."""
    by_group = np.argsort(vectors.group, kind="stable")
    shuffled = np.random.default_rng(5).permutation(len(by_group))
    rows = []
    for name, order in (("shuffled", shuffled), ("sorted by category", by_group)):
        kept = written(np.ascontiguousarray(vectors.kept.rows[order]), folder / name)
        queries = held_out(vectors.queries.xq, vectors.queries.own, kept, K)
        catalog = Vectors(folder / name, kept, vectors.group[order], queries)
        index = folder / name / "peer.faiss"
        peer_build(python, catalog, index, {"index_key": ORDER_KEY})
        with peer_search(python, catalog, index) as search:
            rows.append(_by_lists(f"autofaiss, {name}", search, catalog, repeats))
        settings = {"large": {"type": "ivf_flat", "nlist": ORDER_LISTS}, "exact_below": 512}
        apart(BUILD, str(catalog.folder), str(folder / name / "vitrine"), json.dumps(settings))
        faiss.omp_set_num_threads(1)
        own = in_faiss(by_vitrine(catalog, folder / name / "vitrine")[1].faiss_index, queries)
        rows.append(_by_lists(f"Vitrine, {name}", own, catalog, repeats))
    return rows


def _by_lists(name: str, search: Search, catalog: Vectors, repeats: int) -> list[str]:
    recalls = [catalog.queries.recalls(search(f"nprobe={lists}")[1]).mean() for lists in (1, 4, 16, 64)]
    found = fewest(search, catalog.queries, "nprobe=1", ORDER_LISTS, TARGETS[-1])
    lists = found.split("=")[1] if found else "never"
    speed = interleaved([{"": at(search, found)}], repeats)[0][""] if found else None
    return [name, *(f"{recall:.3f}" for recall in recalls), lists, words(speed)]


def main() -> None:
    """Compare within each budget and by order, and publish one page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--autofaiss", type=Path, required=True, help="the Python of an environment with autofaiss")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--budgets", default="20MB,4GB", help="max_index_memory_usage of autofaiss, by commas")
    parser.add_argument("--photos", type=Path, help="folder of photos: real vectors, of crops as pixels")
    parser.add_argument("--name", help="of the page; by default index_autofaiss_clustered or index_autofaiss_photos")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        vectors = drawn(given.rows, given.dim, given.photos, folder)
        rows, goals = list[list[str]](), list[str]()
        for budget in given.budgets.split(","):
            more, met = compared(given.autofaiss, vectors, budget, folder / budget, given.repeats)
            rows, goals = rows + more, goals + [f"{budget}: {line}" for line in met]
            print(more, met, flush=True)
        by_order = ordered(given.autofaiss, vectors, folder, given.repeats)
    _publish(given, rows, goals, by_order)


def _publish(given: argparse.Namespace, rows: list[list[str]], goals: list[str], by_order: list[list[str]]) -> None:
    name = given.name or f"index_autofaiss_{'photos' if given.photos else 'clustered'}"
    command = f"python benchmarks/index_autofaiss.py --autofaiss PYTHON --rows {given.rows} --dim {given.dim}"
    command += f" --repeats {given.repeats} --budgets {given.budgets}" + (" --photos FOLDER" if given.photos else "")
    command += f" --name {given.name}" if given.name else ""
    heads = ["index", "bytes in memory", "bytes in all", "build CPU s", "wall s", "peak MB", "recall@10 as shipped"]
    heads += ["queries/s as shipped", f"within {GIVEN_UP:g} of that recall", *(f"at {t:.2f}" for t in TARGETS)]
    columns = ["IVF512,Flat of a catalog", *(f"recall@10 at nprobe {lists}" for lists in (1, 4, 16, 64))]
    columns += [f"lists for {TARGETS[-1]:.2f}", "queries/s there"]
    table = ["| " + " | ".join(line) + " |" for line in [columns, ["---"] * len(columns), *by_order]]
    publish(
        name,
        "What Vitrine builds against autofaiss",
        command,
        heads,
        rows,
        f"{given.rows:,} rows of {given.dim} dimensions and {QUERIES:,} queries that are none of them, the same for "
        "all. autofaiss 2.18.0 with FAISS 1.8.0 chose the key and the setting for the budget; Vitrine was given the "
        f"bytes of what it ships as `max_bytes_per_vector`, and a target recall of {TARGETS[-1]:.2f}, or {ABOVE:g} "
        f"more than the recall of what it ships ({HIGHEST:g} at most). Builds in processes of their own on all cores; "
        "peak memory with the vectors, which FAISS and autofaiss were given as one float32 array, "
        "Vitrine as a mapped float16 file. Refine vectors, the difference of bytes in memory and in all, lie on disk, "
        "memory-mapped. Searches of all queries at once on one thread; queries per second of CPU time, median of "
        f"{given.repeats} interleaved runs, with the range. Load of the machine at the end: {os.getloadavg()[1]:.1f} "
        f"(mean of 5 minutes, {os.cpu_count()} cores).\n\n## Goals\n\n"
        + "\n".join(f"- {line}" for line in goals)
        + "\n\n## A catalog sorted by category\n\n"
        + f"autofaiss learns {ORDER_LISTS} lists from the first 100 rows for each; Vitrine from a random sample."
        f" Up to {100 * ORDER_LISTS:,} rows that is all of them, and the order makes no difference.\n\n"
        + "\n".join(table),
    )


if __name__ == "__main__":
    main()
