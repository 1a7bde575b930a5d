"""Which index a partition gets, from its rows and dim alone: the same catalog always gets the same index, or the same
candidates, of which `choose/choice.py` takes the one that measures best. What each type asks for is in its own file.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from foundation.errors import InputError
from foundation.identity import identity_of
from foundation.metric import Metric
from index_builders.base import EXACT, BuilderSpec, builder_class, builder_spec, builder_types
from index_builders.devices import CPU_DEVICE, DEVICE
from index_builders.sizes import PartitionSize, nlist_for

AUTO = "auto"  # the `type:` of index.large that is no module: measure candidates, take the cheapest
_LEARNED_FROM = 64  # training points per centroid: 128 gave the same recall in twice the time (1M rows, IVF4096)
_CODEWORDS = 256  # of an 8-bit codebook
_KNOWN = 0.02  # bytes of an index are known before it is built, but for such a share
CHOICE = 5  # raised when another set of candidates, or another way to choose, may give another index
_PRICES = 2  # raised when what measure/cost.py counts may give another nprobe or refine factor


class IndexSettings(BaseModel):
    """The `index:` section of a config: how big a partition must be for which index, and how good that has to be."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    metric: Metric = Field(
        Metric.INNER_PRODUCT, description="what a score is: inner_product, cosine, or l2 (minus the squared distance)"
    )
    # An 8-bit codebook wants 39 * 256 = 9,984 training points, and 500 rows are held out to measure with. Below, exact
    # search of 64 dimensions reads under 3 MB, well under a millisecond, so there is nothing to win.
    exact_below: int = Field(10_500, ge=512, description="partitions with fewer rows are searched exactly")
    large: dict[str, Any] = Field(
        default={"type": AUTO},
        description="the builder of bigger partitions, keys given here override the rules; auto: chosen by measuring",
    )
    target_recall: float = Field(0.95, ge=0, le=1, description="recall@k that nprobe and refine factor are tuned to")
    max_bytes_per_vector: float | None = Field(
        None, gt=0, description="bytes of the FAISS file per vector, refine vectors not counted; null: any"
    )
    max_disk_bytes_per_vector: float | None = Field(
        None, gt=0, description="bytes of the FAISS file and the refine vectors per vector; null: any"
    )
    max_query_ms: float | None = Field(
        None, gt=0, description="median milliseconds of a query with one thread; a slower index is refused; null: any"
    )
    k: int = Field(10, ge=1, le=1000, description="the k of recall@k")
    held_out_queries: int = Field(500, ge=1, le=100_000, description="rows to measure with, not trained on")
    max_train_rows: int = Field(262_144, ge=512, description="rows of the training sample at most")
    seed: int = Field(1234, ge=0, lt=2**31, description="seed of the sample and of the clustering")
    text_queries: bool = Field(
        True, description="tune for queries by text, made of products' own and encoded as a query is"
    )
    photo_queries: bool = Field(
        True, description="tune for queries by photo, made of products' own: cropped, in another light, less sharp"
    )
    queries: str | None = Field(
        None,
        min_length=1,
        description="Parquet file of queries, as `vitrine search --queries` takes it, to tune for in place of the "
        "products' own texts and photos; null: those",
    )
    device: str = Field(
        CPU_DEVICE, pattern=DEVICE, description="where lists are trained and rows find theirs: cpu, cuda or cuda:N"
    )
    retrain: Literal["always", "auto"] = Field(
        "auto",
        description="train changed rows anew, or take the training of the parent's index while it fits them",
    )
    # On 20,000 rows (clustered, texts, noise) another seed moved the error by 0.1% and the imbalance by 9% at most, and
    # rows that were trained on had 4% to 10% less error than others: a tenth more is other rows, not another draw.
    retrain_max_error: float = Field(
        1.1, ge=1, description="mean squared distance of rows to their centroid, times what it was when trained"
    )
    # Rows scanned grow with the imbalance: at 1.25 times, up to a quarter more for the same nprobe.
    retrain_max_imbalance: float = Field(
        1.25, ge=1, description="imbalance of the lists, times what it was when trained"
    )
    retrain_max_recall_loss: float = Field(
        0.01, ge=0, le=1, description="recall@k less than when trained, at the nprobe and refine factor of then"
    )

    def choose(self, rows: int, dim: int) -> BuilderSpec | None:
        """The builder for a partition of `rows` vectors of length `dim`; None: the best of `candidates`."""
        if rows < self.exact_below:
            return builder_spec(EXACT)
        if self.large.get("type") == AUTO:
            unknown = sorted(set(self.large) - {"type"})
            if unknown:
                raise InputError("no other key beside type: auto", ", ".join(unknown), "name a type, or drop them")
            return None
        if self.large.get("type") not in builder_types():
            types = ", ".join([AUTO, *builder_types()])
            raise InputError(f"type: one of {types}", f"type: {self.large.get('type')!r}", "name one of them")
        return builder_class(self.large["type"]).sized(self._size(rows, dim), self.large)

    def candidates(self, rows: int, dim: int, of: int | None = None) -> list[BuilderSpec]:
        """What `auto` weighs for `rows` vectors of length `dim`, each with its rules filled in; place by place the same
        kinds as for the `of` rows that these are a sample of.
        """
        size, whole = self._size(rows, dim), self._size(of or rows, dim)
        kinds = sorted(map(builder_class, builder_types()), key=lambda kind: kind.rank)
        found = (
            spec
            for kind in kinds
            for spec in kind.weighed(size, whole, lambda one: self.fits(one, whole.rows, dim, 1 - _KNOWN))
        )
        return list(dict.fromkeys(found))  # two rules may come to the same: ivf_pq's m of 136 dimensions is 136 / 2

    def held_out(self, rows: int) -> int:
        """How many rows of a partition are queries: at most a quarter, so that small partitions can still train."""
        return min(self.held_out_queries, math.ceil(rows / 4))

    def train_rows(self, rows: int, dim: int) -> int:
        """How many rows of a partition a trained index learns from; 0 when it learns from none."""
        chosen = self.choose(rows, dim)
        if chosen is not None and not chosen.trained:
            return 0
        nlist = self.large.get("nlist") or nlist_for(rows, self._trainable(rows))
        return min(self._trainable(rows), _LEARNED_FROM * max(nlist, _CODEWORDS))

    def asks_alone(self, rows: int, dim: int) -> bool:
        """Whether a partition is tuned for queries by text and photo, where there are any: not if it is exact."""
        chosen = self.choose(rows, dim)
        return chosen is None or not chosen.exact

    def identity(self, rows: int, dim: int, texts: str | None = None) -> str:
        """64 hex digits: equal exactly when the same vectors get the same index, tuned and measured the same way.

        `texts` tells apart what queries by text or photo alone are made by; None: there are none. A setting that
        changes nothing for this partition, such as an `exact_below` that it is still under, keeps its identity.
        `retrain` is none of it: whose training an index has is a matter of its name.
        """
        chosen = self.choose(rows, dim)
        builders = self.candidates(rows, dim) if chosen is None else [chosen]
        # What the first two decide is in the builders; of the third, only how many rows are trained on counts.
        bounds = {"max_bytes_per_vector", "max_disk_bytes_per_vector", "max_query_ms"}
        unread = bounds if rows < self.exact_below else set[str]()
        if self.device == CPU_DEVICE or (chosen is not None and not chosen.trained):
            unread |= {"device"}
        unread |= {name for name in type(self).model_fields if name.startswith("retrain")}
        unread |= {"text_queries", "photo_queries", "queries"}  # `texts` says what they come to
        measured = self.model_dump(mode="json", exclude={"exact_below", "large", "max_train_rows", *unread})
        trained = self.train_rows(rows, dim)
        choice = CHOICE if chosen is None else 0
        named: dict[str, Any] = {"builders": [one.identity for one in builders], "choice": choice}
        if chosen is None or chosen.trained:
            named["prices"] = _PRICES
        if texts is not None and self.asks_alone(rows, dim):
            named["texts"] = texts
        return identity_of({**named, "measured": measured, "train_rows": trained})

    def fits(self, spec: BuilderSpec, rows: int, dim: int, times: float = 1.0) -> bool:
        """Whether `spec` over `rows` is within `times` the bounds on bytes, as far as is known before it is built."""
        held = spec.vector_bytes(dim) + spec.shared_bytes(dim) / rows
        sizes = ((held, self.max_bytes_per_vector), (held + spec.refine_bytes(dim), self.max_disk_bytes_per_vector))
        return all(bound is None or size <= times * bound for size, bound in sizes)

    def _size(self, rows: int, dim: int) -> PartitionSize:
        return PartitionSize(rows, dim, self._trainable(rows), self.seed)

    def _trainable(self, rows: int) -> int:
        return min(self.max_train_rows, rows - self.held_out(rows))
