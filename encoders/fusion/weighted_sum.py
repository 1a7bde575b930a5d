"""Text plus photo in one space: for towers trained together, whose vectors can be compared (CLIP, SigLIP)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from encoders.base import Modality
from encoders.fusion.base import Fusion, FusionSpec
from encoders.fusion.missing import Missing, one_factor
from encoders.towers import Tower, dims_of
from foundation.arrays import Mask, Vectors
from foundation.errors import InputError

MISSING = "how a product without photo or text is scored; null: the run measures it for its towers"
ALIGNMENT = "instead of missing: one factor set by hand, what stands for an unknown cosine per known one"
_MARK = 0.5  # in a coordinate of its own, where an item lacks a modality: queries have there what is added


class SummedSpec(FusionSpec):
    """What fusions that add two towers share. What stands in for a missing modality belongs to the towers."""

    unit_items: ClassVar[bool] = True
    later: ClassVar[frozenset[str]] = frozenset({"alignment", "missing"})

    type: str
    missing: Missing | None = Field(None, description=MISSING)
    alignment: float | None = Field(None, ge=-1, le=1, description=ALIGNMENT)

    @classmethod
    def examples(cls, dim: int, trained: Callable[[str], str]) -> Sequence[Self]:
        """See FusionSpec.examples: measured, and set by hand."""
        return [cls.model_validate({"missing": Missing.example(dim)}), cls.model_validate({"alignment": 0.25})]

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.missing is not None and self.alignment is not None:
            raise ValueError("either missing or alignment: both say what stands in for a missing modality")
        return self

    @property
    def weight(self) -> float:
        """What the text weighs in items; the photo weighs the rest."""
        return 0.5

    @property
    def needs(self) -> frozenset[Modality]:
        """Both towers."""
        return frozenset({"text", "image"})

    @property
    def stands_in(self) -> bool:
        """Yes: see `WeightedSum`."""
        return True

    @property
    def one_space(self) -> bool:
        """Yes: towers are added."""
        return True

    @property
    def measure_weight(self) -> float | None:
        """The weight of the text, unless what stands in was measured, or set by hand."""
        return self.weight if self.missing is None and self.alignment is None else None

    def refuse_towers(self, text: Tower | None, image: Tower | None) -> None:
        """InputError unless both towers are there and equally long."""
        refuse_unequal(*dims_of(text, image))

    def load(self, text_dim: int | None, image_dim: int | None, device: str = "cpu") -> Fusion:
        """The fusion; InputError unless both towers are there and equally long."""
        return WeightedSum(refuse_unequal(text_dim, image_dim), self.weight, self.missing, self.alignment)


class Spec(SummedSpec):
    """`text_weight` of the text, the rest of the photo."""

    type: Literal["weighted_sum"] = "weighted_sum"
    text_weight: float = Field(0.5, gt=0, lt=1)

    @property
    def weight(self) -> float:
        """`text_weight`."""
        return self.text_weight


def refuse_unequal(text_dim: int | None, image_dim: int | None) -> int:
    """The length of both towers; InputError unless both are there and equally long."""
    if text_dim is None or image_dim is None or text_dim != image_dim:
        raise InputError(
            "text and photo vectors of equal length, to add them",
            f"text {text_dim}, photo {image_dim}",
            "set fusion.type=concat, which fits any towers, or choose two towers of one model",
        )
    return text_dim


class WeightedSum(Fusion):
    """An item is wt t + wi i, wt + wi = 1, and a query t, i, or wt t + wi i: scores lie in -1..1.

    A text query therefore scores wt cos(query, text) + wi cos(query, photo): it sees the photo too, which concat does
    not. A query of both scores as wt times the one by text plus wi times the one by photo, whatever products lack.

    **A missing modality.** A product without photo scores slope cos(query, text) + line(query), a product without text
    slope cos(query, photo) + line(query): `missing` has a slope for each and a line for each kind of query, measured by
    `measured_missing` on the towers in use (see missing.py). Asked by what they have, such products keep the share of
    hits that they have under the tower that knows them. Asked by what they lack, they score as the products that are as
    near by what they have do on average. With `alignment` it is one factor g for both and no lines: text-only is
    (wt + wi g) t, photo-only (wt g + wi) i. Loaded with neither, items that lack something are refused.

    **For which towers that holds.** 14 kinds of synthetic towers, equal weights, learned on 2,048 rows: in catalogs
    of 1,000 to 30,000, where the share that is missing (30% or 60%) is the one that was balanced for, both shares are
    within 5 points of the tower's own, without a gap, with a narrow and a wide one, isotropic or not. The exception are
    towers that know nothing of one another and have a gap too: products without photo sink by 5 to 7. Where 30% lacked
    it then and 60% do now, they sink by up to 11 points, by 18 in that exception. Larger catalogs were not measured.

    Items are scaled to be no longer than 1, and queries by the inverse. What an item lacks to 1 stands in one more
    coordinate, which is 0 in queries and so changes no score (Bachrach et al. 2014, "Speeding up the Xbox recommender
    system"). With it each item finds itself. The lines stand in two coordinates, of which items that lack a modality
    have one, always the same, and queries what it is to be multiplied with. The length is rounded up to a multiple of 8
    by zeros, because a product quantizer must divide it.
    """

    def __init__(
        self, tower_dim: int, text_weight: float, missing: Missing | None, alignment: float | None = None
    ) -> None:
        self._tower_dim = tower_dim
        self._text_weight, self._image_weight = text_weight, 1 - text_weight
        self._lines = alignment is None
        self._missing = missing if alignment is None else one_factor(text_weight, alignment)
        self.dim = -(-(tower_dim + (3 if self._lines else 1)) // 8) * 8
        self._scale = 1.0
        if self._lines and self._missing is not None:
            longest = max(abs(self._missing.text_only.slope), abs(self._missing.photo_only.slope))
            self._scale = min(1.0, (1 - _MARK**2) ** 0.5 / max(longest, 1e-9))

    def items(self, text: Vectors, image: Vectors, has_text: Mask, has_image: Mask) -> Vectors:
        """(n, dim) float32, unit rows."""
        text = np.where(has_text[:, None], text, 0)
        image = np.where(has_image[:, None], image, 0)
        alone = has_text & ~has_image, has_image & ~has_text
        if self._missing is None and (alone[0].any() or alone[1].any()):
            lacking = int(alone[0].sum() + alone[1].sum())
            raise ValueError(f"expected `missing`, measured, for products that lack a text or a photo: {lacking} do")
        slopes = (self._missing.text_only.slope, self._missing.photo_only.slope) if self._missing else (0.0, 0.0)
        of_text = (self._scale * np.where(has_image, self._text_weight, slopes[0])).astype(np.float32)
        of_image = (self._scale * np.where(has_text, self._image_weight, slopes[1])).astype(np.float32)
        out = np.zeros((len(text), self.dim), dtype=np.float32)
        end = self._tower_dim
        out[:, :end] = of_text[:, None] * text + of_image[:, None] * image
        if self._lines:
            out[:, end], out[:, end + 1] = _MARK * alone[0], _MARK * alone[1]
            end += 2
        out[:, end] = np.sqrt(np.maximum(1 - (out * out).sum(axis=1, dtype=np.float64), 0))
        return out

    def queries(self, text: Vectors | None = None, image: Vectors | None = None) -> Vectors:
        """(nq, dim) float32, whose inner products with items are the scores."""
        return self.weighted_queries(text, image, self._text_weight)

    def score_parts(
        self, asked: tuple[Vectors | None, Vectors | None], item: tuple[Vectors | None, Vectors | None]
    ) -> dict[Modality, float] | None:
        """See Fusion.score_parts: a sum where the item has both; of one alone a stand-in is in it too."""
        text, image = item
        if text is None or image is None:
            return None
        query = self.queries(*asked)[:, : self._tower_dim] * np.float32(self._scale)
        weights: tuple[tuple[Modality, float, Vectors], ...] = (
            ("text", self._text_weight, text),
            ("image", self._image_weight, image),
        )
        return {name: weight * float(np.vdot(query, vectors)) for name, weight, vectors in weights}

    def weighted_queries(self, text: Vectors | None, image: Vectors | None, text_weight: float) -> Vectors:
        """(nq, dim) float32: `queries`, those of both asking for the text with `text_weight` and for the photo with the
        rest.
        """
        if text is not None and image is not None:
            wt, wi = np.float32(text_weight), np.float32(1 - text_weight)
            return wt * self._by_one(text, by_text=True) + wi * self._by_one(image, by_text=False)
        if text is not None:
            return self._by_one(text, by_text=True)
        if image is not None:
            return self._by_one(image, by_text=False)
        raise ValueError("expected text or image vectors, both are None")

    def _by_one(self, vectors: Vectors, by_text: bool) -> Vectors:
        """Queries by one modality."""
        out = np.zeros((len(vectors), self.dim), dtype=np.float32)
        out[:, : self._tower_dim] = vectors / np.float32(self._scale)
        if self._lines and self._missing is not None:
            for place, one in enumerate((self._missing.text_only, self._missing.photo_only), start=self._tower_dim):
                out[:, place] = (one.by_text if by_text else one.by_photo).at(vectors) / np.float32(_MARK)
        return out
