"""autofaiss in an environment of its own, which this script runs in: it imports nothing of Vitrine.

    PYTHON benchmarks/autofaiss_peer.py build VECTORS.npy INTO.faiss '{"max_index_memory_usage": "20MB"}'
    PYTHON benchmarks/autofaiss_peer.py search INDEX.faiss QUERIES.npy FOUND.npy

`build` prints its figures, the key that autofaiss chose and the setting it ships, as a line of JSON. `search` answers
each line of its input, a setting such as `nprobe=16`, by a line with the CPU seconds of 10 hits for all queries, asked
at once with one thread, and leaves their positions in FOUND.npy.
"""

import json
import sys
import time

import faiss
import numpy as np

K = 10


def build(vectors, index_path, options):
    """Build by autofaiss, on all cores as it does by default."""
    from autofaiss import build_index

    x = np.load(vectors).astype(np.float32)
    infos_path = index_path + ".json"
    wall, cpu = time.perf_counter(), time.process_time()
    made, _ = build_index(
        x, index_path=index_path, index_infos_path=infos_path, metric_type="ip", verbose=40, **json.loads(options)
    )
    figures = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    if made is None:
        raise SystemExit("autofaiss built nothing: it logs why, and returns None")
    with open(infos_path, encoding="utf-8") as infos:
        shipped = json.load(infos)
    figures["peak_mb"] = peak_mb()
    print(json.dumps({**figures, "key": shipped["index_key"], "setting": shipped["index_param"]}))


def peak_mb():
    """Peak memory of this process; see measure.py for why not ru_maxrss."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6


def search(index_path, queries, found):
    """Answer settings until the input ends."""
    faiss.omp_set_num_threads(1)
    index, xq = faiss.read_index(index_path), np.load(queries)
    for line in sys.stdin:
        faiss.ParameterSpace().set_index_parameters(index, line.strip())
        started = time.process_time()
        positions = index.search(xq, K)[1]
        spent = time.process_time() - started
        np.save(found, positions)
        print(spent, flush=True)


if __name__ == "__main__":
    {"build": build, "search": search}[sys.argv[1]](*sys.argv[2:])
