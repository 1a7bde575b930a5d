"""Searches of one set of queries in several indexes, with one thread: settings that reach a recall, and their speed.

A search is a function of a setting, in the words of `faiss.ParameterSpace` (`nprobe=16`), that returns CPU seconds and
the positions found, (nq, k); so an index may as well live in another process, with another FAISS.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import faiss
import numpy as np
from index_build import MADE_FILE
from vectors import IP, QUERIES, K, Vectors

from index_builders.base import BuilderSpec, builder_spec
from index_builders.measure.recall import HeldOut
from index_builders.measure.trial import Unmeasured
from index_builders.measure.tune import tune
from lookup.index.partition_index import IDS_FILE, INDEX_FILE, RANGE_FILE, REFINE_FILE, PartitionIndex

TARGETS = (0.90, 0.95)
Search = Callable[[str], tuple[float, np.ndarray]]
Ask = Callable[[], float]  # CPU seconds of all queries at one setting
Asks = Mapping[str, Ask | None]  # None: the index does not reach what the name says
Speed = tuple[float, float, float]  # least, median and most queries per second of CPU


def in_faiss(index: Any, queries: HeldOut) -> Search:
    """Search an index by FAISS alone."""

    def search(setting: str) -> tuple[float, np.ndarray]:
        faiss.ParameterSpace().set_index_parameters(index, setting)  # type: ignore[no-untyped-call]
        started = time.process_time()
        found = index.search(queries.xq, K)[1]
        return time.process_time() - started, found

    return search


def with_value(setting: str, value: int) -> str:
    """`setting` with another nprobe, and an efSearch (of a graph, or of the centroids') of as much; the rest stays."""
    return re.sub(r"(?<![_A-Za-z])(nprobe|efSearch)=\d+", rf"\1={value}", setting)


def fewest(search: Search, queries: HeldOut, setting: str, most: int, recall: float) -> str | None:
    """The least nprobe (or efSearch) that reaches recall@10 of `recall`, by halving; None where `most` does not."""

    def reaches(value: int) -> bool:
        return bool(queries.recalls(search(with_value(setting, value))[1]).mean() >= recall)

    if not reaches(most):
        return None
    low, high = 0, most
    while high - low > max(1, high // 32):  # to 3%
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return with_value(setting, high)


def targets(search: Search, queries: HeldOut, setting: str, most: int) -> dict[str, Ask | None]:
    """For each target a search at the least setting that reaches it."""
    asks: dict[str, Ask | None] = {}
    for target in TARGETS:
        found = fewest(search, queries, setting, most, target)
        asks[f"{target:.2f}"] = None if found is None else at(search, found)
    return asks


def at(search: Search, setting: str) -> Ask:
    """`search` at one setting."""
    return lambda: search(setting)[0]


def by_vitrine(vectors: Vectors, folder: Path) -> tuple[BuilderSpec, PartitionIndex]:
    """What index_build.py made in `folder`, opened as readers do, with the setting that was tuned."""
    made = json.loads((folder / MADE_FILE).read_text(encoding="utf-8"))
    names = {"index": INDEX_FILE, "ids": IDS_FILE, "refine": REFINE_FILE, "refine_range": RANGE_FILE}
    paths = {role: folder / name for role, name in names.items() if (folder / name).exists()}
    rows, dim = vectors.kept.rows.shape
    record = Unmeasured(str(folder), dim, rows, IP.value, made["nprobe"], made["refine_factor"])
    return builder_spec(made["spec"]), PartitionIndex.open(paths, record)


def tuned(spec: BuilderSpec, index: PartitionIndex, queries: HeldOut) -> dict[str, Ask | None]:
    """For each target a search at the cheapest setting that reaches it."""
    asks: dict[str, Ask | None] = {}
    for target in TARGETS:
        point = tune(index, spec, queries, target).point
        asked = replace(index, nprobe=point.nprobe, refine_factor=point.refine_factor)
        asks[f"{target:.2f}"] = batch(asked, queries) if point.recall >= target else None
    return asks


def batch(index: PartitionIndex, queries: HeldOut) -> Ask:
    """All queries at once, at the setting of `index`."""

    def ask() -> float:
        started = time.process_time()
        index.search(queries.xq, K)
        return time.process_time() - started

    return ask


def recall_of(index: PartitionIndex, queries: HeldOut) -> float:
    """recall@10 at the setting of `index`."""
    return float(queries.recalls(index.search(queries.xq, K)[1]).mean())


def interleaved(all_asks: Sequence[Asks], repeats: int) -> list[dict[str, Speed | None]]:
    """The speed of each ask of each entry, A B C A B C; None where there is none."""
    times: list[dict[str, list[float]]] = [{name: [] for name in asks} for asks in all_asks]
    for _ in range(repeats):
        for asks, spent in zip(all_asks, times, strict=True):
            for name, ask in asks.items():
                if ask is not None:
                    spent[name].append(QUERIES / ask())
    return [{name: (min(s), median(s), max(s)) if s else None for name, s in spent.items()} for spent in times]


def words(speed: Speed | None) -> str:
    """A speed with its range for a table."""
    return "never" if speed is None else f"{speed[1]:,.0f} ({speed[0]:,.0f}-{speed[2]:,.0f})"
