"""What every type of re-ranker is: a model, in a text file, that makes features into a score, and how it is learned.

To add a type, add `lookup/rerank/types/<type>.py` with a class `Spec(RankerSpec)`; `--type <type>` of `vitrine train
rank` names the file, and all that is to be known of the type stands there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

import lookup.rerank.types
from foundation.named_types import spec_class, types_in

Matrix = npt.NDArray[np.float64]  # (n, m), NaN where a feature says nothing
Scores = npt.NDArray[np.float64]  # (n,)
VERSION = 1


class Lesson(Protocol):
    """The candidates of one query: what is seen of them, (n, m), and what each is worth, (n,) of 0 and more, not all
    the same.
    """

    @property
    def features(self) -> Matrix:
        """See the class."""

    @property
    def gains(self) -> Scores:
        """See the class."""


class Model(Protocol):
    """What scores candidates. Threads may share it."""

    def score(self, features: Matrix) -> Scores:
        """The score of each row, bigger is better; the same row has the same score beside any others."""

    def importance(self) -> Scores:
        """(m,) float64 of 0 and more: how much each feature decides."""


class RankerSpec(ABC):
    """A type of re-ranker."""

    file: ClassVar[str]  # the name of its model in a folder; text, no pickle
    linear: ClassVar[bool] = False  # whether what is the same for all candidates of a query changes no order

    @abstractmethod
    def learn(self, lessons: Sequence[Lesson], seed: int) -> str:
        """The text of a model that orders candidates by `lessons`, of which there are some: equal lessons give equal
        text.
        """

    @abstractmethod
    def open(self, text: str) -> Model:
        """The model of such a text; InputError where what it needs is not installed."""


def ranker_types() -> list[str]:
    """The names that `--type` can have."""
    return types_in(lookup.rerank.types.__path__)


def ranker_spec(name: Any) -> RankerSpec:
    """The type that `name` names; InputError for an unknown one."""
    kind: type[RankerSpec] = spec_class(lookup.rerank.types, name)
    return kind()
