"""What index types learn from: random rows of a partition, and the centroids that types share.

Rotations keep lengths and angles, so that k-means of rotated rows is the rotated k-means of the rows: candidates that
rotate take the same centroids as those that do not, and a partition is clustered once, not once for each candidate.
Those that keep some directions only take what these centroids have of them.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field

import faiss
import numpy as np

from foundation.arrays import Vectors
from foundation.metric import Metric
from index_builders.fill.coarse import coarse_centroids
from index_builders.fill.compute import CPU, Compute
from index_builders.refusals import refuse_few

CODE_ROWS = 32_768  # 128 for each of 256 codewords; FAISS copies what codes are learned from up to three times


@dataclass(frozen=True)
class TrainingSet:
    """`xt` (nt, d) float32, `metric.stored` rows drawn at random, each vector once; clustered by `compute`.

    `drawn` is how many were drawn, equal ones too.
    """

    xt: Vectors
    metric: Metric
    compute: Compute = CPU
    drawn: int = 0
    _centroids: dict[tuple[int, int], Vectors] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)  # candidates on several threads ask at once

    def __len__(self) -> int:
        return len(self.xt)

    @property
    def dim(self) -> int:
        """Length of a row."""
        return int(self.xt.shape[1])

    def none(self) -> TrainingSet:
        """No rows, for a type that is not trained."""
        return TrainingSet(self.xt[:0], self.metric, self.compute)

    def some(self) -> Vectors:
        """(n, d) float32: at most `CODE_ROWS` of the rows, evenly spread: what codes are learned from."""
        return np.ascontiguousarray(self.xt[:: max(1, math.ceil(len(self) / CODE_ROWS))])

    def coarse_quantizer(self, nlist: int, seed: int, rotation: faiss.LinearTransform | None = None) -> faiss.Index:
        """A flat quantizer of `nlist` centroids of the rows, `nlist` or more; rotated where rows will be."""
        refuse_few(len(self), nlist, f"nlist: {nlist}")
        with self._lock:
            if (nlist, seed) not in self._centroids:
                self._centroids[nlist, seed] = coarse_centroids(self.xt, nlist, self.metric, seed, self.compute)
            centroids = self._centroids[nlist, seed]
        quantizer = faiss.IndexFlat(self.dim if rotation is None else rotation.d_out, self.metric.faiss)
        quantizer.add(centroids if rotation is None else rotation.apply(centroids))
        return quantizer
