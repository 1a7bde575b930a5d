"""What a query costs by count, not by clock: the same rows must give the same index whatever else the machine does.

The choice among indexes and settings is by `microseconds`: centroids compared, codes scanned, candidates kept and
ranked again, each times what one of them took. The constants were fitted to CPU time (not wall time) of single queries
on one thread of an AMD Zen 4 with AVX-512 and FAISS 1.15.1, over 64 and 256 dimensions, and agree with what they were
fitted to within a third. Another machine has other times but, for indexes of the same shapes, much the same order;
milliseconds that were measured stand beside them in the manifest, and decide nothing but `index.max_query_ms`.
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

_CALL = 10_000.0  # ns of a call, whatever it looks at
_KEPT = 270.0  # ns to keep a candidate in order
_REFINED: dict[RefineKind, tuple[float, float]] = {"none": (0, 0), "sq8": (70, 0.25), "fp16": (100, 1.0)}  # + per dim


@dataclass(frozen=True)
class Cost:
    """The model of one index: ns of a code scanned, and what else a query pays."""

    code: float  # ns to compare one code
    row: float  # ns to compare one whole vector, of `dim` numbers
    dim: int

    def microseconds(self, centroids: int, scanned: float, candidates: int, refine: RefineKind) -> float:
        """Of a query that compares `centroids`, scans `scanned` codes, and ranks `candidates` again by `refine`."""
        fixed, per_dim = _REFINED[refine]
        again = candidates * (_KEPT + fixed + per_dim * self.dim)
        return (_CALL + centroids * self.row + scanned * self.code + again) / 1000


def cost_of(spec: BuilderSpec, dim: int) -> Cost:
    """The model of an index that `spec` builds over vectors of length `dim`."""
    row = 0.14 * dim
    fields = spec.model_dump()
    m, nbits = fields.get("m", 0), fields.get("nbits", 0)
    codes = {
        "ivf_sq8": 3 + 0.085 * dim,
        "ivf_pq": 0.3 + 0.03 * m if fields.get("fast_scan") else 2 + 0.47 * m,
        "ivf_rabitq": 4 + 0.014 * dim + (0.5 * dim if nbits > 1 else 0),
        "hnsw": row + 60,  # each row lies elsewhere in memory
    }
    return Cost(codes.get(spec.type, row), row, dim)


def scanned(index: PartitionIndex, xq: Vectors, nprobe: int) -> float:
    """Codes that a query of `xq` (nq, d) float32 looks at with this nprobe, in the mean.

    For hnsw an estimate: each of efSearch rows shows its neighbours, about half of them for the first time.
    """
    if not index.nlist:
        hnsw = getattr(index.faiss_index, "hnsw", None)
        return float(index.rows if hnsw is None else min(index.rows, nprobe * hnsw.nb_neighbors(0) / 2))
    asked = index.metric.stored(xq)
    with threads(1):
        if isinstance(index.faiss_index, faiss.IndexPreTransform):
            asked = faiss.downcast_VectorTransform(index.faiss_index.chain.at(0)).apply(asked)  # type: ignore[attr-defined]  # the stubs' list
        _, lists = index.ivf.quantizer.search(asked, nprobe)
    return float(list_sizes(index)[lists].sum(axis=1).mean())


def list_sizes(index: PartitionIndex) -> npt.NDArray[np.int64]:
    """Rows of each inverted list, (nlist,)."""
    lists = index.ivf.invlists
    return np.array([lists.list_size(number) for number in range(index.nlist)], dtype=np.int64)
