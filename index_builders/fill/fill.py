"""Rows into an index, and the index into a file: always the same bytes for the same rows.

All of it runs on one thread, see threads.py, and rows come in blocks of a fixed size.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from foundation.arrays import Vectors
from index_builders.base import BuilderSpec
from index_builders.fill.compute import CPU, Compute
from index_builders.fill.threads import threads

_WRITE_BYTES = 1 << 20


def finding_lists(spec: BuilderSpec, compute: Compute) -> Compute:
    """Where rows of an index of `spec` find their lists, of a build whose products are computed by `compute`."""
    return compute if spec.gpu_finds_lists else CPU


def fill_index(
    index: faiss.Index, blocks: Iterable[Vectors], first: int = 0, rows: int = 0, compute: Compute = CPU
) -> faiss.Index:
    """`index`, empty and trained, with the rows of `blocks`, (n, d) float32 `metric.stored` ones, in order.

    The first row is position `first` of the partition, which an index with lists keeps beside the row; `compute` finds
    the lists. Memory is spared where `rows` says how many will come.
    """
    _reserve(index, rows)
    with threads(1), compute.adding(index):
        for xb in blocks:
            if faiss.try_extract_index_ivf(index) is None:
                index.add(xb)
            else:
                index.add_with_ids(xb, np.arange(first, first + len(xb)))
            first += len(xb)
    return index


def _reserve(index: faiss.Index, rows: int) -> None:
    """Room for all `rows` of an index of whole vectors: one that grows block by block doubles, and while its vectors
    move it holds them twice (measured: 285 MB for 154 MB of vectors).
    """
    flat: Any = faiss.downcast_index(index.storage) if isinstance(index, faiss.IndexHNSW) else index
    if isinstance(flat, faiss.IndexFlat):
        flat.codes.resize(rows * flat.code_size)  # FAISS wraps no `reserve`
        flat.codes.resize(0)


def write_index(index: faiss.Index, path: Path) -> None:
    """Write through Python's file: FAISS's own writer says nothing when the disk fills at the end."""
    asked = 0

    def write(part: bytes) -> None:
        nonlocal asked
        asked += len(part)
        out.write(part)

    with path.open("wb") as out:
        faiss.write_index(index, faiss.PyCallbackIOWriter(write, _WRITE_BYTES))  # type: ignore[attr-defined]  # stubs lack it
    if path.stat().st_size != asked:
        raise OSError(f"{path} has {path.stat().st_size} bytes, {asked} were written")
