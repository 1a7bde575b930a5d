"""Which index a partition gets, from its rows and dim alone: the same catalog always gets the same index.

Sources. FAISS wiki, "Guidelines to choose an index": below 1M vectors IVF with 4*sqrt(n) to 16*sqrt(n) lists. FAISS
`ClusteringParameters::min_points_per_centroid` = 39: fewer training points than that for each centroid are too few.
"""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from index_builders.base import BuilderSpec, builder_spec
from lookup.identity import identity_of

POINTS_PER_CENTROID = 39  # FAISS, ClusteringParameters::min_points_per_centroid
_LEARNED_FROM = 64  # training points per centroid: 128 gave the same recall in twice the time (1M rows, IVF4096)
_CODEWORDS = 256  # of an 8-bit codebook
_LISTS_PER_SQRT_N = 4  # FAISS wiki: 4 to 16; the fewest train fastest, and nprobe is tuned anyway


class IndexSettings(BaseModel):
    """The `index:` section of a config: how big a partition must be for which index, and how good that has to be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # An 8-bit codebook wants 39 * 256 = 9,984 training points, and 500 rows are held out to measure with. Below, exact
    # search of 64 dimensions reads under 3 MB, well under a millisecond, so there is nothing to win.
    exact_below: int = Field(10_500, ge=512, description="partitions with fewer rows are searched exactly")
    large: dict[str, Any] = Field(
        default={"type": "ivf_pq"}, description="the builder of bigger partitions; keys given here override the rules"
    )
    target_recall: float = Field(0.95, ge=0, le=1, description="recall@k that nprobe is raised to reach")
    k: int = Field(10, ge=1, le=1000, description="the k of recall@k")
    held_out_queries: int = Field(500, ge=1, le=100_000, description="rows to measure with, not trained on")
    max_train_rows: int = Field(262_144, ge=512, description="rows of the training sample at most")
    seed: int = Field(1234, ge=0, lt=2**31, description="seed of the sample and of the clustering")

    def choose(self, rows: int, dim: int) -> BuilderSpec:
        """The builder for a partition of `rows` vectors of length `dim`."""
        if rows < self.exact_below:
            return builder_spec({"type": "flat"})
        if self.large.get("type") != "ivf_pq":
            return builder_spec(self.large)
        return builder_spec({"nlist": self._nlist(rows), "m": m_for(dim), "seed": self.seed, **self.large})

    def held_out(self, rows: int) -> int:
        """How many rows of a partition are queries: at most a quarter, so that small partitions can still train."""
        return min(self.held_out_queries, math.ceil(rows / 4))

    def train_rows(self, rows: int) -> int:
        """How many rows of a partition a trained index learns from."""
        available = self._trainable(rows)
        if self.large.get("type") != "ivf_pq":
            return available
        return min(available, _LEARNED_FROM * max(self._nlist(rows), _CODEWORDS))

    def _trainable(self, rows: int) -> int:
        return min(self.max_train_rows, rows - self.held_out(rows))

    def _nlist(self, rows: int) -> int:
        given: int | None = self.large.get("nlist")
        return given or nlist_for(rows, self._trainable(rows))

    def identity(self, rows: int, dim: int) -> str:
        """64 hex digits: equal exactly when the same vectors get the same index, tuned and measured the same way.

        A setting that changes nothing for this partition, such as an `exact_below` that it is still under, keeps it.
        """
        builder = self.choose(rows, dim)
        # What the first two decide is in the builder; of the third, only how many rows are trained on counts.
        measured = self.model_dump(mode="json", exclude={"exact_below", "large", "max_train_rows"})
        trained = self.train_rows(rows) if builder.trained else 0
        return identity_of({"builder": builder.identity, "measured": measured, "train_rows": trained})


def nlist_for(rows: int, train_rows: int) -> int:
    """A power of two: the first from 4 * sqrt(rows) on, or the last that has 39 training points for each centroid."""
    wanted = math.ceil(math.log2(_LISTS_PER_SQRT_N * math.sqrt(rows)))
    trainable = math.floor(math.log2(max(1.0, train_rows / POINTS_PER_CENTROID)))
    return int(2 ** min(wanted, trainable))


def m_for(dim: int) -> int:
    """Sub-quantizers: a divisor of `dim` from dim / 4 to dim / 2, a multiple of 4 (FAISS scans those fastest).

    Where there is none, the smallest divisor from dim / 4 on; for a prime that is the prime itself.
    """
    divisors = [m for m in range(1, dim + 1) if dim % m == 0 and 4 * m >= dim]
    preferred = [m for m in divisors if m % 4 == 0 and 2 * m <= dim]
    return preferred[0] if preferred else divisors[0]
