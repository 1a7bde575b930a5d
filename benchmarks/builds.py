"""What the build step costs: many small partitions, a few exact ones, and the night after 1% of the titles changed.

    python benchmarks/builds.py [--shapes small exact pq pq-again] [--repeats 3]

A catalog of titles is run once, and for some shapes again with 1% of its titles changed. Then, in a process of its own,
the indexes are dropped and the build step is done again on the shards that are there, on one thread: CPU seconds of
that step alone, and of the functions in it.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measure import apart, here, interleaved, publish

from index_builders import build
from index_builders.base import builder_class, builder_types
from index_builders.choose import training_reuse
from index_builders.measure import trial
from lookup.store.store import Store
from pipeline.build import index_files
from pipeline.build.stage import build_indexes
from pipeline.config.load import Config, load_config
from pipeline.demo.products import product_rows
from pipeline.engine.execution import Execution
from pipeline.run import Request, run

_CHANGED = 100  # one row in so many has another title the next night


@dataclass(frozen=True)
class Shape:
    """A catalog of `partitions` times `rows` titles in `dim` dimensions, and the config beside it."""

    partitions: int
    rows: int
    dim: int
    large: str = "{type: auto}"
    again: bool = False  # what is measured is the build of the night after

    def __str__(self) -> str:
        return f"{self.partitions} x {self.rows:,}"


SHAPES = {
    "small": Shape(256, 64, 256),
    "exact": Shape(5, 4_000, 256),
    "pq": Shape(1, 16_384, 128, "{type: ivf_pq}"),
    "pq-again": Shape(1, 16_384, 128, "{type: ivf_pq}", again=True),
    "auto": Shape(1, 16_384, 128),
    "auto-again": Shape(1, 16_384, 128, again=True),
}


# Where the build step calls what costs: (module, function) as the caller knows it.
STEPS: dict[str, tuple[tuple[Any, str], ...]] = {
    "read": ((build, "keep_rows"),),
    "queries": ((trial, "make_queries"),),
    "train": tuple((builder_class(name), "empty") for name in builder_types()),
    "add": ((trial, "fill_index"), (trial, "write_index"), (trial, "_write_refine")),
    "tune": ((trial, "_tuned"),),
    "judge": ((training_reuse, "judge_training"), (training_reuse, "near_enough")),
    "prove": ((build, "_measured"),),
    "time": ((build, "_times"), (build, "clocked")),
    "store": ((index_files, "commit"),),
}


def config_of(shape: Shape, catalog: Path, store: Path) -> Config:
    """Titles alone, one partition for each shelf."""
    settings = [
        f"catalog.path={catalog}",
        f"store.path={store}",
        "catalog.text=[title]",
        "catalog.attributes=[title]",
        "catalog.partition=shelf",
        f"catalog.max_partitions={shape.partitions}",
        "catalog.image=null",
        "encoders.image=null",
        f"encoders.text={{type: hashed_text, dim: {shape.dim}}}",
        f"index.large={shape.large}",
        "gates.min_recall=0",
    ]
    return load_config(None, settings, {}).config


def write_catalog(shape: Shape, path: Path, changed: int | None) -> None:
    """Demo titles on shelves in turn; of every `changed` rows one has another title."""
    rows = np.arange(shape.partitions * shape.rows)
    table = product_rows(7, rows).select(["id", "title"])
    if changed is not None:
        titles = np.array(table.column("title").to_pylist(), dtype=object)
        titles[::changed] = [f"{title}, new" for title in titles[::changed]]
        table = table.set_column(1, "title", pa.array(titles.tolist(), pa.string()))
    shelves = [f"shelf {row % shape.partitions}" for row in rows]
    pq.write_table(table.append_column("shelf", pa.array(shelves)), path, row_group_size=32_768)


def build_anew(shape: Shape, catalog: Path, store: Path) -> dict[str, float]:
    """Figures of the build step alone, of the shards of the published snapshot."""
    logging.disable(logging.WARNING)
    config, opened = config_of(shape, catalog, store), Store.at(str(store))
    _, manifest = opened.published()
    parent = opened.manifest(manifest.parent) if manifest.parent else None
    held = {entry.index.name for entry in parent.partitions} if parent else set[str]()
    for entry in manifest.partitions:
        if entry.index.name not in held:
            opened.remove(f"indexes/{entry.index.name}")
    execution = Execution(
        run="benchmark",
        beam_arguments=(),
        progress=None,
        workers=1,
        photo_threads=1,
        builds=1,
        build_threads=1,  # whose functions are clocked by the thread
        part_rows=config.run.part_rows,
        memory=None,
        stall_minutes=None,
    )
    return here(lambda: build_indexes(opened, config.settings.indexing, manifest.shards, parent, execution))


def _run(shape: Shape, catalog: Path, store: Path) -> None:
    logging.disable(logging.WARNING)
    run(Request(config_of(shape, catalog, store)))


def _prepare(shape: Shape, folder: Path) -> None:
    """A store whose published snapshot is what is built again."""
    for changed in [None, _CHANGED] if shape.again else [None]:
        write_catalog(shape, folder / "catalog.parquet", changed)
        _run(shape, folder / "catalog.parquet", folder / "store")


def one(name: str, folder: Path) -> None:
    """One measurement, printed as JSON."""
    steps = Steps()
    figures = build_anew(SHAPES[name], folder / "catalog.parquet", folder / "store")
    print(json.dumps({**figures, **steps.seconds}))


class Steps:
    """CPU seconds of the build's own functions, by what they do; of a step within another, only in its own."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STEPS, 0.0)
        self._inner = threading.local()
        for step, functions in STEPS.items():
            for module, name in functions:
                setattr(module, name, self._clocked(getattr(module, name), step))

    def _clocked(self, function: Callable[..., Any], step: str) -> Callable[..., Any]:
        def clocked(*words: Any, **named: Any) -> Any:
            outer, started = getattr(self._inner, "seconds", 0.0), time.thread_time()
            self._inner.seconds = 0.0
            try:
                return function(*words, **named)
            finally:
                spent = time.thread_time() - started
                self.seconds[step] += spent - self._inner.seconds
                self._inner.seconds = outer + spent

        return clocked


def main() -> None:
    """Measure each shape and publish the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given.one[0], Path(given.one[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        folders = {name: Path(folder) / name for name in given.shapes}
        for name, path in folders.items():
            path.mkdir()
            _prepare(SHAPES[name], path)
        variants = {name: partial(apart, __file__, "--one", name, str(path)) for name, path in folders.items()}
        figures = interleaved(variants, given.repeats)
    publish(
        "builds",
        "What the build step costs",
        f"python benchmarks/builds.py --shapes {' '.join(given.shapes)} --repeats {given.repeats}",
        ["shape", "partitions x rows", "dim", "CPU s", "each", "of the full build", *STEPS, "other"],
        [_shown(name, figures) for name in given.shapes],
        "Titles alone, `hashed_text`. `again` is the night after, with 1% of the titles changed: `index.retrain: auto` "
        "takes the training of the night before. `queries` are held-out rows and texts with their true answers, `time` "
        "is what a query takes, one at a time; `other` is Beam, its imports, and the task files. Medians of "
        "interleaved runs.",
    )


def _shown(name: str, figures: Mapping[str, Mapping[str, float]]) -> list[str]:
    shape, found = SHAPES[name], figures[name]
    first = name.removesuffix("-again")
    share = f"{found['cpu_s'] / figures[first]['cpu_s']:.0%}" if shape.again and first in figures else ""
    steps = [found[step] for step in STEPS]
    seconds = [found["cpu_s"], found["cpu_s"] / shape.partitions]
    figures_of_steps = [f"{one:.2f}" for one in [*steps, found["cpu_s"] - sum(steps)]]
    return [name, str(shape), str(shape.dim), *(f"{one:.3f}" for one in seconds), share, *figures_of_steps]


if __name__ == "__main__":
    main()
