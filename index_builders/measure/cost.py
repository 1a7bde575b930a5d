"""What a query costs by count, not by clock: the same rows must give the same index whatever else the machine does.

The choice among indexes and settings is by `microseconds`: centroids compared, lists opened, codes scanned, candidates
kept and ranked again, each times what one of them took. The constants were fitted to CPU time (not wall time) of
batches of 1,000 queries on one thread of an AMD Zen 4 with AVX-512 and FAISS 1.15.1, over 64, 128 and 256 dimensions,
256 and 1,024 lists, 1 to 64 of them searched; docs/explanation/indexes.md: how closely they agree. A query asked alone
costs some 30 us more and compares centroids at four times the price; lists and codes cost it much the same. Another
machine has other times but, for indexes of the same shapes, much the same order; milliseconds that were measured stand
beside them in the manifest, and decide nothing but `index.max_query_ms`.
"""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt

from foundation.arrays import Vectors
from index_builders.base import ROW_NS, BuilderSpec, RefineKind
from index_builders.fill.threads import threads
from lookup.index.partition_index import PartitionIndex

_CALL = 3_000.0  # ns of a query, whatever it looks at
_KEPT = 40.0  # ns to keep a candidate in order
_ROTATED = 0.05  # ns of each number of a rotation
_REFINED: dict[RefineKind, tuple[float, float]] = {"none": (0, 0), "sq8": (5, 0.3), "fp16": (10, 0.52)}  # + per dim


@dataclass(frozen=True)
class Cost:
    """The model of one index: ns of a code scanned, of a list opened, and what else a query pays."""

    code: float  # ns to compare one code
    opened: float  # ns to begin a list: tables that a query needs for it, codes that are not in the cache
    rotated: float  # ns to rotate a query
    centroid: float  # ns to compare one centroid
    dim: int

    def microseconds(self, centroids: int, lists: float, scanned: float, candidates: int, refine: RefineKind) -> float:
        """Of a query that compares `centroids`, scans `scanned` codes of `lists`, ranks `candidates` by `refine`."""
        fixed, per_dim = _REFINED[refine]
        again = candidates * (_KEPT + fixed + per_dim * self.dim)
        coarse = self.rotated + centroids * self.centroid + lists * self.opened
        return (_CALL + coarse + scanned * self.code + again) / 1000


def cost_of(spec: BuilderSpec, dim: int) -> Cost:
    """The model of an index that `spec` builds over vectors of length `dim`."""
    code, opened = spec.nanoseconds(dim)
    coded = spec.coded(dim)
    return Cost(code, opened, _ROTATED * dim * coded if spec.rotates else 0.0, ROW_NS * coded, dim)


def scanned(index: PartitionIndex, spec: BuilderSpec, xq: Vectors, nprobe: int) -> tuple[float, float]:
    """Lists of an index of `spec` that a query of `xq` (nq, d) float32 opens with this nprobe, and codes that it looks
    at, in the mean: more where these hold so few that a search widens.
    """
    if not index.nlist:
        return 0.0, spec.compared(index.rows, nprobe)
    asked = index.metric.stored(xq)
    if isinstance(index.faiss_index, faiss.IndexPreTransform):
        with threads(1):
            asked = faiss.downcast_VectorTransform(index.faiss_index.chain.at(0)).apply(asked)  # type: ignore[attr-defined]  # the stubs' list
    sizes, wanted = list_sizes(index), index.wanted(1)
    short, opened, looked = np.arange(len(asked)), 0, 0
    while len(short):
        with threads(1):
            _, lists = index.ivf.quantizer.search(asked[short], nprobe)
        rows = sizes[lists].sum(axis=1)
        opened, looked = opened + nprobe * len(short), looked + int(rows.sum())
        short = short[rows < wanted]
        nprobe = min(2 * nprobe, index.nlist)
    return opened / len(asked), looked / len(asked)


def list_sizes(index: PartitionIndex) -> npt.NDArray[np.int64]:
    """Rows of each inverted list, (nlist,) int64."""
    lists = index.ivf.invlists
    return np.array([lists.list_size(number) for number in range(index.nlist)], dtype=np.int64)
