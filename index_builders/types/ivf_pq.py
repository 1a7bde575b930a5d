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

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from foundation.errors import InputError
from foundation.metric import Metric
from index_builders.base import BuilderSpec, Decoding, RefineKind
from index_builders.refusals import refuse_few
from index_builders.sizes import LISTS_OF_FAST_CODES, LISTS_PER_SQRT_N, PartitionSize

if TYPE_CHECKING:
    import faiss

    from foundation.arrays import Vectors
    from index_builders.rows.training_set import TrainingSet

# FAISS does 50 rounds on 65,536 points and begins with 40 of k-means, which takes minutes. A third of the time of 8
# rounds on 16,384 points, from 40 of k-means, and within 0.008 of their share of true neighbours among 40, 80 and 160
# candidates: 60,000 clustered rows and photo crops, 128 and 256 dimensions, codes of 1 and 2 bits a dimension.
_OPQ_ROUNDS = 8
_OPQ_POINTS = 8_192
_OPQ_FIRST = 10
_OPQ_SECONDS = 0.035  # of each sub-quantizer, on so many rows
_PCA_POINTS = 16_384
# Of codebooks of 8 bits: FAISS's 25 rounds on 256 points for each entry take longer than all else of a build.
_ROUNDS = 10
_POINTS_OF_ENTRY = 64
_COMPONENTS = 3 / 8  # of the dimensions, where no bound on bytes asks for fewer; see docs/explanation/indexes.md
_LEAST_COMPONENTS = 16


class Spec(BuilderSpec):
    """IndexIVFPQ by residual, or IndexIVFPQFastScan."""

    version: ClassVar[int] = 5
    trained: ClassVar[bool] = True
    rank: ClassVar[int] = 1
    words: ClassVar[tuple[str, ...]] = ("opq", "fast_scan", "pca", "m", "nbits")

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

    @classmethod
    def examples(cls, dim: int) -> Sequence[Self]:
        """See BuilderSpec.examples: codes of 8 bits and of 4, scanned fast and not, each rotation."""
        pca = 3 * dim // 4
        return [
            cls(nlist=8, m=dim // 2, nbits=4),
            cls(nlist=8, m=dim // 4, opq=True),
            cls(nlist=8, m=dim // 2, nbits=4, opq=True, fast_scan=True, refine="sq8"),
            cls(nlist=8, m=pca, nbits=4, pca=pca, fast_scan=True),
        ]

    @classmethod
    def rules(cls, fields: Mapping[str, Any], size: PartitionSize) -> dict[str, Any]:
        """See BuilderSpec.rules."""
        pca, fast = fields.get("pca"), bool(fields.get("fast_scan"))  # as they were written: the spec checks them
        coded = pca if isinstance(pca, int) and pca > 0 else size.dim
        m = coded if coded == pca and fast else m_for(coded)
        return {**super().rules(fields, size), "m": m, **({"nbits": 4} if fast else {})}

    @classmethod
    def lists_per_sqrt(cls, fields: Mapping[str, Any]) -> int:
        """See BuilderSpec.lists_per_sqrt."""
        return LISTS_OF_FAST_CODES if fields.get("fast_scan") else LISTS_PER_SQRT_N

    @classmethod
    def weighed(
        cls, size: PartitionSize, whole: PartitionSize, within: Callable[[BuilderSpec], bool]
    ) -> Sequence[BuilderSpec]:
        """See BuilderSpec.weighed: codes that find candidates, ranked again by vectors on disk.

        Codes of less than half a byte a dimension are not weighed alone: PQ of an eighth of a byte reached recall 0.43
        on photo crops (docs/benchmarks/index_photos.md).
        """
        # With fewer training rows than dimensions there is no rotation to learn.
        fast: dict[str, Any] = {"opq": size.trainable >= size.dim, "fast_scan": True, "nbits": 4}
        finer = [{**fast, "m": size.dim // 2, "refine": kind} for kind in ("sq8", "fp16") if size.dim % 4 == 0]
        pca = _components(whole, within) if fast["opq"] else 0
        fewer = [{**fast, "opq": False, "pca": pca, "refine": kind} for kind in ("sq8", "fp16") if pca]
        plain = {"refine": "sq8"}  # 8 bits a sub-quantizer, of residuals: finer codes than those that are scanned fast
        return [cls.sized(size, one) for one in ({**fast, "refine": "sq8"}, *finer, *fewer, plain)]

    @property
    def decoding(self) -> Decoding:
        """See BuilderSpec.decoding: of FAISS 1.15, decoding fast-scan codes ends the process."""
        return "nothing" if self.fast_scan else "code"

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

    def build_seconds(self, rows: int, learned: int, dim: int) -> float:
        """See BuilderSpec.build_seconds."""
        rotated = _OPQ_SECONDS * self.m * min(1.0, learned / _OPQ_POINTS) if self.opq else 0.0
        return super().build_seconds(rows, learned, dim) + rotated

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
        opq.pq, opq.niter, opq.niter_pq_0, opq.max_train_points = trial, _OPQ_ROUNDS, _OPQ_FIRST, _OPQ_POINTS
        opq.train(xt)
        return opq

    def _configure(self, pq: Any) -> None:
        pq.cp.seed = self.seed
        if self.nbits > 4:
            pq.cp.niter, pq.cp.max_points_per_centroid = _ROUNDS, _POINTS_OF_ENTRY
        pq.cp.min_points_per_centroid = 1  # settings.py sees to enough points; FAISS would only print to stderr


def m_for(dim: int) -> int:
    """Sub-quantizers: a divisor of `dim` from dim / 4 to dim / 2, a multiple of 4 (FAISS scans those fastest).

    Where there is none, the smallest divisor from dim / 4 on; for a prime that is the prime itself.
    """
    divisors = [m for m in range(1, dim + 1) if dim % m == 0 and 4 * m >= dim]
    preferred = [m for m in divisors if m % 4 == 0 and 2 * m <= dim]
    return preferred[0] if preferred else divisors[0]


def _components(whole: PartitionSize, within: Callable[[BuilderSpec], bool]) -> int:
    """Principal components that codes of half a byte each are made of, a multiple of 8; 0: too few to find by.

    As many as the bounds on bytes leave room for; the fewest where there is none: what they take says how far a
    bound must move.
    """
    numbers = range(8 * math.floor(_COMPONENTS * whole.dim / 8), _LEAST_COMPONENTS - 1, -8)
    for pca in numbers:
        if within(Spec.sized(whole, {"fast_scan": True, "pca": pca, "refine": "sq8"})):
            return pca
    return numbers[-1] if numbers else 0


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
