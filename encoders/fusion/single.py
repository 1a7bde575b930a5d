"""One tower alone: the other is not looked at, or, where both see one space, stands in when a product lacks the first.

It is the baseline that every other fusion has to beat, and the choice for catalogs whose texts, or photos, say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Self

import numpy as np
from pydantic import Field

from encoders.base import Modality
from encoders.fusion.base import Fusion
from encoders.fusion.missing import Missing
from encoders.fusion.weighted_sum import SummedSpec, WeightedSum, refuse_unequal
from encoders.towers import Tower, dims_of
from foundation.arrays import Mask, Vectors
from foundation.errors import InputError


class Spec(SummedSpec):
    """`modality` is what products are found by. `shared` says that both towers are of one model."""

    type: Literal["single"] = "single"
    modality: Modality = Field("text", description="the tower that embeddings are made of: text or image")
    shared: bool = Field(False, description="both towers see one space: either may ask, and stand in for the other")

    @classmethod
    def examples(cls, dim: int, trained: Callable[[str], str]) -> Sequence[Self]:
        """See FusionSpec.examples: by either tower, alone and shared."""
        kinds: tuple[Modality, ...] = ("text", "image")
        shared = [cls(modality=kind, shared=True, missing=Missing.example(dim)) for kind in kinds]
        return [*(cls(modality=kind) for kind in kinds), *shared]

    @property
    def weight(self) -> float:
        """All on the one tower."""
        return 1.0 if self.modality == "text" else 0.0

    @property
    def one_space(self) -> bool:
        """With `shared` either modality asks."""
        return self.shared

    @property
    def needs(self) -> frozenset[Modality]:
        """The one tower, or with `shared` both."""
        return frozenset({"text", "image"}) if self.shared else frozenset({self.modality})

    @property
    def stands_in(self) -> bool:
        """With `shared`; else a product without the tower's modality is none."""
        return self.shared

    @property
    def measure_weight(self) -> float | None:
        """With `shared`, as of any sum."""
        return super().measure_weight if self.shared else None

    def refuse_towers(self, text: Tower | None, image: Tower | None) -> None:
        """InputError unless, with `shared`, both towers are there and equally long."""
        if self.shared:
            refuse_unequal(*dims_of(text, image))

    def load(self, text_dim: int | None, image_dim: int | None, device: str = "cpu") -> Fusion:
        """The fusion; InputError when the tower is absent, or with `shared` when the two are not equally long."""
        if self.shared:
            return SharedSingle(refuse_unequal(text_dim, image_dim), self.weight, self.missing, self.alignment)
        dim = text_dim if self.modality == "text" else image_dim
        if dim is None:
            came = f"encoders.{self.modality}: null"
            raise InputError(f"the {self.modality} encoder, which fusion.modality names", came, "name an encoder")
        return Single(dim, self.modality)


class Single(Fusion):
    """Items and queries are the vectors of one tower; scores are its cosines.

    **A missing modality.** A product without the modality is no item: a run rejects it as if there were no other
    encoder. So a text query ranks the products that have a text exactly as the text tower does, with or without photo;
    by photos alone, products without one are not found at all. A query that asks by the other modality is refused.
    """

    def __init__(self, dim: int, modality: Modality) -> None:
        self.dim = dim
        self.uses = frozenset({modality})

    def items(self, text: Vectors, image: Vectors, has_text: Mask, has_image: Mask) -> Vectors:
        """(n, dim) float32, unit rows; zeros for a product without the modality."""
        vectors, there = (text, has_text) if "text" in self.uses else (image, has_image)
        out: Vectors = vectors.astype(vectors.dtype)
        out[~there] = 0
        return out

    def queries(self, text: Vectors | None = None, image: Vectors | None = None) -> Vectors:
        """(nq, dim) float32, unit rows; InputError for a query with the other modality."""
        asked, other = (text, image) if "text" in self.uses else (image, text)
        if other is not None:
            (mine,) = self.uses
            its = "text" if mine == "image" else "photo"
            raise InputError(
                f"a query by {mine} alone, because the products were embedded by that tower only (fusion.type=single)",
                f"a query with a {its}",
                "leave it out; or index with fusion.type=concat, or with fusion.shared=true if one model made both",
            )
        if asked is None:
            raise ValueError("expected text or image vectors, both are None")
        return asked

    def queries_of_items(self, items: Vectors) -> Vectors:
        """See Fusion.queries_of_items: both are the tower's vectors."""
        return items

    def score_parts(
        self, asked: tuple[Vectors | None, Vectors | None], item: tuple[Vectors | None, Vectors | None]
    ) -> dict[Modality, float] | None:
        """See Fusion.score_parts: all of it is of the one tower."""
        (mine,) = self.uses
        q, x = (pair[0] if mine == "text" else pair[1] for pair in (asked, item))
        return None if q is None or x is None else {mine: float(np.vdot(q, x))}


class SharedSingle(WeightedSum):
    """`WeightedSum` with the whole weight on one tower: items are its vectors, and either modality may ask.

    **A missing modality** is stood in for as `WeightedSum` does it. For a text query under `modality: text` that moves
    no product without photo. A query of both asks for both equally.
    """

    def queries(self, text: Vectors | None = None, image: Vectors | None = None) -> Vectors:
        """(nq, dim) float32, whose inner products with items are the scores."""
        return self.weighted_queries(text, image, 0.5)
