"""How a build uses several cores and still gives the same bytes: work in parts of a fixed size, one thread for each.

FAISS gives BLAS as many threads as it has, and BLAS rounds a product otherwise when it cuts the matrix otherwise
(measured: the same rotation of the same rows gave other bytes with 1 and 2 threads). So no call of a build runs on more
than one thread; calls run beside each other, and what comes of them is taken in order.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import faiss

Part = TypeVar("Part")
Result = TypeVar("Result")


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Let FAISS use `n` OpenMP threads for what the calling thread does inside; other threads keep their own number."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(n)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def fair_share(workers: int, most: int | None = None) -> int:
    """The threads of each of `workers` that build at once, so that together they use this machine's cores; or `most`.

    More threads than cores would only wait for each other.
    """
    cores: int = faiss.omp_get_max_threads()  # what the process may use, or OMP_NUM_THREADS
    share = max(1, cores // workers)
    return share if most is None else min(share, most)


def in_order(work: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[Result]:
    """`map(work, parts)` on as many threads as FAISS has here, each call on one; so many parts are held at a time."""
    at_once: int = faiss.omp_get_max_threads()

    def alone(part: Part) -> Result:
        with threads(1):
            return work(part)

    waiting = iter(parts)
    if at_once == 1:
        yield from map(alone, waiting)
        return
    with ThreadPoolExecutor(at_once) as pool:
        while some := list(itertools.islice(waiting, at_once)):
            yield from pool.map(alone, some)
