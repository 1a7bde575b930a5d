"""What a night costs on which something changed: encoder calls, and CPU seconds beside those of the full run.

    python benchmarks/nights.py [--products 20000] [--config configs/demo.yaml] [--large]

A demo catalog is indexed once; then each night starts from that store. Steps are in CPU seconds of the run's process,
what it imports first left out. `--large` adds nights of 200,000 products without photos, each with a title of its own,
in exact indexes. The page that it writes is `nights.md` of the benchmarks, with the goals that are met and missed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from measure import apart, publish

from pipeline.config.load import load_config
from pipeline.demo.catalog import DemoOptions, write_demo_catalog
from pipeline.embed import transforms
from pipeline.report import run_report
from pipeline.run import Request, run

COLUMNS = ["night", "texts encoded", "photos encoded", "units skipped", "indexes that stood"]
COLUMNS += ["plan CPU s", "reuse CPU s", "embed CPU s", "of the full run's"]
COLUMNS += ["build CPU s", "of the full run's", "all CPU s"]
Change = Callable[[pa.Table, Path], pa.Table]
Figures = dict[str, dict[str, float]]  # night -> what was measured
ONE_IN = 100  # rows that change
LARGE = 200_000
# By the demo's network: 6 CPU s, once a process.
NETWORKS = ("torch", "transformers.models.siglip.modeling_siglip", "transformers.models.auto.modeling_auto")
IMPORTED = ("faiss", "jinja2", "prometheus_client", "numpy.ma", "numpy.random")  # by every run, sooner or later


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


def bytes_alone(table: pa.Table, root: Path) -> pa.Table:
    """The same rows in a file of other bytes."""
    return table.replace_schema_metadata({"exported": "again"})


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
ENCODED = {"1% of titles": (1 / ONE_IN, 0), "1% of photos": (0, 1 / ONE_IN), "text encoder changed": (1, 0)}  # of all
LARGE_NIGHTS: dict[str, Change] = {
    "nothing changed": nothing,
    "the same rows in other bytes": bytes_alone,
    "all prices": prices,
    "rows shuffled": shuffle,
}


def one(settings: Sequence[str]) -> None:
    """One run by these settings, in this process: steps in CPU seconds and counts, printed as JSON."""
    logging.disable(logging.WARNING)
    for name in IMPORTED:
        importlib.import_module(name)
    config = load_config(settings[0], list(settings[1:]), {}).config
    if config.settings.embedding.encoders.networks_on_cpu:
        for name in NETWORKS:
            importlib.import_module(name)
    run_report.time.perf_counter = time.process_time  # type: ignore[assignment]
    copying, fill = [0.0], transforms.fill_vectors

    def timed(*arguments: Any) -> Any:
        began = time.thread_time()
        try:
            return fill(*arguments)
        finally:
            copying[0] += time.thread_time() - began

    transforms.fill_vectors = timed  # type: ignore[assignment]
    started = time.process_time()
    report = run(Request(config))
    found = {f"{step.name}_s": step.seconds for step in report.steps} | {"copying_s": copying[0]}
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


def large(folder: Path) -> Figures:
    """Nights of 200,000 texts, the full run first."""
    write_demo_catalog(folder, DemoOptions(products=LARGE, photos="none"))
    table = pq.read_table(folder / "catalog")
    shutil.rmtree(folder / "catalog")
    (folder / "catalog").mkdir()
    titles = [f"{title} {n}" for n, title in enumerate(table.column("title").to_pylist())]
    pq.write_table(_with(table, "title", titles), folder / "catalog" / "part.parquet")
    more = ("catalog.image=null", "catalog.image_root=null", "catalog.attributes=[title,price]", "encoders.image=null")
    more += ("encoders.text={type: hashed_text, dim: 256}", "fusion={type: single}", f"index.exact_below={LARGE}")
    figures = {"full run": night("configs/weightless.yaml", folder, nothing, 1000, more)}
    (folder / "night").rename(folder / "store")
    for name, change in LARGE_NIGHTS.items():
        figures[name] = night("configs/weightless.yaml", folder, change, 1000, more)
        print(name, figures[name], flush=True)
    return figures


def goals(figures: Figures, products: int) -> list[tuple[bool, str]]:
    """What the nights of the demo's catalog shall cost, and whether they do."""
    found = list[tuple[bool, str]]()
    for name in NIGHTS:
        wanted = [round(share * products) for share in ENCODED.get(name, (0, 0))]
        came = [figures[name][f"{tower}_encoded"] for tower in ("texts", "photos")]
        found.append((wanted == came, f"{name}: {wanted[0]:,} texts and {wanted[1]:,} photos enter an encoder"))
    for name in ("1% of titles", "1% of photos"):
        share = _embed(figures[name]) / _embed(figures["full run"])
        found.append((share <= 0.05, f"{name}: 5% of the embed step of the full run at most: {share:.1%}"))
    return found


def large_goals(figures: Figures) -> list[tuple[bool, str]]:
    """The same of 200,000 texts."""
    still, other = figures["nothing changed"]["cpu_s"], figures["the same rows in other bytes"]["cpu_s"]
    each = {name: 1e6 * _embed(one) / LARGE for name, one in figures.items()}
    copied, unmoved = (1e6 * figures[name]["copying_s"] / LARGE for name in ("rows shuffled", "all prices"))
    told = (
        f"{LARGE:,} texts, rows shuffled: 5 us a row at most to look vectors up and copy them: {copied:.1f}; where no "
        f"row moved {unmoved:.1f} (embed step: {each['rows shuffled']:.0f} us a row, of which "
        f"{each['the same rows in other bytes']:.0f} are reading, cleaning, fingerprints and Beam; "
        f"of the full run {each['full run']:.0f})"
    )
    quick = f"{LARGE:,} texts, nothing changed: 2 CPU s at most: {still:.2f} ({other:.2f} in other bytes)"
    return [(still <= 2, quick), (copied <= 5, told)]


def main() -> None:
    """Measure all nights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=20_000)
    parser.add_argument("--config", default="configs/demo.yaml")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given.one)
        return
    with tempfile.TemporaryDirectory() as scratch:
        figures = measured(Path(scratch) / "demo", given.config, given.products)
        rows, reached = _rows(f"{given.products:,} products", figures), goals(figures, given.products)
        if given.large:
            figures = large(Path(scratch) / "large")
            rows, reached = rows + _rows(f"{LARGE:,} texts", figures), reached + large_goals(figures)
    command = f"python benchmarks/nights.py --products {given.products} --config {given.config}"
    command += " --large" * given.large
    said = "\n".join(f"- {'met' if met else 'missed'}: {what}" for met, what in reached)
    publish("nights", "Nights on which something changed", command, COLUMNS, rows, f"{NOTES}\n## Goals\n\n{said}")


def measured(folder: Path, config: str, products: int) -> Figures:
    """Nights of the demo's catalog, the full run first."""
    write_demo_catalog(folder, DemoOptions(products=products))
    where = (f"catalog.image_root={folder}", "run.workers=2")
    figures = {"full run": night(config, folder, nothing, 1000, where)}
    (folder / "night").rename(folder / "store")
    for name, (change, group, more) in NIGHTS.items():
        figures[name] = night(config, folder, change, group, (*where, *more))
        print(name, figures[name], flush=True)
    return figures


def _with(table: pa.Table, name: str, values: Sequence[object]) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, name, pa.array(values, table.schema.field(name).type))


def _embed(found: dict[str, float]) -> float:
    """CPU seconds of the embed step, and of measuring what stands in for a missing modality."""
    return found["embed_s"] + found.get("measure_s", 0)


def _rows(what: str, figures: Figures) -> list[list[str]]:
    full = figures["full run"]
    return [[f"{what}, {name}", *_row(found, full)] for name, found in figures.items()]


def _row(found: dict[str, float], full: dict[str, float]) -> list[str]:
    embed, build = _embed(found), found["build_s"]
    counts = [f"{found[name]:,.0f}" for name in ("texts_encoded", "photos_encoded", "units_reused", "indexes_reused")]
    shares = [f"{embed:.2f}", f"{embed / _embed(full):.1%}", f"{build:.2f}", f"{build / full['build_s']:.1%}"]
    return [*counts, f"{found['plan_s']:.2f}", f"{found['reuse_s']:.2f}", *shares, f"{found['cpu_s']:.2f}"]


NOTES = """
Encoded are products whose text, or whose photos, entered an encoder for the index; queries with which indexes and what
stands in for a missing photo are measured are encoded beside, and stand in `build`, `embed` and the last column. The
imports of torch and transformers, 5 to 6 CPU s in a process that encodes anything, are left out. `towers off` copies
what the shards of before have; the night after it has nothing to copy. Nothing changed: the catalog is exported again,
byte for byte as it was. Where it has photos, its rows are read all the same, because a photo may be another one under
the same name.
"""

if __name__ == "__main__":
    main()
