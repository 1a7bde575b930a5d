"""Inverted file with product quantization (Jegou, Douze, Schmid: Product Quantization for Nearest Neighbor
Search, 2011).

The codes alone rank coarsely (measured: recall@10 of 0.5 to 0.8), so candidates are ranked again with refine vectors.
`fast_scan` holds 4-bit codes in the order that one instruction reads (Andre, Kermarrec, Le Scouarnec: Quicker ADC,
2018); `opq` rotates rows so that sub-quantizers get equal shares of the variance (Ge et al.: Optimized Product
Quantization, 2013). `pca` keeps the first principal components only, turned at random so that each has an equal share
of what is left: embeddings of real products have most of their variance in few directions, and the bits that the others
would take tell more about these (FAISS's `PCAR`; with 4 bits for each component no rotation is left to be learned).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from foundation.errors import InputError
from foundation.metric import Metric
from index_builders.base import BuilderSpec, RefineKind
from index_builders.refusals import refuse_few

if TYPE_CHECKING:
    import faiss

    from foundation.arrays import Vectors
    from index_builders.rows.training_set import TrainingSet

# FAISS does 50 rounds on 65,536 points and begins with 40 of k-means, which takes minutes. A third of the time of 8
# rounds on 16,384 points, from 40 of k-means, and within 0.008 of their share of true neighbours among 40, 80 and 160
# candidates: 60,000 clustered rows and photo crops, 128 and 256 dimensions, codes of 1 and 2 bits a dimension.
_OPQ_ROUNDS = 8
OPQ_POINTS = 8_192
_OPQ_FIRST = 10
_PCA_POINTS = 16_384


class Spec(BuilderSpec):
    """IndexIVFPQ by residual, or IndexIVFPQFastScan."""

    version: ClassVar[int] = 4
    trained: ClassVar[bool] = True

    type: Literal["ivf_pq"] = "ivf_pq"
    nlist: int = Field(ge=1, description="inverted lists = coarse centroids")
    m: int = Field(ge=1, description="sub-quantizers: bytes of a code at 8 bits; must divide dim, or pca")
    nbits: int = Field(8, ge=4, le=8, description="bits of each sub-quantizer; 4 with fast_scan")
    opq: bool = Field(False, description="learn a rotation before the codes")
    pca: int | None = Field(
        None,
        ge=1,
        description="principal components that codes are made of, turned at random, which as many training rows as "
        "dimensions are needed for; null: all dimensions",
    )
    fast_scan: bool = Field(False, description="4-bit codes that are scanned 32 at a time")
    refine: RefineKind = Field("fp16", description="vectors that rank candidates again, memory-mapped from disk")
    refine_factor: int | None = Field(
        None, ge=1, le=1000, description="candidates per hit that are ranked again; null: tuned to the target recall"
    )
    seed: int = Field(1234, ge=0, lt=2**31, description="seed of every clustering")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.fast_scan and self.nbits != 4:
            raise ValueError(f"nbits: 4 with fast_scan, not {self.nbits}")
        if self.opq and self.pca is not None:
            raise ValueError("opq or pca: each is a rotation of its own")
        return self

    @property
    def refined(self) -> tuple[RefineKind, int | None]:
        """See BuilderSpec.refined."""
        return self.refine, self.refine_factor

    def least_rows(self, dim: int) -> int:
        """See BuilderSpec.least_rows: as many as codebook entries too, and as dimensions for a rotation."""
        return max(self.nlist, int(2**self.nbits), dim if self.opq or self.pca else 0)

    @property
    def rotates(self) -> bool:
        """See BuilderSpec.rotates."""
        return self.opq or self.pca is not None

    def nanoseconds(self, dim: int) -> tuple[float, float]:
        """See BuilderSpec.nanoseconds."""
        return (0.02 * self.m, 450.0) if self.fast_scan else (4.5 + 0.38 * self.m, 400 + 1.5 * self.coded(dim))

    def vector_bytes(self, dim: int) -> float:
        """See BuilderSpec.vector_bytes."""
        return self.m * self.nbits / 8 + 8

    def shared_bytes(self, dim: int) -> float:
        """See BuilderSpec.shared_bytes: centroids, codebooks, the rotation, half a block of 32 codes in each list."""
        unused = 16 * self.m / 2 if self.fast_scan else 0
        coded = self.coded(dim)
        turned = 4 * dim * (coded + 1) if self.opq else 4 * dim * coded if self.pca else 0
        return self.nlist * (4.0 * coded + unused) + 4 * coded * 2.0**self.nbits + turned

    def coded(self, dim: int) -> int:
        """See BuilderSpec.coded."""
        return self.pca or dim

    def refuse(self, dim: int, train_rows: int) -> None:
        """See BuilderSpec.refuse: m divides what is coded; rows for centroids, codebooks and rotation."""
        coded = self.coded(dim)
        if coded > dim:
            came = f"pca: {self.pca}"
            raise InputError(f"pca of at most {dim}, the length of the embeddings", came, "lower index.large.pca")
        if coded % self.m:
            what = "pca" if self.pca else "the length of the embeddings"
            raise InputError(f"m that divides {coded}, {what}", f"m: {self.m}", "change or drop index.large.m")
        refuse_few(train_rows, max(self.nlist, 2**self.nbits), f"nlist: {self.nlist}, nbits: {self.nbits}")
        # With fewer FAISS 1.15 writes past the end of its memory for opq, and pca keeps directions that no row has.
        if (self.opq or self.pca) and train_rows < dim:
            fix = (
                "drop index.large.opq or pca, or raise index.exact_below (and index.max_train_rows where that is less)"
            )
            came = f"{train_rows} rows"
            raise InputError(f"at least {dim} training rows, as many as dimensions, for opq or pca", came, fix)

    def empty(self, learned_from: TrainingSet, dim: int, metric: Metric) -> faiss.Index:
        """See BuilderSpec.empty; needs as many rows as nlist and as codebook entries, and as dim for a rotation."""
        import faiss

        from index_builders.fill.coarse import trained
        from index_builders.fill.threads import threads

        self.refuse(dim, len(learned_from))
        coded = self.coded(dim)
        with threads(1):
            rotation = self._rotation(learned_from, dim)
            coarse = learned_from.coarse_quantizer(self.nlist, self.seed, rotation)
        kind = faiss.IndexIVFPQFastScan if self.fast_scan else faiss.IndexIVFPQ
        ivf = kind(coarse, coded, self.nlist, self.m, self.nbits, metric.faiss)
        self._configure(ivf.pq)
        return trained(ivf, learned_from.some(), rotation)

    def _rotation(self, learned_from: TrainingSet, dim: int) -> Any:
        """A trained FAISS LinearTransform to `coded` dimensions, or None."""
        if self.opq:
            return self._opq(learned_from.xt, dim)
        return None if self.pca is None else _principal(learned_from.some(), self.pca)

    def _opq(self, xt: Vectors, dim: int) -> Any:
        import faiss

        opq, trial = faiss.OPQMatrix(dim, self.m), faiss.ProductQuantizer(dim, self.m, 4)
        self._configure(trial)
        opq.pq, opq.niter, opq.niter_pq_0, opq.max_train_points = trial, _OPQ_ROUNDS, _OPQ_FIRST, OPQ_POINTS
        opq.train(xt)
        return opq

    def _configure(self, pq: Any) -> None:
        pq.cp.seed = self.seed
        pq.cp.min_points_per_centroid = 1  # settings.py sees to enough points; FAISS would only print to stderr


def _principal(xt: Vectors, components: int) -> Any:
    """(n, d) float32 rows onto their first `components` principal axes, then turned at random: without a shift, so that
    inner products and distances stay what they are but for the axes that are dropped.
    """
    import faiss
    import numpy as np

    dim, rows = xt.shape[1], xt[:: max(1, -(-len(xt) // _PCA_POINTS))]
    axes = faiss.PCAMatrix(dim, components, 0, True)
    axes.train(np.concatenate([rows, -rows]))  # whose mean is 0: nothing is subtracted
    turned = faiss.LinearTransform(dim, components, False)
    faiss.copy_array_to_vector(faiss.vector_to_array(axes.A), turned.A)
    turned.set_is_orthonormal()
    turned.is_trained = True
    return turned
