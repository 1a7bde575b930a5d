"""What a query costs by count, not by clock: the same rows must give the same index whatever else the machine does.

The choice among indexes and settings is by `microseconds`: centroids compared, lists opened, codes scanned, candidates
kept and ranked again, each times what one of them took. The constants were fitted to CPU time (not wall time) of
batches of 1,000 queries on one thread of an AMD Zen 4 with AVX-512 and FAISS 1.15.1, over 64, 128 and 256 dimensions,
256 and 1,024 lists, 1 to 64 of them searched; docs/indexes.md says how closely they agree. A query that is asked alone
costs some 30 us more and compares centroids at four times the price; lists and codes cost it much the same. Another
machine has other times but, for indexes of the same shapes, much the same order; milliseconds that were measured stand
beside them in the manifest, and decide nothing but `index.max_query_ms`.
"""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt

from index_builders.base import BuilderSpec, RefineKind
from index_builders.threads import threads
from lookup.index import PartitionIndex

Vectors = npt.NDArray[np.float32]

_CALL = 3_000.0  # ns of a query, whatever it looks at
_KEPT = 40.0  # ns to keep a candidate in order
_ROW = 0.013  # ns of each dimension to compare a centroid, or a row of exact search: a product of matrices
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
    fields = spec.model_dump()
    coded = spec.coded(dim)
    m, fast, fine = fields.get("m", 0), bool(fields.get("fast_scan")), fields.get("nbits", 0) > 1
    codes = {
        "ivf_flat": 0.12 * dim,
        "ivf_sq8": 0.1 * dim,
        "ivf_pq": 0.02 * m if fast else 4.5 + 0.38 * m,
        "ivf_rabitq": 10 + 0.053 * dim if fine else 4.5 + 0.004 * dim,
        "hnsw": 60 + 0.14 * dim,  # each row lies elsewhere in memory
    }
    lists = {
        "ivf_flat": 400 + 5.5 * dim,
        "ivf_sq8": 400.0,
        "ivf_pq": 450.0 if fast else 400 + 1.5 * coded,
        "ivf_rabitq": 800 + 6.5 * dim,
    }
    rotates = spec.type == "ivf_rabitq" or fields.get("opq") or coded < dim
    rotated = _ROTATED * dim * coded if rotates else 0.0
    return Cost(codes.get(spec.type, _ROW * dim), lists.get(spec.type, 0.0), rotated, _ROW * coded, dim)


def scanned(index: PartitionIndex, xq: Vectors, nprobe: int) -> tuple[float, float]:
    """Lists that a query of `xq` (nq, d) float32 opens with this nprobe, and codes that it looks at, in the mean: more
    where these hold so few that a search widens.

    For hnsw an estimate: each of efSearch rows shows its neighbours, about half of them for the first time.
    """
    if not index.nlist:
        hnsw = getattr(index.faiss_index, "hnsw", None)
        return 0.0, float(index.rows if hnsw is None else min(index.rows, nprobe * hnsw.nb_neighbors(0) / 2))
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
    """Rows of each inverted list, (nlist,)."""
    lists = index.ivf.invlists
    return np.array([lists.list_size(number) for number in range(index.nlist)], dtype=np.int64)
