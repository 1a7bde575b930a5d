"""Peak memory of whole runs over catalogs of growing size: 64-dimensional weightless text vectors, IVF-PQ indexes.

    python benchmarks/memory.py [--rows 250000 1000000]

Each run is a process of its own: plan, embed, build with training and measuring, gates, publish. Its peak must stay
under 1.5 GB and must not grow with the rows, nor with the rows of a row group: the last catalog is one row group.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from pathlib import Path

from measure import apart, here, publish

from pipeline.config import load_config
from pipeline.demo.catalog import DemoOptions, write_demo_catalog
from pipeline.stages import Request, run

ROW_GROUP = 10_000  # rows
SETTINGS = [
    "catalog.text=[title, title_zh, description, description_zh]",
    "catalog.attributes=[title, price]",
    "catalog.partition=product_type",
    "catalog.image=null",
    "encoders.image=null",
    "encoders.text={type: hashed_text, dim: 64}",
]


def one(demo: Path) -> None:
    """One run, its figures printed as JSON."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        settings = [f"catalog.path={demo / 'catalog'}", f"store.path={folder}/store", *SETTINGS]
        request = Request(load_config(None, settings, {}).config)
        reports = []
        figures = here(lambda: reports.append(run(request)))
        steps = {f"{step.name}_s": step.seconds for step in reports[0].steps}
        recall = min(partition.recall for partition in reports[0].partitions)
    print(json.dumps({**figures, **steps, "recall": recall, "rows": reports[0].rows_embedded}))


def main() -> None:
    """Measure each size in a process of its own and publish the peaks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[250_000, 1_000_000])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(Path(given.one))
        return
    shapes = [DemoOptions(products=size, photos="none", row_group_rows=ROW_GROUP) for size in given.rows]
    whole = 1_000_000  # what pyarrow makes one row group, unless told otherwise
    shapes.append(DemoOptions(products=whole, photos="none", row_group_rows=whole, file_rows=whole))
    rows = []
    for shape in shapes:
        with tempfile.TemporaryDirectory() as folder:
            demo = Path(folder) / "demo"
            write_demo_catalog(demo, shape)
            found = apart(__file__, "--one", str(demo))
        counts = [f"{int(found['rows']):,}", f"{shape.row_group_rows:,}"]
        names = ("peak_mb", "cpu_s", "wall_s", "embed_s", "build_s")
        rows.append([*counts, *(f"{found[name]:.0f}" for name in names), f"{found['recall']:.3f}"])
    publish(
        "memory",
        "Peak memory of a run",
        f"python benchmarks/memory.py --rows {' '.join(map(str, given.rows))}",
        ["rows", "rows of a row group", "peak MB", "CPU s", "wall s", "embed s", "build s", "worst recall@10"],
        rows,
        "Five partitions, two workers, 64 dimensions, tower vectors kept. The peak is that of the resident set, with "
        "the imports (Beam, pyarrow, FAISS) and the pages of memory-mapped files that happened to be resident.",
    )


if __name__ == "__main__":
    main()
