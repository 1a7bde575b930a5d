"""What reading, cleaning, fingerprinting and writing cost, without encoding: through Beam, in a plain loop, and bare.

    python benchmarks/read_write.py [--rows 1000000] [--repeats 3]

- bare: pyarrow reads the same row groups and writes the same columns; nothing is looked at on the way.
- loop: Vitrine's own functions in a `for` loop, one unit after the other.
- beam: the pipeline that `vitrine run` executes, on the local runner.

The encoder is a table of ready-made vectors, so that none of the three encodes.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measure import apart, here, interleaved, publish

import encoders.base
from encoders.base import Role, TextEncoder
from foundation.arrays import Vectors
from pipeline.catalog.stage_columns import naming
from pipeline.config.encoding import encoding_identity, photo_limits, tower_dims
from pipeline.config.load import Config, load_config
from pipeline.demo.catalog import DemoOptions, write_demo_catalog
from pipeline.embed.earlier.earlier_vectors import offer_vectors
from pipeline.embed.earlier.reuse import empty_vectors
from pipeline.embed.encode import encode_photos, encode_texts
from pipeline.embed.fingerprinted_units import read_fingerprinted
from pipeline.embed.fingerprints import shard_name, stamp_photos
from pipeline.embed.fuse import fuse
from pipeline.embed.shard_files import write_unit
from pipeline.embed.stage import embed
from pipeline.embed.transforms import Store
from pipeline.embed.tries import add_photo_states
from pipeline.engine.execution import Execution
from pipeline.plan.units import make_plan

DIM = 64
COLUMNS = ["id", "title", "title_zh", "description", "description_zh", "product_type", "price"]


class Ready(TextEncoder):
    """Hands out ready-made unit vectors."""

    dim = DIM

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        vectors = rng.standard_normal((self.micro_batch, DIM)).astype(np.float32)
        self.vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def forward(self, texts: Sequence[str], role: Role) -> Vectors:
        """As many vectors as texts, whatever they say."""
        return self.vectors[: len(texts)]


def config_of(catalog: Path, store: Path) -> Config:
    """A text-only config over the demo catalog."""
    settings = [
        f"catalog.path={catalog}",
        f"store.path={store}",
        "catalog.text=[title, title_zh, description, description_zh]",
        "catalog.attributes=[title, price]",
        "catalog.partition=product_type",
        "catalog.image=null",
        "encoders.image=null",
        f"encoders.text={{type: hashed_text, dim: {DIM}}}",
    ]
    return load_config(None, settings, {}).config


def bare(config: Config, store: Store) -> None:
    """Read and write, nothing else."""
    vectors = np.zeros((20_000, DIM), dtype=np.float32) + 0.125
    for unit in make_plan(config.settings.embedding, config.gates).units:
        with pq.ParquetFile(unit.path) as file:
            groups = list(range(unit.first_group, unit.end_group))
            table = file.read_row_groups(groups, columns=COLUMNS, use_threads=False)
        values = pa.FixedSizeListArray.from_arrays(pa.array(vectors[: len(table)].reshape(-1)), DIM)
        halves = pa.array(list(vectors[: len(table)].astype(np.float16).view(f"S{2 * DIM}")[:, 0]), pa.binary(2 * DIM))
        out = table.select(["id", "title", "price", "product_type"])
        out = out.append_column("text_vector", halves).append_column("embedding", values)
        target = store.backend.local(f"runs/{unit.number}.parquet")
        pq.write_table(out, target, compression="zstd", write_page_checksum=True)


def loop(config: Config, store: Store) -> None:
    """Vitrine's functions, unit by unit."""
    embedding = config.settings.embedding
    encoder, fusion, dims = Ready(), config.fusion.load(*tower_dims(embedding)), tower_dims(embedding)
    pool, limits = ThreadPoolExecutor(1), photo_limits(config.catalog)
    for unit in make_plan(config.settings.embedding, config.gates).units:
        table = read_fingerprinted(unit, embedding, "")
        name = shard_name(encoding_identity(embedding), naming(table))
        table = empty_vectors(stamp_photos(add_photo_states(table, embedding, "")), *dims)
        table = encode_photos(encode_texts(table, encoder).table, None, "", limits, pool).table
        write_unit(store, name, fuse(table, fusion, *dims), embedding)


def beam(config: Config, store: Store) -> None:
    """The embed step of a run."""
    spec = config.encoders.text
    assert spec is not None
    encoders.base._loaded[spec.identity, "cpu"] = Ready()
    embedding = config.settings.embedding
    limits = config.run  # not by way of the forecast, which imports FAISS
    execution = Execution(
        run="benchmark",
        beam_arguments=("--direct_num_workers=1",),
        progress=None,
        workers=1,
        photo_threads=limits.photo_threads,
        builds=1,
        build_threads=None,
        part_rows=limits.part_rows,
        memory=None,
        stall_minutes=None,
    )
    earlier = offer_vectors(store, embedding, "parts/benchmark", [], None).path
    embed(store, embedding, make_plan(embedding, config.gates), execution, earlier)


def one(variant: str, catalog: Path) -> None:
    """One measurement, printed as JSON."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        config = config_of(catalog, Path(folder) / "store")
        store = Store.create(config.store.path)
        work = {"bare": bare, "loop": loop, "beam": beam}[variant]
        print(json.dumps(here(lambda: work(config, store))))


def main() -> None:
    """Measure the three in turn and publish the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given.one[0], Path(given.one[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        demo = Path(folder) / "demo"
        write_demo_catalog(demo, DemoOptions(products=given.rows, photos="none", row_group_rows=10_000))
        names = ("bare", "loop", "beam")
        variants = {name: lambda name=name: apart(__file__, "--one", name, str(demo / "catalog")) for name in names}
        figures = interleaved(variants, given.repeats)
    base, plain = figures["bare"]["cpu_s"], figures["loop"]["cpu_s"]
    rows = [
        [name, f"{f['cpu_s']:.2f}", f"{f['cpu_s'] / base:.2f}", f"{f['cpu_s'] / plain:.2f}", f"{f['peak_mb']:.0f}"]
        for name, f in figures.items()
    ]
    publish(
        "read_write",
        "Reading to writing, without encoding",
        f"python benchmarks/read_write.py --rows {given.rows} --repeats {given.repeats}",
        ["variant", "CPU s", "ratio to bare", "ratio to loop", "peak MB"],
        rows,
        f"{given.rows:,} rows with four text columns; medians of {given.repeats} interleaved runs. `loop` and `beam` "
        "also clean four texts, fingerprint, hash, sort, check and digest every row; `bare` does none of that. "
        "`beam` to `loop` is what the runner costs.",
    )


if __name__ == "__main__":
    main()
