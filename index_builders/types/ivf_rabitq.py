"""Inverted file of RaBitQ codes (Gao and Long: RaBitQ, 2024): one to nine bits a dimension after a random rotation.

Nothing but the coarse quantizer is trained, so it builds in seconds. One bit ranks coarsely (measured: recall@10 of 0.6
to 0.7 at 256 dimensions), four bits well (0.93 to 0.945); refine vectors find the answer among the candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field

from foundation.metric import Metric
from index_builders.base import BuilderSpec, Decoding, RefineKind
from index_builders.sizes import LISTS_OF_FAST_CODES, LISTS_PER_SQRT_N, PartitionSize

if TYPE_CHECKING:
    import faiss

    from index_builders.rows.training_set import TrainingSet


class Spec(BuilderSpec):
    """IndexIVFRaBitQFastScan after a RandomRotationMatrix: about dim * nbits / 8 + 16 bytes a vector."""

    version: ClassVar[int] = 2
    trained: ClassVar[bool] = True
    gpu_finds_lists: ClassVar[bool] = False  # each row's centroid is asked for alone, which a GPU answers slowly
    rank: ClassVar[int] = 2
    words: ClassVar[tuple[str, ...]] = ("nbits",)

    type: Literal["ivf_rabitq"] = "ivf_rabitq"
    nlist: int = Field(ge=1, description="inverted lists = coarse centroids")
    nbits: int = Field(1, ge=1, le=9, description="bits of a dimension")
    refine: RefineKind = Field("sq8", description="vectors that rank candidates again, memory-mapped from disk")
    refine_factor: int | None = Field(
        None, ge=1, le=1000, description="candidates per hit that are ranked again; null: tuned to the target recall"
    )
    seed: int = Field(1234, ge=0, lt=2**31, description="seed of the clustering and of the rotation")

    @classmethod
    def examples(cls, dim: int) -> Sequence[Self]:
        """See BuilderSpec.examples."""
        return [cls(nlist=8), cls(nlist=8, nbits=4, refine="none"), cls(nlist=8, nbits=9)]

    @classmethod
    def lists_per_sqrt(cls, fields: Mapping[str, Any]) -> int:
        """See BuilderSpec.lists_per_sqrt: few for codes of one bit, which are scanned 32 at a time."""
        return LISTS_OF_FAST_CODES if fields.get("nbits", 1) == 1 else LISTS_PER_SQRT_N

    @classmethod
    def weighed(
        cls, size: PartitionSize, whole: PartitionSize, within: Callable[[BuilderSpec], bool]
    ) -> Sequence[BuilderSpec]:
        """See BuilderSpec.weighed: one bit finds candidates, four are good enough alone."""
        return [cls.sized(size, one) for one in ({"refine": "sq8"}, {"nbits": 4, "refine": "none"})]

    @property
    def decoding(self) -> Decoding:
        """See BuilderSpec.decoding: FAISS 1.15 gives RaBitQ's vectors back without their scale."""
        return "nothing"

    @property
    def refined(self) -> tuple[RefineKind, int | None]:
        """See BuilderSpec.refined."""
        return self.refine, self.refine_factor

    @property
    def rotates(self) -> bool:
        """See BuilderSpec.rotates."""
        return True

    def nanoseconds(self, dim: int) -> tuple[float, float]:
        """See BuilderSpec.nanoseconds."""
        return (10 + 0.053 * dim if self.nbits > 1 else 4.5 + 0.004 * dim), 800 + 6.5 * dim

    def vector_bytes(self, dim: int) -> float:
        """See BuilderSpec.vector_bytes: bits, two factors and with more than one bit three more, the id."""
        return dim * self.nbits / 8 + (8 if self.nbits == 1 else 20) + 8

    def shared_bytes(self, dim: int) -> float:
        """See BuilderSpec.shared_bytes: centroids, the rotation, half a block of 32 codes in each list."""
        return self.nlist * (4 * dim + 16 * (self.vector_bytes(dim) - 8)) + 4 * dim * (dim + 1)

    def empty(self, learned_from: TrainingSet, dim: int, metric: Metric) -> faiss.Index:
        """See BuilderSpec.empty; needs as many rows as nlist."""
        import faiss

        from index_builders.fill.coarse import trained
        from index_builders.fill.threads import threads

        rotation = faiss.RandomRotationMatrix(dim, dim)
        with threads(1):
            rotation.init(self.seed)
            coarse = learned_from.coarse_quantizer(self.nlist, self.seed, rotation)
        ivf = faiss.IndexIVFRaBitQFastScan(coarse, dim, self.nlist, metric.faiss, 32, True, self.nbits)
        return trained(ivf, learned_from.some(), rotation)
