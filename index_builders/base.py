"""What every index type is: a spec (data) with one short method that learns an empty FAISS index from a sample.

To add an index type, add `index_builders/types/<type>.py` with a class `Spec(BuilderSpec)`; `type: <type>` in a config
names the file, and all that is to be known of the type stands there: what it costs, how large it is, what of it can be
decoded, what its fields are by the size of a partition, and where it stands among the candidates of `auto`. Sampling,
checks, tuning and measuring belong to `build.py`, adding rows to `fill/fill.py`. Specs are part of the config, so their
modules import FAISS only inside `empty`: reading a config must not cost its import.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, SerializeAsAny

import index_builders.types
from foundation.identity import identity_of
from foundation.metric import Metric
from foundation.named_types import spec_class, types_in
from index_builders.refusals import refuse_few
from index_builders.sizes import LISTS_PER_SQRT_N, PartitionSize, nlist_for

if TYPE_CHECKING:
    import faiss

    from index_builders.rows.training_set import TrainingSet

RefineKind = Literal["none", "sq8", "fp16"]
# What FAISS gives back of a row: the vector as it was, what its code says of it, or nothing.
Decoding = Literal["vector", "code", "nothing"]

EXACT = {"type": "flat"}  # what partitions get that are small, or that nothing else could search
MULTIPLICATIONS = 2.0e10  # a second of one thread, AMD Zen 4: training, assigning, exact search
ROW_NS = 0.013  # of each dimension to compare a centroid, or a row of exact search: a product of matrices; see cost.py

# Memory of lists that are filled, over their bytes: 1.24 to 1.5 for ivf_flat, 1.2 to 2.1 for shorter codes, measured at
# 131,072 to 327,680 rows, 64 and 256 dimensions, 256 and 2,048 lists.
_GROWING = 1.6


class BuilderSpec(BaseModel):
    """What makes two indexes of the same vectors the same: frozen; fields are YAML keys, hashed into index names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    version: ClassVar[int] = 1  # raised when the code writes another index from the same fields
    trained: ClassVar[bool]  # whether empty() wants a training sample
    exact: ClassVar[bool] = False  # whether a search compares every row: such an index is checked, not measured
    mergeable: ClassVar[bool] = True  # whether parts filled from one empty index can be merged, see fill/merge.py
    gpu_finds_lists: ClassVar[bool] = True  # whether a GPU may find the lists of rows that are added
    rank: ClassVar[int] = 100  # among the candidates of `auto`: of equally good ones the first is taken
    words: ClassVar[tuple[str, ...]] = ()  # fields that tell its specs apart, as messages name them

    type: str

    @classmethod
    @abstractmethod
    def examples(cls, dim: int) -> Sequence[Self]:
        """Small specs, one for each way in which its code or its file differs, which tests put to their proofs: for 400
        to 8,000 clustered rows of length `dim` (a multiple of 4), found with recall@10 of 0.9 and more.
        """

    @classmethod
    def rules(cls, fields: Mapping[str, Any], size: PartitionSize) -> dict[str, Any]:
        """Values of what `fields` may leave open; by default the seed, and lists by the rows, where it has these."""
        lists = nlist_for(size.rows, size.trainable, cls.lists_per_sqrt(fields))
        return {name: value for name, value in (("nlist", lists), ("seed", size.seed)) if name in cls.model_fields}

    @classmethod
    def lists_per_sqrt(cls, fields: Mapping[str, Any]) -> int:
        """How many lists by default for each row of the square root of all."""
        return LISTS_PER_SQRT_N

    @classmethod
    def sized(cls, size: PartitionSize, fields: Mapping[str, Any]) -> Self:
        """The spec of `fields` for a partition of this size, `rules` filled in; ValidationError for wrong fields."""
        return cls.model_validate({**cls.rules(fields, size), **fields})

    @classmethod
    def weighed(
        cls, size: PartitionSize, whole: PartitionSize, within: Callable[[BuilderSpec], bool]
    ) -> Sequence[BuilderSpec]:
        """What `auto` weighs of this type for a partition, or a sample of `size` of the `whole`; by default nothing.

        Their number and kinds must not depend on `size.rows` where `whole` is the same, but for those up to
        `EXACT_UP_TO`. `within` says whether a spec of the whole is surely within the bounds on bytes.
        """
        return ()

    @property
    def described(self) -> str:
        """The spec in a few words: `ivf_rabitq, nbits 1, refine sq8`."""
        values = ((name, getattr(self, name)) for name in self.words)
        said = [name.replace("_", " ") if value is True else f"{name} {value}" for name, value in values if value]
        kind = self.refined[0]
        return ", ".join([self.type, *said, *([f"refine {kind}"] if kind != "none" else [])])

    @property
    def identity(self) -> str:
        """64 hex digits: equal exactly when two specs build the same index from the same vectors."""
        return identity_of({"fields": self.model_dump(mode="json"), "version": self.version})

    @property
    def refined(self) -> tuple[RefineKind, int | None]:
        """How candidates are ranked again, and how many per hit; None: as many as the target recall asks for."""
        return "none", None

    def coded(self, dim: int) -> int:
        """The length of what lists compare of a vector of length `dim`: less where the type keeps some directions."""
        return dim

    @property
    def most_alike(self) -> int | None:
        """How many equal rows it can hold and still find the others; None: any number."""
        return None

    @property
    def lists(self) -> int:
        """Inverted lists; 0 where there are none."""
        return int(getattr(self, "nlist", 0))

    def least_rows(self, dim: int) -> int:
        """How many rows that differ it has to learn from; by default as many as lists, where there are any."""
        return self.lists

    @property
    def rotates(self) -> bool:
        """Whether queries are rotated before they are compared."""
        return False

    @abstractmethod
    def nanoseconds(self, dim: int) -> tuple[float, float]:
        """What a query costs, see cost.py: ns to compare one code, and ns to begin a list, 0 where there are none."""

    def compared(self, rows: int, nprobe: int) -> float:
        """Of an index without lists, how many of its rows a query is compared with; by default all."""
        return float(rows)

    def build_seconds(self, rows: int, learned: int, dim: int) -> float:
        """About how long one thread learns from `learned` rows and adds all; by default k-means, and finding lists."""
        nlist = self.lists
        rounds = 10 * nlist**0.5 + nlist if nlist else 0
        return (dim * learned * rounds + self.coded(dim) * rows * nlist) / MULTIPLICATIONS

    @property
    @abstractmethod
    def decoding(self) -> Decoding:
        """What FAISS gives back of a row, by `sa_decode` where it has a code. Some codes end the process: `nothing`."""

    @abstractmethod
    def vector_bytes(self, dim: int) -> float:
        """Bytes of the FAISS file that each row of length `dim` adds."""

    def filling_bytes(self, dim: int) -> float:
        """Bytes of memory that each row takes while rows are added; by default in lists, which grow by doubling."""
        return _GROWING * self.vector_bytes(dim)

    def shared_bytes(self, dim: int) -> float:
        """Bytes of the FAISS file that do not grow with the rows; by default the centroids, where there are any."""
        return 4.0 * dim * self.lists

    def refine_bytes(self, dim: int) -> float:
        """Bytes of the refine vectors of each row."""
        return float({"none": 0, "sq8": dim, "fp16": 2 * dim}[self.refined[0]])

    def refuse(self, dim: int, train_rows: int) -> None:
        """InputError when vectors of length `dim` cannot have this index, learned from `train_rows` of them."""
        refuse_few(train_rows, self.lists, f"nlist: {self.lists}")

    @abstractmethod
    def empty(self, learned_from: TrainingSet, dim: int, metric: Metric) -> faiss.Index:
        """An index of `metric.faiss` without rows, ready for `fill_index`: all that is learned is in it.

        `learned_from` is a random sample of the rows, empty unless `trained`. The same rows must give the same bytes,
        with any number of threads.
        """


def builder_types() -> list[str]:
    """The names that `type:` can have: every module of this package that defines a `Spec`."""
    return types_in(index_builders.types.__path__)


def builder_class(name: Any) -> type[BuilderSpec]:
    """The class `Spec` of the module that `name` names; InputError for an unknown one."""
    spec: type[BuilderSpec] = spec_class(index_builders.types, name)
    return spec


def builder_spec(fields: Mapping[str, Any]) -> BuilderSpec:
    """The spec that YAML `fields` describe; ValidationError for wrong fields, InputError for an unknown type."""
    return builder_class(fields.get("type")).model_validate(fields)


# A spec as a field of a record: of whatever type.
StoredSpec = Annotated[
    SerializeAsAny[BuilderSpec], BeforeValidator(lambda one: builder_spec(one) if isinstance(one, Mapping) else one)
]
