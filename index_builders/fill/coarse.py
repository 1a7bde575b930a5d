"""What all inverted-file types share: how the coarse quantizer and the codes are trained.

Everything here runs on one thread, see threads.py.

Coarse training: k-means on at most 64 points a centroid, 10 rounds, spherical unless the metric is L2. From
`TWO_LEVEL_FROM` lists on in two levels: about sqrt(nlist) clusters, each divided again into its share of the lists, so
that a row is compared with 2 sqrt(nlist) centroids instead of nlist; then one round over all centroids. Measured at
equal rows scanned, 1,024 lists over 60,000 photo crops of 128 dimensions: recall within 0.003 of 10 rounds of flat
k-means in a fifth of the time; without the last round up to 0.009 less in a thirteenth.
"""

from __future__ import annotations

import math
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from foundation.arrays import Vectors
from foundation.metric import Metric
from index_builders.fill.compute import CPU, Compute
from index_builders.fill.threads import threads

ROUNDS = 10  # FAISS's own choice for coarse quantizers (Level1Quantizer sets cp.niter = 10)
POINTS = 64  # a centroid; 128 gave the same recall in twice the time (1M rows, IVF4096)
TWO_LEVEL_FROM = 1024  # lists; below, flat k-means takes about a second


def coarse_centroids(xt: Vectors, nlist: int, metric: Metric, seed: int, compute: Compute = CPU) -> Vectors:
    """(nlist, d) float32 centroids of (nt, d) float32 `metric.stored` rows, nlist or more."""
    if nlist >= TWO_LEVEL_FROM:
        return two_level(xt, nlist, metric, seed, compute)
    return kmeans(xt, nlist, metric, seed, compute=compute)


def kmeans(
    xt: Vectors, k: int, metric: Metric, seed: int, start: Vectors | None = None, compute: Compute = CPU
) -> Vectors:
    """The (k, d) float32 centroids of flat k-means over (nt, d) float32 rows; from (k, d) `start`, of one round."""
    clustering = faiss.Clustering(xt.shape[1], k)
    clustering.niter, clustering.seed = ROUNDS, seed
    if start is not None:
        clustering.niter = 1
        faiss.copy_array_to_vector(np.ascontiguousarray(start).ravel(), clustering.centroids)
    clustering.spherical = metric is not Metric.L2  # of equal length, or the longest would attract every row
    clustering.min_points_per_centroid = 1  # settings.py sees to enough points; FAISS would only print to stderr
    clustering.max_points_per_centroid = POINTS
    with threads(1):
        clustering.train(xt, compute.exact(xt.shape[1], metric))
    return np.asarray(faiss.vector_to_array(clustering.centroids).reshape(k, -1), dtype=np.float32)


def two_level(xt: Vectors, k: int, metric: Metric, seed: int, compute: Compute = CPU) -> Vectors:
    """(k, d) float32 centroids: about sqrt(k) clusters, each divided into its share of k, and one round over all."""
    tops = kmeans(xt, math.isqrt(k), metric, seed, compute=compute)
    index = compute.exact(xt.shape[1], metric)
    index.add(tops)
    with threads(1):
        cluster = index.search(xt, 1)[1].ravel()
    order = np.argsort(cluster, kind="stable")
    sizes = np.bincount(cluster, minlength=len(tops))
    parts = zip(np.split(order, np.cumsum(sizes)[:-1]), _shares(sizes, k), strict=True)
    divided = [kmeans(xt[at], n, metric, seed, compute=compute) for at, n in parts if n]
    return kmeans(xt, k, metric, seed, np.concatenate(divided), compute)


def _shares(sizes: npt.NDArray[np.int64], k: int) -> list[int]:
    """`k` divided in proportion to `sizes`, largest remainders first; no share is more than its size."""
    exact = sizes * (k / sizes.sum())
    shares = np.floor(exact).astype(np.int64)
    rest = np.argsort(-(exact - shares), kind="stable")[: k - shares.sum()]
    shares[rest] += 1
    return [int(share) for share in shares]


def trained(ivf: Any, xt: Vectors, rotation: Any = None) -> faiss.Index:
    """`ivf`, whose coarse quantizer is trained, with its codes trained on `xt`, (nt, d) float32.

    With a trained `rotation` (a FAISS LinearTransform) both are rotated first, and so are queries.
    """
    with threads(1):
        ivf.train(xt if rotation is None else rotation.apply(xt))
    index: faiss.Index = ivf if rotation is None else faiss.IndexPreTransform(rotation, ivf)
    index.is_trained = True
    return index
