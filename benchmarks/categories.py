"""What it gains and loses to search the likely categories alone: a drawn catalog of many, whose words overlap.

python benchmarks/categories.py --categories 256 --rows 200 --folder /tmp/categories
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import lookup
from lookup.query import Query
from pipeline import run as stages
from pipeline.config.load import load_config

_SETTINGS = (
    *("catalog.image_root=null", "catalog.image=null", "catalog.text=[title]", "catalog.partition=kind"),
    *("catalog.attributes=[title]", "encoders.image=null", "encoders.text.dim=256"),
    "search.understand.categories=auto",
)


def write_catalog(path: Path, categories: int, rows: int, seed: int) -> list[str]:
    """Write `rows` titles of each category: three of its own 24 words, which some three categories have, and two of
    200 that all have; a query for each category, of two words of one of its titles.
    """
    rng = np.random.default_rng(seed)
    words = np.array(["".join(rng.choice(list("abcdefghiklmnoprstuw"), 6)) for _ in range(8 * categories)])
    common = np.array(["".join(rng.choice(list("abcdefghiklmnoprstuw"), 5)) for _ in range(200)])
    titles, kinds, queries = list[str](), list[str](), list[str]()
    for kind in range(categories):
        own = rng.choice(words, 24, replace=False)
        for row in range(rows):
            title = [*rng.choice(own, 3, replace=False), *rng.choice(common, 2)]
            titles.append(" ".join(title))
            kinds.append(f"kind{kind:03d}")
            if row == 0:
                queries.append(" ".join(title[:2]))
    ids = [f"P{number}" for number in range(len(titles))]
    pq.write_table(pa.table({"id": ids, "title": titles, "kind": kinds}), path, row_group_size=8192)
    return queries


def main() -> None:
    """Run the catalog, ask short queries with all categories and with the likely ones, and print what differs."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--categories", type=int, default=256)
    asked.add_argument("--rows", type=int, default=200)
    asked.add_argument("--folder", type=Path, required=True)
    given = asked.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    queries = write_catalog(given.folder / "c.parquet", given.categories, given.rows, seed=1)
    where = (f"catalog.path={given.folder / 'c.parquet'}", f"store.path={given.folder / 'store'}")
    stages.run(stages.Request(load_config("configs/weightless.yaml", (*_SETTINGS, *where)).config))
    reader = lookup.open(str(given.folder / "store"))
    assert reader.manifest.understanding is not None
    print(reader.manifest.understanding.figures)
    hits, seconds = list[list[set[str]]](), list[list[float]]()
    for every in (True, False):
        found, took = [], []
        for query in [queries[0], *queries]:
            began = time.perf_counter()
            found.append({hit.id for hit in reader.answer(Query(query, all_categories=every))})
            took.append(time.perf_counter() - began)
        hits.append(found[1:])
        seconds.append(took[1:])
    kept = np.mean([len(one & other) / len(one) for one, other in zip(*hits, strict=True)])
    same = np.mean([one == other for one, other in zip(*hits, strict=True)])
    print(f"short queries: {kept:.3f} of the first 10 kept, {same:.3f} the same")
    print("p50 ms: all {:.1f}, likely {:.1f}".format(*(1000 * np.median(one) for one in seconds)))


if __name__ == "__main__":
    main()
