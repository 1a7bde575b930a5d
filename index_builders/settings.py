"""Which index a partition gets, from its rows and dim alone: the same catalog always gets the same index, or the same
candidates, of which `choose/choice.py` takes the one that measures best.

Sources. FAISS wiki, "Guidelines to choose an index": below 1M vectors IVF with 4*sqrt(n) to 16*sqrt(n) lists. FAISS
`ClusteringParameters::min_points_per_centroid` = 39: fewer training points than that for each centroid are too few.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from foundation.errors import InputError
from foundation.identity import identity_of
from foundation.metric import Metric
from index_builders.base import BuilderSpec, builder_spec, builder_types
from index_builders.devices import CPU_DEVICE, DEVICE

AUTO = "auto"  # the `type:` of index.large that is no module: measure candidates, take the cheapest
POINTS_PER_CENTROID = 39  # FAISS, ClusteringParameters::min_points_per_centroid
_LEARNED_FROM = 64  # training points per centroid: 128 gave the same recall in twice the time (1M rows, IVF4096)
_CODEWORDS = 256  # of an 8-bit codebook
_LISTS_PER_SQRT_N = 4  # FAISS wiki: 4 to 16; the fewest train fastest, and nprobe is tuned anyway
# Scanning a code of a bit or two a dimension costs far less than comparing a centroid, so that fewer, longer lists find
# as much in less time, with fewer bytes of centroids: of 200,000 rows of 256 dimensions, at recall 0.95, PQ of 4 bits
# took 68, 58, 57 and 74 us a query with 2,048, 1,024, 512 and 256 lists, 1-bit RaBitQ 128, 85, 84 and 80.
_LISTS_OF_FAST_CODES = 1
_COMPONENTS = 3 / 8  # of the dimensions, where no bound on bytes asks for fewer; see docs/explanation/indexes.md
_LEAST_COMPONENTS = 16
_KNOWN = 0.02  # bytes of an index are known before it is built, but for such a share
_EXACT_UP_TO = 65_536  # rows up to which exact search is a candidate: 2 ms at 256 dimensions
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
        "always",
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
            return builder_spec({"type": "flat"})
        if self.large.get("type") == AUTO:
            unknown = sorted(set(self.large) - {"type"})
            if unknown:
                raise InputError("no other key beside type: auto", ", ".join(unknown), "name a type, or drop them")
            return None
        if self.large.get("type") not in builder_types():
            types = ", ".join([AUTO, *builder_types()])
            raise InputError(f"type: one of {types}", f"type: {self.large.get('type')!r}", "name one of them")
        return self._ruled(self.large, rows, dim)

    def candidates(self, rows: int, dim: int, of: int | None = None) -> list[BuilderSpec]:
        """What `auto` weighs for `rows` vectors of length `dim`, each with its rules filled in; place by place the same
        kinds as for the `of` rows that these are a sample of.

        Codes that find candidates, ranked again by vectors on disk; codes good enough alone; whole vectors. Codes of
        less than half a byte a dimension are not weighed alone: PQ of an eighth of a byte reached recall 0.43 on photo
        crops (docs/benchmarks/index_photos.md).
        """
        # With fewer training rows than dimensions there is no rotation to learn, see types/ivf_pq.py.
        fast = {"type": "ivf_pq", "opq": self._trainable(rows) >= dim, "fast_scan": True, "nbits": 4}
        finer = [{**fast, "m": dim // 2, "refine": kind} for kind in ("sq8", "fp16") if dim % 4 == 0]
        pca = self._components(of or rows, dim) if fast["opq"] else 0
        fewer = [{**fast, "opq": False, "pca": pca, "refine": kind} for kind in ("sq8", "fp16") if pca]
        fields: list[dict[str, Any]] = [
            {**fast, "refine": "sq8"},
            *finer,
            *fewer,
            {"type": "ivf_rabitq", "refine": "sq8"},
            {"type": "ivf_rabitq", "nbits": 4, "refine": "none"},
            {"type": "ivf_sq8"},
            {"type": "flat"} if rows <= _EXACT_UP_TO else {"type": "ivf_flat"},
        ]
        return list(dict.fromkeys(self._ruled(one, rows, dim) for one in fields))  # 136 / 2 is also the rule's m

    def held_out(self, rows: int) -> int:
        """How many rows of a partition are queries: at most a quarter, so that small partitions can still train."""
        return min(self.held_out_queries, math.ceil(rows / 4))

    def train_rows(self, rows: int, dim: int) -> int:
        """How many rows of a partition a trained index learns from; 0 when it learns from none."""
        chosen = self.choose(rows, dim)
        if chosen is not None and not chosen.trained:
            return 0
        return min(self._trainable(rows), _LEARNED_FROM * max(self._nlist(rows), _CODEWORDS))

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

    def _ruled(self, fields: dict[str, Any], rows: int, dim: int) -> BuilderSpec:
        """The spec of `fields`, what they leave open filled in by the rules."""
        rules: dict[str, Any] = {}
        if str(fields["type"]).startswith("ivf_"):
            per_sqrt = _LISTS_OF_FAST_CODES if _scanned_fast(fields) else _LISTS_PER_SQRT_N
            rules |= {"nlist": self._nlist(rows, per_sqrt), "seed": self.seed}
        if fields["type"] == "ivf_pq":
            pca = fields.get("pca")  # as it was written: the spec checks it below
            coded = pca if isinstance(pca, int) and pca > 0 else dim
            rules["m"] = coded if coded == pca and fields.get("fast_scan") else m_for(coded)
        if fields.get("fast_scan"):
            rules["nbits"] = 4
        if fields["type"] == "hnsw":
            rules["seed"] = self.seed
        return builder_spec({**rules, **fields})

    def fits(self, spec: BuilderSpec, rows: int, dim: int, times: float = 1.0) -> bool:
        """Whether `spec` over `rows` is within `times` the bounds on bytes, as far as is known before it is built."""
        held = spec.vector_bytes(dim) + spec.shared_bytes(dim) / rows
        sizes = ((held, self.max_bytes_per_vector), (held + spec.refine_bytes(dim), self.max_disk_bytes_per_vector))
        return all(bound is None or size <= times * bound for size, bound in sizes)

    def _components(self, rows: int, dim: int) -> int:
        """Principal components that codes of half a byte each are made of, a multiple of 8; 0: too few to find by.

        As many as the bounds on bytes leave room for; the fewest where there is none: what they take says how far a
        bound must move.
        """
        numbers = range(8 * math.floor(_COMPONENTS * dim / 8), _LEAST_COMPONENTS - 1, -8)
        for pca in numbers:
            fields = {"type": "ivf_pq", "fast_scan": True, "pca": pca, "refine": "sq8"}
            if self.fits(self._ruled(fields, rows, dim), rows, dim, 1 - _KNOWN):
                return pca
        return numbers[-1] if numbers else 0

    def _trainable(self, rows: int) -> int:
        return min(self.max_train_rows, rows - self.held_out(rows))

    def _nlist(self, rows: int, per_sqrt: int = _LISTS_PER_SQRT_N) -> int:
        given: int | None = self.large.get("nlist")
        return given or nlist_for(rows, self._trainable(rows), per_sqrt)


def nlist_for(rows: int, train_rows: int, per_sqrt: int = _LISTS_PER_SQRT_N) -> int:
    """A power of two: the first from `per_sqrt` * sqrt(rows) on, or the last that has 39 training points for each
    centroid.
    """
    wanted = math.ceil(math.log2(per_sqrt * math.sqrt(rows)))
    trainable = math.floor(math.log2(max(1.0, train_rows / POINTS_PER_CENTROID)))
    return int(2 ** min(wanted, trainable))


def _scanned_fast(fields: dict[str, Any]) -> bool:
    """Whether codes are scanned 32 at a time, at most two bits of a dimension."""
    return bool(fields.get("fast_scan")) or (fields["type"] == "ivf_rabitq" and fields.get("nbits", 1) == 1)


def m_for(dim: int) -> int:
    """Sub-quantizers: a divisor of `dim` from dim / 4 to dim / 2, a multiple of 4 (FAISS scans those fastest).

    Where there is none, the smallest divisor from dim / 4 on; for a prime that is the prime itself.
    """
    divisors = [m for m in range(1, dim + 1) if dim % m == 0 and 4 * m >= dim]
    preferred = [m for m in divisors if m % 4 == 0 and 2 * m <= dim]
    return preferred[0] if preferred else divisors[0]
