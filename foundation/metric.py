"""What a score is: inner product, cosine or squared distance, so that bigger is better in each.

`index.metric` of a config is parsed into `Metric` once; a string is compared with nothing else.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]


class Metric(StrEnum):
    """How two vectors are compared."""

    INNER_PRODUCT = "inner_product"  # score = <q, x>
    COSINE = "cosine"  # score = <q, x> / (|q| |x|), in -1..1; 0 where either is zero
    L2 = "l2"  # score = -|q - x|^2, at most 0: the closest comes first here too

    @property
    def faiss(self) -> int:
        """FAISS's number of the metric of an index: cosine is the inner product of unit rows."""
        return 1 if self is Metric.L2 else 0

    @property
    def perfect(self) -> float:
        """The score of a product that has just what a query asks for, as every fusion has it."""
        return 0.0 if self is Metric.L2 else 1.0

    def stored(self, x: Vectors) -> Vectors:
        """(n, d) float32 rows as an index holds them, and queries as it is asked: of unit length for cosine."""
        if self is not Metric.COSINE:
            return x
        import numpy as np

        norms = np.sqrt(np.einsum("ij,ij->i", x, x, dtype=np.float64))[:, None]
        unit: Vectors = np.divide(x, norms, out=np.zeros_like(x), where=norms > 0, casting="unsafe")
        return unit

    def scores(self, xq: Vectors, candidates: Vectors) -> Vectors:
        """(nq, c) float32 scores of `stored` queries (nq, d) and, for each, its own `stored` rows (nq, c, d)."""
        import numpy as np

        if self is Metric.L2:
            apart = candidates - xq[:, None, :]
            return np.asarray(-np.einsum("qcd,qcd->qc", apart, apart), dtype=np.float32)
        return np.asarray(np.matmul(candidates, xq[:, :, None])[:, :, 0], dtype=np.float32)

    def from_faiss(self, scores: Vectors) -> Vectors:
        """What FAISS returns, float32 of any shape, as scores: its L2 is a distance, of which the smallest is best."""
        return -scores if self is Metric.L2 else scores
