"""A drawn catalog whose titles tie, and queries of which one product is right: by its rating, or by chance."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.command import run_titles, write_titles

COLOURS = ("red", "blue", "green", "grey", "black", "white", "brown", "orange")
KINDS = ("lamp", "coat", "chair", "kettle", "boot")
LIKE = 6  # products of a colour and a kind
ATTRIBUTES = "catalog.attributes=[title,rating,price,added,stars]"
PAIRS = list(itertools.product(COLOURS, KINDS))
TITLES = [f"{colour} {kind}" for colour, kind in PAIRS for _ in range(LIKE)]


def ratings(seed: int = 3) -> list[float | None]:
    """Of each product; one in ten has none."""
    drawn = np.random.default_rng(seed).permutation(len(TITLES)) / len(TITLES) * 4 + 1
    return [None if n % 10 == 7 else round(float(one), 4) for n, one in enumerate(drawn)]


def publish(folder: Path, *more: str, store: str = "store") -> Any:
    """A run of the drawn catalog, with ratings as numbers and as text."""
    rated = ratings()
    columns: dict[str, Any] = {
        "rating": pa.array(rated, pa.float64()),
        "price": [f"{1 + n % 17}.50 EUR" for n in range(len(TITLES))],
        "added": pa.array([20_000 + n % 90 for n in range(len(TITLES))], pa.date32()),
        "stars": pa.array([None if one is None else str(one) for one in rated], pa.string()),
    }
    catalog = write_titles(folder / "c.parquet", TITLES, row_group_rows=60, **columns)
    return run_titles(catalog, folder / store, ATTRIBUTES, "catalog.prices=[price,stars]", "shards.unit_rows=60", *more)


def judge(folder: Path, right: Sequence[int], name: str = "judged") -> list[Path]:
    """A query for each colour and kind, of which the product `right` says, a number below LIKE, is the relevant one."""
    queries = [{"query_id": f"{colour}-{kind}", "text": f"{colour} {kind}"} for colour, kind in PAIRS]
    gains = [
        {"query_id": one["query_id"], "id": f"P{at * LIKE + chosen}", "gain": 1}
        for at, (one, chosen) in enumerate(zip(queries, right, strict=True))
    ]
    return write_judged(folder, queries, gains, name)


def write_judged(folder: Path, queries: Sequence[Any], gains: Sequence[Any], name: str = "judged") -> list[Path]:
    """The two files of judged queries."""
    paths = [folder / f"{name}-{kind}.parquet" for kind in ("queries", "qrels")]
    for path, rows in zip(paths, (queries, gains), strict=True):
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return paths


def best_rated() -> list[int]:
    """Of each colour and kind the product with the best rating."""
    rated = np.array([-1.0 if one is None else one for one in ratings()]).reshape(-1, LIKE)
    return [int(one) for one in rated.argmax(axis=1)]


def drawn(seed: int = 5) -> list[int]:
    """Of each colour and kind any product."""
    return [int(one) for one in np.random.default_rng(seed).integers(0, LIKE, len(PAIRS))]
