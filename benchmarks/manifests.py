"""What a manifest costs as units x partitions grow: bytes, CPU seconds and memory to write it, to read it, and to do
all that opening a reader does with its segments; and how long `vitrine rollback` takes, which reads the manifest of the
snapshot that it goes back to and looks for all of its files.

    python benchmarks/manifests.py

Each row is a process of its own, and another that reads what it wrote. Segments are drawn, one in a hundred with a
reject. The page that it writes is `manifests.md` of the benchmarks.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from measure import apart, here, peak_of, publish

from lookup.store import manifest as manifests
from lookup.store.backends.folder import FolderBackend
from lookup.store.entries.index_record import IndexRecord, made_of
from lookup.store.fields import FileRef
from lookup.store.manifest import CatalogEntry, Manifest, PartitionEntry
from lookup.store.segment_table import SCHEMA, SegmentTable
from lookup.store.shards import ShardEntry, Shards
from lookup.store.store import Store

SIZES = ((1_000, 5), (100, 256), (400, 256), (9_766, 256))  # units, partitions
COLUMNS = ["units x partitions", "segments", "JSON", "bytes a segment beside it", "write CPU s", "of memory"]
COLUMNS += ["read CPU s", "of memory", "segments of all partitions, CPU s", "rollback CPU s", "wall s"]
DIGEST = "a" * 64


def drawn(units: int, partitions: int, night: int = 0) -> Manifest:
    """A manifest of so many segments; each night has other units."""
    rng, count = np.random.default_rng(0), units * partitions
    names = [f"Category {number:03}" for number in range(partitions)]
    codes = np.repeat(np.arange(partitions, dtype=np.int32), units)
    lengths = (rng.random(count) < 0.01).astype(np.int32)
    ends = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    lost = [{"outcome": "rejected", "reason": "missing_id", "rows": 1}] * int(lengths.sum())
    kinds = [{**one, "detail": "", "example": f"row {number}"} for number, one in enumerate(lost)]
    rows, photos = (pa.array(rng.integers(1, 9, count, dtype=np.int32)) for _ in range(2))
    arrays = [
        pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(names)),
        pa.array(np.tile(np.arange(units, dtype=np.int32), partitions)),
        pa.array(codes),
        rows,
        photos,
        pa.array(np.zeros(count, np.int32)),
        pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), count, [None, pa.py_buffer(rng.bytes(32 * count))]),
        pa.ListArray.from_arrays(ends, pa.array(lost, SCHEMA.field("lost").type.value_type)),
        pa.ListArray.from_arrays(ends, pa.array(kinds, SCHEMA.field("kinds").type.value_type)),
    ]
    return _manifest(
        Shards(
            entries=tuple(_entry(number, night) for number in range(units)),
            segments=SegmentTable(pa.Table.from_arrays(arrays, schema=SCHEMA)),
        )
    )


def _entry(number: int, night: int) -> ShardEntry:
    name = f"{night:016x}{number:016x}"
    file = FileRef(path=f"shards/{name}.parquet", bytes=1_000_000, rows=1_000, blake3=DIGEST)
    return ShardEntry(
        name=name,
        inputs=name,
        rows_in=1_000,
        file=file,
        rejects=None,
        source=f"catalog/part-{number // 8:05}.parquet",
        row_groups=(number % 8, number % 8 + 1),
    )


def _manifest(shards: Shards) -> Manifest:
    files = {
        role: FileRef(path=f"indexes/{DIGEST}/{role}", bytes=1, rows=1, blake3=DIGEST) for role in ("index", "ids")
    }
    index = IndexRecord.model_validate(
        {"name": DIGEST, "inputs": DIGEST, "type": "flat", "parameters": {}, "metric": "ip", "dim": 8, "rows": 1}
        | {"files": files, "nprobe": 0, "refine_factor": 0, "k": 10, "recall": 1.0, "recall_queries": 0, "curve": ()}
        | {"p50_ms": 0.0, "p99_ms": 0.0, "train_rows": 0, "build_seconds": 0.0}
    )
    return Manifest(
        parent=None,
        run="r",
        created_at=datetime.now(UTC),
        content=DIGEST,
        catalog=CatalogEntry(path="catalog", image_root=None, image_column=None, identity=DIGEST, rows=1),
        config={},
        text=None,
        image=None,
        fusion={},
        dim=8,
        metric="ip",
        attributes=(),
        shards=shards,
        partitions=tuple(PartitionEntry(name=name, rows=1, index=index) for name in shards.segments.names),
    )


def _measured(work: Callable[[], object]) -> dict[str, float]:
    """As `here`, and by how much memory grew at most, MB; Linux."""
    before = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    with peak_of("VmRSS") as most:
        found = here(work)
    return {**found, "grown_mb": (most[0] - before) / 1e6}


def write(folder: Path, units: int, partitions: int) -> dict[str, float]:
    """Write a drawn manifest into `folder`."""
    manifest = drawn(units, partitions)

    def work() -> None:
        written = manifest.written()
        for path, raw in (
            (manifests.segments_path(written.snapshot), written.segments),
            (manifests.path_of(written.snapshot), written.manifest),
        ):
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_bytes(raw)

    return _measured(work)


def read(folder: Path) -> dict[str, float]:
    """Read it, and then take the segments of each partition."""
    backend, found = FolderBackend(str(folder)), list[Manifest]()
    (snapshot,) = manifests.ids_in(backend)
    reading = _measured(lambda: found.append(manifests.read_manifest(backend, snapshot)))
    table = found[0].shards.segments
    opening = here(lambda: [made_of(table.of(one.name).digests) for one in found[0].partitions])
    return {**reading, "opening_s": opening["cpu_s"]}


def roll_back(folder: Path, units: int, partitions: int) -> dict[str, float]:
    """Publish two drawn snapshots of other units, with files of the right sizes, and go back by the command."""
    store = Store.create(str(folder / "store"))
    for night in (1, 2):
        manifest = drawn(units, partitions, night)
        for file in manifest.files():
            path = store.backend.local(file.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as made:
                made.truncate(file.bytes)
        store.publish(manifest, store.latest(), "a benchmark")
    words = ("rollback", store.root, "--why", "a benchmark")
    figures = here(lambda: subprocess.run([sys.executable, "-m", "pipeline", *words], check=True, stdout=sys.stderr))
    took = resource.getrusage(resource.RUSAGE_CHILDREN)  # no other child
    return {"cpu_s": took.ru_utime + took.ru_stime, "wall_s": figures["wall_s"]}


def main() -> None:
    """Measure all sizes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--one", nargs="+")
    options = parser.parse_args()
    if options.one:
        folder, what, *size = options.one
        measure = {"write": write, "read": read, "roll_back": roll_back}[what]
        print(json.dumps(measure(Path(folder), *map(int, size))))
        return
    rows = []
    for units, partitions in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            size = (str(units), str(partitions))
            wrote, took = apart(__file__, "--one", folder, "write", *size), apart(__file__, "--one", folder, "read")
            went_back = apart(__file__, "--one", folder, "roll_back", *size)
            sizes = {path.suffix: path.stat().st_size for path in Path(folder).glob("snapshots/*")}
        count = units * partitions
        costs = (wrote["cpu_s"], wrote["grown_mb"], took["cpu_s"], took["grown_mb"], took["opening_s"])
        shown = [f"{one:.2f}" if number % 2 == 0 else f"{one:.0f} MB" for number, one in enumerate(costs)]
        json_mb, each = sizes[".json"] / 1e6, sizes[".segments"] / count
        shown += [f"{went_back['cpu_s']:.2f}", f"{went_back['wall_s']:.2f}"]
        rows.append([f"{units:,} x {partitions}", f"{count:,}", f"{json_mb:.1f} MB", f"{each:.1f}", *shown])
    publish("manifests", "Manifests", "python benchmarks/manifests.py", COLUMNS, rows, NOTES)


NOTES = """
Memory is what the process grew by. A rollback is the whole command, the start of Python included; wall seconds are of a
machine that others used too. Before segments had a file of their own a manifest of 400 x 256 was 39.5 MB of JSON,
which took 1.7 s and 236 MB to read, and one of 9,766 x 256 would have been 965 MB.
"""

if __name__ == "__main__":
    main()
