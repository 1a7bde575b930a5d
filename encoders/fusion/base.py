"""What every fusion is: both sides, items and queries, in one class, so that a query means the right thing against
items.

To add a fusion, add `encoders/fusion/<type>.py` with a class `Spec(FusionSpec)`; `type: <type>` in a config names the
file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

import encoders.fusion
from encoders.base import Vectors, spec_class, types_in
from encoders.identity import identity_of

Mask = npt.NDArray[np.bool_]


class FusionSpec(BaseModel):
    """What makes two fusions the same: frozen, its fields are its YAML keys, hashed into fingerprints."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: ClassVar[int] = 1

    type: str

    @property
    def identity(self) -> str:
        """64 hex digits: equal exactly when two fusions give the same embedding for the same vectors."""
        return identity_of({"fields": self.model_dump(mode="json"), "version": self.version})

    @abstractmethod
    def load(self, text_dim: int | None, image_dim: int | None) -> Fusion:
        """The fusion for towers of these lengths (None: the tower is absent); InputError if they do not fit."""


class Fusion(ABC):
    """Items and queries in one space, compared by inner product."""

    dim: int

    @abstractmethod
    def items(self, text: Vectors, image: Vectors, has_text: Mask, has_image: Mask) -> Vectors:
        """(n, dim) float32 of (n, dt) and (n, di) float32 unit rows; a row whose mask is False is zeros and counts as
        absent.

        Each product has at least one modality. The class docstring states what an absent one means.
        """

    @abstractmethod
    def queries(self, text: Vectors | None = None, image: Vectors | None = None) -> Vectors:
        """(nq, dim) float32 of (nq, dt) and / or (nq, di) float32 unit rows; ValueError when both are None."""


def fusion_types() -> list[str]:
    """The names that `fusion.type` can have."""
    return types_in(encoders.fusion.__name__, list(encoders.fusion.__path__))


def fusion_spec(fields: dict[str, Any]) -> FusionSpec:
    """The spec that YAML `fields` describe; pydantic.ValidationError for wrong fields, InputError for an unknown
    type.
    """
    spec: FusionSpec = spec_class(encoders.fusion.__name__, fusion_types(), fields).model_validate(fields)
    return spec
