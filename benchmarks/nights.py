"""What a night costs on which something changed: encoder calls, and CPU seconds beside those of the full run.

    python benchmarks/nights.py [--products 20000] [--config configs/demo.yaml] [--large]

A demo catalog is indexed once; then each night starts from that store. Steps are in CPU seconds of the run's process,
imports left out. `--large` adds a night of 200,000 products without photos on which nothing changed. The page that
it writes is `nights.md` of the benchmarks.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from measure import apart, publish

from pipeline.config.load import load_config
from pipeline.demo.catalog import DemoOptions, write_demo_catalog
from pipeline.report import run_report
from pipeline.run import Request, run

COLUMNS = ["night", "texts encoded", "photos encoded", "units skipped", "indexes that stood"]
COLUMNS += ["reuse CPU s", "embed CPU s", "of the full run's", "build CPU s", "of the full run's", "all CPU s"]
Change = Callable[[pa.Table, Path], pa.Table]
ONE_IN = 100  # rows that change


def titles(table: pa.Table, root: Path) -> pa.Table:
    """1% of the titles."""
    old = table.column("title").to_pylist()
    return _with(table, "title", [f"new {one}" if n % ONE_IN == 50 else one for n, one in enumerate(old)])


def photos(table: pa.Table, root: Path) -> pa.Table:
    """1% of the photos."""
    links = table.column("image_link").to_pylist()
    (root / "photos" / "new").mkdir(exist_ok=True)
    for n in range(50, len(links), ONE_IN):
        shutil.copyfile(root / links[n - 1], root / "photos" / "new" / f"{n}.jpg")
        links[n] = f"photos/new/{n}.jpg"
    return _with(table, "image_link", links)


def prices(table: pa.Table, root: Path) -> pa.Table:
    """All prices."""
    return _with(table, "price", [price + 1 for price in table.column("price").to_pylist()])


def deletion(table: pa.Table, root: Path) -> pa.Table:
    """The first row is gone."""
    return table.slice(1)


def shuffle(table: pa.Table, root: Path) -> pa.Table:
    """Rows in another order."""
    return table.take(random.Random(0).sample(range(len(table)), len(table)))


def ids(table: pa.Table, root: Path) -> pa.Table:
    """Every id."""
    return _with(table, "id", [f"new-{name}" for name in table.column("id").to_pylist()])


def moves(table: pa.Table, root: Path) -> pa.Table:
    """1% of the products in another category."""
    kinds = table.column("product_type").to_pylist()
    return _with(table, "product_type", [kinds[n - 1] if n % ONE_IN == 50 else one for n, one in enumerate(kinds)])


def nothing(table: pa.Table, root: Path) -> pa.Table:
    """The catalog as it was."""
    return table


NIGHTS: dict[str, tuple[Change, int, tuple[str, ...]]] = {
    "nothing changed": (nothing, 1000, ()),
    "1% of titles": (titles, 1000, ()),
    "1% of photos": (photos, 1000, ()),
    "all prices": (prices, 1000, ()),
    "other row groups": (nothing, 900, ()),
    "first row deleted": (deletion, 1000, ()),
    "rows shuffled": (shuffle, 1000, ()),
    "ids renamed": (ids, 1000, ()),
    "1% moved to another category": (moves, 1000, ()),
    "fusion weight": (nothing, 1000, ("fusion.text_weight=0.4",)),
    "towers off": (nothing, 1000, ("shards.towers=false",)),
    "text encoder changed": (nothing, 1000, ("encoders.text={type: hashed_text}", "fusion={type: concat}")),
}


def one(settings: Sequence[str]) -> None:
    """One run by these settings, in this process: steps in CPU seconds and counts, printed as JSON."""
    logging.disable(logging.WARNING)
    config = load_config(settings[0], list(settings[1:]), {}).config
    run_report.time.perf_counter = time.process_time  # type: ignore[assignment]
    started = time.process_time()
    report = run(Request(config))
    found = {f"{step.name}_s": step.seconds for step in report.steps}
    counts = ("texts_encoded", "photos_encoded", "units_reused", "units", "indexes_reused")
    print(json.dumps({"cpu_s": time.process_time() - started, **found, **{n: getattr(report, n) for n in counts}}))


def night(config: str, folder: Path, change: Change, rows: int, more: Sequence[str]) -> dict[str, float]:
    """The catalog changed, and run against a copy of the store of before."""
    catalog, store = folder / "changed", folder / "night"
    shutil.rmtree(store, ignore_errors=True)
    if (folder / "store").exists():
        shutil.copytree(folder / "store", store)
    catalog.mkdir(exist_ok=True)
    table = change(pq.read_table(folder / "catalog"), folder)
    pq.write_table(table, catalog / "part.parquet", row_group_size=rows, write_page_checksum=True)
    loose = ("gates.max_row_drop=1", "gates.max_missing_shift=1")
    return apart(__file__, "--one", config, f"catalog.path={catalog}", f"store.path={store}", *more, *loose)


def _with(table: pa.Table, name: str, values: Sequence[object]) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, name, pa.array(values, table.schema.field(name).type))


def _row(name: str, found: dict[str, float], full: dict[str, float]) -> list[str]:
    embed, build = (found[step] + found.get(more, 0) for step, more in (("embed_s", "measure_s"), ("build_s", "")))
    whole = full["embed_s"] + full.get("measure_s", 0)
    counts = [f"{found[name]:,.0f}" for name in ("texts_encoded", "photos_encoded", "units_reused", "indexes_reused")]
    shares = [f"{embed:.2f}", f"{embed / whole:.1%}", f"{build:.2f}", f"{build / full['build_s']:.1%}"]
    return [name, *counts, f"{found['reuse_s']:.2f}", *shares, f"{found['cpu_s']:.2f}"]


def main() -> None:
    """Measure all nights."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--products", type=int, default=20_000)
    parser.add_argument("--config", default="configs/demo.yaml")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--one", nargs="+")
    options = parser.parse_args()
    if options.one:
        one(options.one)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "demo"
        write_demo_catalog(folder, DemoOptions(products=options.products))
        where = (f"catalog.image_root={folder}", "run.workers=2")
        full = night(options.config, folder, nothing, 1000, where)
        (folder / "night").rename(folder / "store")
        rows = [_row("full run", full, full)]
        for name, (change, group, more) in NIGHTS.items():
            rows.append(_row(name, night(options.config, folder, change, group, (*where, *more)), full))
            print(rows[-1], flush=True)
        if options.large:
            rows += large(Path(scratch) / "large")
    publish("nights", "Nights on which something changed", "python benchmarks/nights.py", COLUMNS, rows, NOTES)


def large(folder: Path) -> list[list[str]]:
    """200,000 products of texts, and a night on which none of them changed."""
    write_demo_catalog(folder, DemoOptions(products=200_000, photos="none"))
    more = ("catalog.image=null", "encoders.image=null", "encoders.text={type: hashed_text, dim: 256}")
    more += ("fusion={type: single}",)
    full = night("configs/weightless.yaml", folder, nothing, 1000, more)
    (folder / "night").rename(folder / "store")
    again = night("configs/weightless.yaml", folder, nothing, 1000, more)
    return [_row("200,000 texts, full run", full, full), _row("200,000 texts, nothing changed", again, full)]


NOTES = """
Encoded are products whose text, or whose photos, entered an encoder for the index; queries with which indexes and what
stands in for a missing photo are measured are encoded beside, and stand in `build` and `embed`.
"""

if __name__ == "__main__":
    main()
