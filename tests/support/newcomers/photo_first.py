"""Photo before text: a product is looked for by what it looks like, and its text decides among the like."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from encoders.fusion.base import FusionSpec
from encoders.fusion.concat import Concat
from foundation.errors import InputError


class Spec(FusionSpec):
    """`text_weight` is what the text counts in a query of text and photo: less than half."""

    type: Literal["photo_first"] = "photo_first"
    text_weight: float = Field(0.2, gt=0, lt=0.5, description="of a query of text and photo; the photo has the rest")

    def load(self, text_dim: int | None, image_dim: int | None, device: str = "cpu") -> Concat:
        """The fusion, whose missing-modality rule is that of Concat."""
        if text_dim is None or image_dim is None:
            raise InputError("an encoder of texts and one of photos", "one of them", "name both")
        return Concat(text_dim, image_dim, self.text_weight)
