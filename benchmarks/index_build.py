"""One build of an index in a process of its own: CPU and wall seconds, peak memory and bytes, as a line of JSON.

    python benchmarks/index_build.py VECTORS INTO 'IVF2048,Flat'
    python benchmarks/index_build.py VECTORS INTO '{"target_recall": 0.95, "max_bytes_per_vector": 64}'

A key is built by index_factory with FAISS's default training on all rows, on all cores, but for OPQ: of its 50 rounds,
each of 4 of k-means after a first of 40, it takes `OPQ_ROUNDS`, each of 4, since FAISS 1.15 takes a quarter of an hour
for them over 200,000 rows of 256 dimensions. That flatters the time of the key. Settings, of the section index
of a config, are what Vitrine chooses or builds by, on as many cores. Vectors are read before the clock starts.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from measure import here
from vectors import opened

from index_builders.choose.choice import choose
from index_builders.measure.trial import Trial, drawn_by, trial
from index_builders.rows.vectors_file import VectorsFile
from index_builders.settings import IndexSettings
from lookup.index.partition_index import IDS_FILE, INDEX_FILE
from lookup.store.entries.index_record import Considered

OPQ_ROUNDS = 4
MADE_FILE = "made.json"  # what a search must know of an index that Vitrine built


def main() -> None:
    """Build by the three arguments and print the figures."""
    vectors, into, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    into.mkdir(parents=True)
    figures = _by_vitrine(opened(vectors), into, how) if how.startswith("{") else _by_key(opened(vectors), into, how)
    print(json.dumps(figures))


def _by_key(kept: VectorsFile, into: Path, key: str) -> dict[str, float]:
    x = kept.at(np.arange(len(kept)))
    index: Any = faiss.index_factory(kept.dim, key, faiss.METRIC_INNER_PRODUCT)

    if key.startswith("OPQ"):
        opq: Any = faiss.downcast_VectorTransform(index.chain.at(0))  # type: ignore[attr-defined]  # the stubs' list
        opq.niter, opq.niter_pq_0 = OPQ_ROUNDS, opq.niter_pq

    def build() -> None:
        index.train(x)
        index.add(x)

    figures = here(build)
    faiss.write_index(index, str(into / INDEX_FILE))
    size = (into / INDEX_FILE).stat().st_size / len(kept)
    return {**figures, "memory_bytes": size, "disk_bytes": size}


def _by_vitrine(kept: VectorsFile, into: Path, fields: str) -> dict[str, float]:
    settings = IndexSettings.model_validate_json(fields)
    _write_ids(len(kept), into / IDS_FILE)
    found = list[tuple[Trial, tuple[Considered, ...]]]()
    figures = here(lambda: found.append(_made(kept, settings, into)))
    made, considered = found[0]
    for one in considered:
        words = f"{one.type} {one.parameters} {one.rows} rows: recall {one.recall:.3f}, {one.cost_us:.0f} us"
        print(f"{words}, {one.verdict}", file=sys.stderr, flush=True)
    for path in made.files.values():
        if path.parent != into:
            shutil.move(path, into / path.name)
    point = made.tuned.point
    spec = made.spec.model_dump(mode="json")
    described = {"spec": spec, "nprobe": point.nprobe, "refine_factor": point.refine_factor}
    (into / MADE_FILE).write_text(json.dumps(described), encoding="utf-8")
    return {**figures, "memory_bytes": made.memory_bytes, "disk_bytes": made.disk_bytes}


def _made(kept: VectorsFile, settings: IndexSettings, into: Path) -> tuple[Trial, tuple[Considered, ...]]:
    spec = settings.choose(len(kept), kept.dim)
    if spec is None:
        return choose(kept, into / IDS_FILE, settings, into, None)
    return trial(spec, drawn_by(settings, kept, into / IDS_FILE, None), settings.target_recall, into), ()


def _write_ids(n: int, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": [str(number) for number in range(n)]}), path)


if __name__ == "__main__":
    main()
