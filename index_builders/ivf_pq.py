"""Inverted file with product quantization (Jegou, Douze, Schmid: Product Quantization for Nearest Neighbor
Search, 2011).

The codes alone rank coarsely (measured: recall@10 of 0.5 to 0.8), so `refine_factor` candidates per hit are ranked
again with the float16 refine vectors that `build.py` writes beside the index.

Deterministic: one clustering with a fixed seed. Training with 1 and with 2 OpenMP threads gives the same bytes (a test
says so); another CPU type may round differently in the last bit, and so may write other bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from index_builders.base import BuilderSpec
from lookup.errors import InputError

if TYPE_CHECKING:
    import faiss

    from index_builders.base import Vectors

_ITERATIONS = 10  # k-means rounds; FAISS's own choice for coarse quantizers (Level1Quantizer sets cp.niter = 10)


class Spec(BuilderSpec):
    """IndexIVFPQ by residual, inner product, spherical coarse k-means."""

    trained: ClassVar[bool] = True

    type: Literal["ivf_pq"] = "ivf_pq"
    nlist: int = Field(ge=1, description="inverted lists = coarse centroids")
    m: int = Field(ge=1, description="bytes of a code at 8 bits; must divide dim")
    nbits: int = Field(8, ge=4, le=8, description="bits of each sub-quantizer")
    refine_factor: int = Field(10, ge=1, le=1000, description="candidates per hit that are ranked again")
    seed: int = Field(1234, ge=0, lt=2**31, description="seed of every clustering")

    @property
    def candidates_per_hit(self) -> int:
        """See BuilderSpec.candidates_per_hit."""
        return self.refine_factor

    def build(self, xt: Vectors, blocks: Iterable[Vectors], dim: int) -> faiss.Index:
        """See BuilderSpec.build; needs as many rows in `xt` as nlist and as codebook entries."""
        import faiss

        self._check(len(xt), dim)
        coarse = faiss.IndexFlatIP(dim)
        index = faiss.IndexIVFPQ(coarse, dim, self.nlist, self.m, self.nbits, faiss.METRIC_INNER_PRODUCT)
        index.cp.spherical = True  # centroids of equal length, or the longest would attract every vector
        index.cp.niter = _ITERATIONS
        for clustering in (index.cp, index.pq.cp):
            clustering.seed = self.seed
            clustering.min_points_per_centroid = 1  # sizing.py sees to enough points; FAISS would only print to stderr
        index.train(xt)
        for xb in blocks:
            index.add(xb)
        return index

    def _check(self, train_rows: int, dim: int) -> None:
        if dim % self.m:
            expected = f"m that divides {dim}, the length of the embeddings"
            raise InputError(expected, f"m: {self.m}", "change or drop index.large.m")
        needed = max(self.nlist, 2**self.nbits)
        if train_rows < needed:
            raise InputError(
                f"at least {needed} training rows (nlist: {self.nlist}, nbits: {self.nbits})",
                f"{train_rows} rows",
                "lower index.large.nlist, or raise index.max_train_rows or index.exact_below",
            )
