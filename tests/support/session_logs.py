"""Logs of sessions on the demo catalog: shoppers of one colour look at products, then search for a kind."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.demo.products import looks
from pipeline.demo.words import KIND_WORDS

LAST_DAY = datetime.date(2026, 11, 30)


def write_sessions(
    path: Path,
    demo: Path,
    sessions: int = 60,
    days: int = 10,
    taste: bool = True,
    queries: bool = True,
    seed: int = 5,
    **more: Sequence[Any],
) -> Path:
    """A log of so many sessions over the `days` up to LAST_DAY, drawn by the seed: three products of a colour, or of
    any without `taste`, then one that is searched for by its kind; `more` rows are put behind it.
    """
    ids = pq.read_table(demo / "catalog", columns=["id"])["id"].to_pylist()
    shown = looks(7, np.arange(len(ids), dtype=np.int64))
    draw = np.random.default_rng(seed)
    rows: dict[str, list[Any]] = {"session": [], "id": [], "day": [], "query": []}
    for number in range(sessions):
        last = int(draw.integers(len(ids)))
        alike = [at for at, one in enumerate(shown) if not taste or one.colour == shown[last].colour]
        looked_at = [ids[int(draw.choice(alike))] for _ in range(3)]
        rows["session"] += [number] * 4
        rows["id"] += [*looked_at, ids[last]]
        rows["day"] += [LAST_DAY - datetime.timedelta(days=number % days)] * 4
        rows["query"] += [None, None, None, KIND_WORDS[shown[last].kind].nouns[0][0] if queries else None]
    columns = {name: [*column, *more.get(name, ())] for name, column in rows.items()}
    pq.write_table(pa.table({**columns, "query": pa.array(columns["query"], pa.string())}), path)
    return path
