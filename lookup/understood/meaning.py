"""What was understood of a query, as an answer shows it and as a search goes by it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa

from foundation.arrays import Mask
from lookup.filters.values import Operator
from lookup.filters.where import Condition

Kind = Literal["price", "rating", "value", "size", "negation"]


@dataclass(frozen=True)
class Without(Condition):
    """Not one of some values, or none at all: what `!=`, which null never meets, says of a product that lacks the
    attribute.
    """

    def mask(self, column: pa.Array, kind: pa.DataType) -> Mask:
        """(n,) bool: which values are none of those."""
        return np.asarray(~Condition(self.attribute, Operator.IN, self.values).mask(column, kind))

    def __str__(self) -> str:
        return " and ".join(str(Condition(self.attribute, Operator.NOT_EQUAL, (one,))) for one in self.values)


@dataclass(frozen=True)
class Boost:
    """What a product's score gains that meets a condition."""

    condition: Condition
    amount: float


@dataclass(frozen=True)
class Meaning:
    """One thing that a query says: in which words, as which condition, and whether products that do not meet it are
    left out or stand further down.
    """

    kind: Kind
    words: str
    condition: Condition
    action: Literal["filter", "boost"]
    amount: float = 0.0  # of a boost

    def __str__(self) -> str:
        return f"{self.condition} ({self.action})"


@dataclass(frozen=True)
class Understood:
    """What was understood of a text: the meanings in the order of its words, and the words left, which are looked for;
    `notes` say what was seen and left alone.
    """

    text: str | None = None
    meanings: tuple[Meaning, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        return ", ".join([*map(str, self.meanings), *self.notes])

    @property
    def where(self) -> tuple[Condition, ...]:
        """What filters."""
        return tuple(one.condition for one in self.meanings if one.action == "filter")

    @property
    def boosts(self) -> tuple[Boost, ...]:
        """What adds to scores."""
        return tuple(Boost(one.condition, one.amount) for one in self.meanings if one.action == "boost")
