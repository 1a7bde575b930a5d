"""Rows into an index, and the index into a file: always the same bytes for the same rows.

All of it runs on one thread, see threads.py, and rows come in blocks of a fixed size.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt

from index_builders.compute import CPU, Compute
from index_builders.threads import threads

Vectors = npt.NDArray[np.float32]

_WRITE_BYTES = 1 << 20


def filled(index: faiss.Index, blocks: Iterable[Vectors], first: int = 0, compute: Compute = CPU) -> faiss.Index:
    """`index`, empty and trained, with the rows of `blocks`, (n, d) float32 `metric.stored` ones, in order.

    The first row is position `first` of the partition, which an index with lists keeps beside the row; `compute` finds
    the lists.
    """
    with threads(1), compute.adding(index):
        for xb in blocks:
            if faiss.try_extract_index_ivf(index) is None:
                index.add(xb)
            else:
                index.add_with_ids(xb, np.arange(first, first + len(xb)))
            first += len(xb)
    return index


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
