"""Peak memory of whole runs under a bound, over catalogs of growing size, vectors and row groups.

    python benchmarks/memory.py [--sizes 10] [--share 0.8]

Each run is a process of its own: plan, embed, build with choosing, training and measuring, gates, publish. Its bound
(`run.memory`) is `share` of what `vitrine plan` says that the run would take unbounded, or the least that is possible.
The peak must stay within 1.2 of the bound, whatever the size; the last catalog is one row group.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from pathlib import Path

from measure import apart, here, peak_of, publish

from foundation.errors import InputError
from pipeline.config.load import Config, load_config
from pipeline.demo.catalog import DemoOptions, write_demo_catalog
from pipeline.plan.forecast import expected
from pipeline.plan.units import make_plan
from pipeline.run import Request, run

WHOLE = 1_000_000  # what pyarrow makes one row group, unless told otherwise
SIZES = [  # rows, dimensions, rows of a row group, by category or one partition
    (50_000, 64, 1_000, True),
    (50_000, 256, 10_000, False),
    (100_000, 64, 10_000, True),
    (100_000, 256, 10_000, False),
    (200_000, 64, 32_768, False),
    (200_000, 256, 10_000, True),
    (400_000, 64, 10_000, False),
    (400_000, 128, 10_000, True),
    (1_000_000, 64, 10_000, False),
    (1_000_000, 64, WHOLE, True),
]


def settings(demo: Path, store: str, dim: int, parted: bool) -> list[str]:
    """The config of a run over the texts of `demo`."""
    return [
        f"catalog.path={demo / 'catalog'}",
        f"store.path={store}",
        "catalog.text=[title, title_zh, description, description_zh]",
        "catalog.attributes=[title, price]",
        f"catalog.partition={'product_type' if parted else 'null'}",
        "catalog.image=null",
        "encoders.image=null",
        f"encoders.text={{type: hashed_text, dim: {dim}}}",
    ]


def bounded(given: list[str], share: float) -> tuple[Config, float]:
    """The config with its bound, and what the plan says that the run takes within it, in bytes."""
    free = load_config(None, given, {}).config
    plan = make_plan(free.settings.embedding, free.gates)
    bound = round(share * expected(free.settings.indexing, free.run, plan).memory)
    while True:
        config = load_config(None, [*given, f"run.memory={bound}"], {}).config
        try:
            return config, expected(config.settings.indexing, config.run, plan).memory
        except InputError:
            bound = round(1.02 * bound)


def one(demo: Path, dim: int, parted: bool, share: float) -> None:
    """One run, its figures printed as JSON."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        config, said = bounded(settings(demo, f"{folder}/store", dim, parted), share)
        reports = []
        with peak_of("RssAnon") as anonymous:
            figures = here(lambda: reports.append(run(Request(config))))
        recall = min(partition.recall for partition in reports[0].partitions)
    assert config.run.memory is not None
    megabytes = {"bound_mb": config.run.memory / 1e6, "said_mb": said / 1e6, "anonymous_mb": anonymous[0] / 1e6}
    print(json.dumps({**figures, **megabytes, "recall": recall}))


def main() -> None:
    """Measure each size in a process of its own and publish the peaks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, default=len(SIZES), help="how many of the sizes, from the smallest on")
    parser.add_argument("--share", type=float, default=0.8, help="of the unbounded run's memory, as a bound")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(Path(given.one[0]), int(given.one[1]), given.one[2] == "True", given.share)
        return
    shape_heads = ["rows", "dim", "row group", "partitions"]
    heads = ["peak / bound", "without mapped pages / bound", "wall s", "worst recall@10"]
    rows = []
    for count, dim, group, parted in SIZES[: given.sizes]:
        shape = DemoOptions(products=count, photos="none", row_group_rows=group, file_rows=max(100_000, group))
        with tempfile.TemporaryDirectory() as folder:
            demo = Path(folder) / "demo"
            write_demo_catalog(demo, shape)
            found = apart(__file__, "--share", str(given.share), "--one", str(demo), str(dim), str(parted))
        ratios = [f"{found[name] / found['bound_mb']:.2f}" for name in ("peak_mb", "anonymous_mb")]
        names = ("bound_mb", "said_mb", "peak_mb", "anonymous_mb")
        sizes = [f"{found[name]:,.0f}" for name in names]
        shown = [f"{count:,}", str(dim), f"{group:,}", "5" if parted else "1"]
        rows.append([*shown, *sizes, *ratios, f"{found['wall_s']:.0f}", f"{found['recall']:.3f}"])
    publish(
        "memory",
        "Peak memory of a run",
        f"python benchmarks/memory.py --sizes {given.sizes} --share {given.share:g}",
        [*shape_heads, *(f"{name} MB" for name in ("bound", "planned", "peak", "peak without mapped pages")), *heads],
        rows,
        "Texts alone, two workers at most, tower vectors kept, `index.large: auto`. The peak is that of the resident "
        "set: the process with the libraries it has imported, and those pages of memory-mapped scratch files that "
        "happened to be resident, which the kernel drops when it needs the room. The next column leaves all mapped "
        "pages out, those of the libraries (about 100 MB) too.",
    )


if __name__ == "__main__":
    main()
