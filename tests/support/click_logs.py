"""Click logs of the demo catalog: shoppers ask for a kind and a colour, and choose products that are of both."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.demo.products import looks

LAST_DAY = datetime.date(2026, 11, 30)


def write_clicks(
    path: Path, demo: Path, days: int = 4, clicks: int = 300, seed: int = 5, **more: Sequence[Any]
) -> Path:
    """A log of `clicks` rows over the `days` up to LAST_DAY, drawn by the seed; `more` rows are put behind it."""
    ids = pq.read_table(demo / "catalog", columns=["id"])["id"].to_pylist()
    shown = looks(7, np.arange(len(ids), dtype=np.int64))
    alike: dict[str, list[str]] = {}
    for one, look in zip(ids, shown, strict=True):
        alike.setdefault(f"{look.colour} {look.kind}", []).append(one)
    draw = np.random.default_rng(seed)
    queries = sorted(alike)
    rows: dict[str, list[Any]] = {"query": [], "id": [], "gain": [], "day": []}
    for _ in range(clicks):
        query = queries[int(draw.integers(len(queries)))]
        rows["query"].append(query)
        rows["id"].append(alike[query][int(draw.integers(len(alike[query])))])
        rows["gain"].append(float(draw.integers(1, 4)))
        rows["day"].append(LAST_DAY - datetime.timedelta(days=int(draw.integers(days))))
    pq.write_table(pa.table({name: [*column, *more.get(name, ())] for name, column in rows.items()}), path)
    return path
