"""Text plus photo, equally: `weighted_sum` with nothing to weigh, for towers trained together."""

from __future__ import annotations

from typing import Literal

from encoders.fusion.weighted_sum import SummedSpec


class Spec(SummedSpec):
    """`WeightedSum` of equal weights, which says what a missing modality means."""

    type: Literal["sum"] = "sum"
