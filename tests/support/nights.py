"""Runs of one night after the other on small catalogs of titles, and the index that each leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import Result

from lookup.store.entries.index_record import IndexRecord, Training
from tests.support.command import ANY_NIGHT, run_titles, write_titles
from tests.support.stores import manifest_of

WORDS = ("red", "blue", "green", "long", "short", "warm", "light", "soft", "dress", "coat", "shoe", "scarf", "hat")
OTHER = ("steel", "oak", "nine", "litre", "pan", "lid", "bolt", "rack", "lamp", "tile", "hose", "saw", "drill")
SMALL = ("index.exact_below=512", "index.held_out_queries=100", "gates.min_recall=0", *ANY_NIGHT)
AUTO = SMALL
LARGE = "index.large={type: ivf_sq8}"


def titles(rows: int, words: Sequence[str] = WORDS, first: int = 0) -> list[str]:
    """`rows` titles of four words and a number; row p is the same in every list of the same words and `first`."""
    rng = np.random.default_rng(first)
    return [" ".join(rng.choice(words, 4, replace=False)) + f" {first + number}" for number in range(rows)]


def night(folder: Path, rows: Sequence[str], *more: str, store: str = "store", **columns: Sequence[Any]) -> Result:
    """A run on a catalog of `rows`."""
    return run_titles(write_titles(folder / "c.parquet", rows, **columns), folder / store, *(more or (*AUTO, LARGE)))


def index_of(folder: Path, partition: int = 0) -> IndexRecord:
    """The index of a partition of the published snapshot."""
    return manifest_of(folder / "store").partitions[partition].index


def training_of(folder: Path) -> Training:
    """What the index of the only partition learned from."""
    training = index_of(folder).training
    assert training is not None
    return training


def last_run(folder: Path) -> Path:
    """What the last run left."""
    return sorted((folder / "store" / "runs").iterdir())[-1]


def file_of(folder: Path, store: str) -> Path:
    """The FAISS file of the only partition."""
    return folder / store / manifest_of(folder / store).partitions[0].index.files["index"].path
