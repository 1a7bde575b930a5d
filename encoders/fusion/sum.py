"""Text plus photo, equally: `weighted_sum` with nothing to weigh, for towers trained together."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from encoders.base import Modality
from encoders.fusion.base import FusionSpec, Tower, dims_of
from encoders.fusion.weighted_sum import START, WeightedSum, refuse_unequal


class Spec(FusionSpec):
    """`alignment` belongs to the towers: see `measured_alignment`."""

    unit_items: ClassVar[bool] = True

    type: Literal["sum"] = "sum"
    alignment: float = Field(START, ge=-1, le=1, description="what stands for an unknown cosine, per known one")

    @property
    def needs(self) -> frozenset[Modality]:
        """Both towers."""
        return frozenset({"text", "image"})

    def refuse_towers(self, text: Tower | None, image: Tower | None) -> None:
        """InputError unless both towers are there and equally long."""
        refuse_unequal(*dims_of(text, image))

    def load(self, text_dim: int | None, image_dim: int | None, device: str = "cpu") -> WeightedSum:
        """`WeightedSum` of equal weights, which says what a missing modality means; InputError for unequal towers."""
        return WeightedSum(refuse_unequal(text_dim, image_dim), 0.5, self.alignment)
