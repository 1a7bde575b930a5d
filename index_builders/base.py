"""What every index type is: a spec (data) with one short method that learns an empty FAISS index from a sample.

To add an index type, add `index_builders/types/<type>.py` with a class `Spec(BuilderSpec)`; `type: <type>` in a config
names the file. Sampling, checks, tuning and measuring belong to `build.py`, adding rows to `fill/fill.py`. Specs are
part of the config, so their modules import FAISS only inside `empty`: reading a config must not cost its import.
"""

from __future__ import annotations

import importlib
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

import index_builders.types
from foundation.errors import InputError
from foundation.identity import identity_of
from foundation.metric import Metric
from foundation.named_types import types_in
from index_builders.refusals import refuse_few

if TYPE_CHECKING:
    import faiss

    from index_builders.rows.training_set import TrainingSet

RefineKind = Literal["none", "sq8", "fp16"]

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

    type: str

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

    def least_rows(self, dim: int) -> int:
        """How many rows that differ it has to learn from; by default as many as lists, where there are any."""
        return int(self.model_dump().get("nlist", 0))

    @property
    def rotates(self) -> bool:
        """Whether queries are rotated before they are compared."""
        return False

    @abstractmethod
    def nanoseconds(self, dim: int) -> tuple[float, float]:
        """What a query costs, see cost.py: ns to compare one code, and ns to begin a list, 0 where there are none."""

    @abstractmethod
    def vector_bytes(self, dim: int) -> float:
        """Bytes of the FAISS file that each row of length `dim` adds."""

    def filling_bytes(self, dim: int) -> float:
        """Bytes of memory that each row takes while rows are added; by default in lists, which grow by doubling."""
        return _GROWING * self.vector_bytes(dim)

    def shared_bytes(self, dim: int) -> float:
        """Bytes of the FAISS file that do not grow with the rows; by default the centroids, where there are any."""
        return 4.0 * dim * int(self.model_dump().get("nlist", 0))

    def refine_bytes(self, dim: int) -> float:
        """Bytes of the refine vectors of each row."""
        return float({"none": 0, "sq8": dim, "fp16": 2 * dim}[self.refined[0]])

    def refuse(self, dim: int, train_rows: int) -> None:
        """InputError when vectors of length `dim` cannot have this index, learned from `train_rows` of them."""
        nlist = int(self.model_dump().get("nlist", 0))
        refuse_few(train_rows, nlist, f"nlist: {nlist}")

    @abstractmethod
    def empty(self, learned_from: TrainingSet, dim: int, metric: Metric) -> faiss.Index:
        """An index of `metric.faiss` without rows, ready for `filled`: all that is learned is in it.

        `learned_from` is a random sample of the rows, empty unless `trained`. The same rows must give the same bytes,
        with any number of threads.
        """


def builder_types() -> list[str]:
    """The names that `type:` can have: every module of this package that defines a `Spec`."""
    return types_in(index_builders.types.__path__)


def builder_spec(fields: dict[str, Any]) -> BuilderSpec:
    """The spec that YAML `fields` describe; ValidationError for wrong fields, InputError for an unknown type."""
    name, types = fields.get("type"), builder_types()
    if name not in types:
        raise InputError(
            f"type: one of {', '.join(types)}",
            f"type: {name!r}",
            "name a module of index_builders/types/ that defines Spec",
        )
    spec: BuilderSpec = importlib.import_module(f"{index_builders.types.__name__}.{name}").Spec.model_validate(fields)
    return spec
