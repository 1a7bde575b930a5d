"""Where the products of a build are computed: on the CPU, always the same way, or on a GPU that `index.device` names.

A GPU does the k-means of the coarse quantizer and finds the list of each row that is added; what is written, searched
and measured stays with the CPU. It rounds otherwise, so another device is another index. Before it is used it has to
cluster a few thousand rows as the CPU does: equal recall within half a point. If it does not, or there is none, that
is an error, never a build on the CPU.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from foundation.arrays import Vectors
from foundation.errors import InputError, VitrineError
from foundation.metric import Metric
from index_builders.devices import CPU_DEVICE
from index_builders.fill.threads import threads

_ROWS, _DIM, _LISTS, _ROUNDS = 8_192, 64, 64, 10  # of the self-test: a fifth of a second on the CPU
_QUERIES, _K, _NPROBE = 512, 10, 4
_RECALL = 0.005


class Compute:
    """The CPU."""

    def exact(self, dim: int, metric: Metric) -> faiss.Index:
        """An empty exact index: k-means compares rows with centroids by it."""
        return faiss.IndexFlat(dim, metric.faiss)

    @contextmanager
    def adding(self, index: faiss.Index) -> Iterator[None]:
        """While the body adds rows to `index`, the lists of rows are found here."""
        yield


@dataclass(frozen=True)
class Gpu(Compute):
    """A GPU of this machine. FAISS's own names, which the stubs and the package for the CPU lack."""

    number: int
    resources: Any

    def exact(self, dim: int, metric: Metric) -> faiss.Index:
        """See Compute.exact."""
        return self._here(faiss.IndexFlat(dim, metric.faiss))

    @contextmanager
    def adding(self, index: faiss.Index) -> Iterator[None]:
        """See Compute.adding."""
        ivf: Any = faiss.try_extract_index_ivf(index)
        if ivf is None:
            yield
            return
        held = ivf.quantizer
        there = self._here(held)  # kept alive here: the index does not own it
        ivf.quantizer = there
        try:
            yield
        finally:
            ivf.quantizer = held

    def _here(self, index: Any) -> faiss.Index:
        copied: faiss.Index = faiss.index_cpu_to_gpu(self.resources, self.number, index)
        return copied


CPU = Compute()


@functools.cache
def compute_of(device: str) -> Compute:
    """What `index.device` names, tried once in each process; InputError without a GPU, VitrineError where it errs."""
    if device == CPU_DEVICE:
        return CPU
    number = int(device.partition(":")[2] or 0)
    present = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0
    if number >= present:
        raise InputError(
            f"index.device={device}: a GPU that FAISS can use",
            f"{present} of them",
            "install the extra gpu or gpu-cu12, check the driver with nvidia-smi, or set index.device=cpu",
        )
    gpu = Gpu(number, faiss.StandardGpuResources())  # only in packages for GPUs
    _try(gpu, device)
    return gpu


def _try(gpu: Gpu, device: str) -> None:
    """VitrineError unless lists that the GPU trains and fills are searched with the recall of the CPU's."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((200, _DIM))
    x = (centres[rng.integers(0, 200, _ROWS)] + 0.5 * rng.standard_normal((_ROWS, _DIM))).astype(np.float32)
    truth = faiss.knn(x[:_QUERIES], x, _K, metric=faiss.METRIC_L2)[1]
    recalls = [_recall(compute, x, truth) for compute in (CPU, gpu)]
    if abs(recalls[0] - recalls[1]) > _RECALL:
        raise VitrineError(
            f"{device} to cluster as the CPU does: recall@{_K} of {recalls[0]:.4f} within {_RECALL:g}",
            f"{recalls[1]:.4f}",
            "check the driver and the card (`vitrine doctor --device`), or set index.device=cpu",
        )


def _recall(compute: Compute, x: Vectors, truth: npt.NDArray[np.int64]) -> float:
    clustering = faiss.Clustering(_DIM, _LISTS)
    clustering.niter, clustering.seed = _ROUNDS, 1234
    with threads(1):
        clustering.train(x, compute.exact(_DIM, Metric.L2))
        coarse = faiss.IndexFlat(_DIM, faiss.METRIC_L2)
        coarse.add(faiss.vector_to_array(clustering.centroids).reshape(_LISTS, _DIM))
        index = faiss.IndexIVFFlat(coarse, _DIM, _LISTS, faiss.METRIC_L2)
        with compute.adding(index):
            index.add(x)
        index.nprobe = _NPROBE
        found = index.search(x[: len(truth)], truth.shape[1])[1]
    same = [len(set(a) & set(b)) for a, b in zip(found.tolist(), truth.tolist(), strict=True)]
    return sum(same) / truth.size
