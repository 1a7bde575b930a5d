"""Text plus photo in one space: for towers trained together, whose vectors can be compared (CLIP, SigLIP)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from encoders.base import Modality, Vectors
from encoders.errors import InputError
from encoders.fusion.base import Fusion, FusionSpec, Mask, Tower, dims_of

# A start only: towers leave a gap between texts and photos (Liang et al. 2022, arXiv 2203.02053), each its own.
START = 0.25


class Spec(FusionSpec):
    """`text_weight` of the text, the rest of the photo. `alignment` belongs to the towers: `measured_alignment`."""

    unit_items: ClassVar[bool] = True

    type: Literal["weighted_sum"] = "weighted_sum"
    text_weight: float = Field(0.5, gt=0, lt=1)
    alignment: float = Field(START, ge=-1, le=1, description="what stands for an unknown cosine, per known one")

    @property
    def needs(self) -> frozenset[Modality]:
        """Both towers."""
        return frozenset({"text", "image"})

    def refuse_towers(self, text: Tower | None, image: Tower | None) -> None:
        """InputError unless both towers are there and equally long."""
        refuse_unequal(*dims_of(text, image))

    def load(self, text_dim: int | None, image_dim: int | None, device: str = "cpu") -> WeightedSum:
        """The fusion; InputError unless both towers are there and equally long."""
        return WeightedSum(refuse_unequal(text_dim, image_dim), self.text_weight, self.alignment)


def refuse_unequal(text_dim: int | None, image_dim: int | None) -> int:
    """The length of both towers; InputError unless both are there and equally long."""
    if text_dim is None or image_dim is None or text_dim != image_dim:
        raise InputError(
            "text and photo vectors of equal length, to add them",
            f"text {text_dim}, photo {image_dim}",
            "set fusion.type=concat, which fits any towers, or choose two towers of one model",
        )
    return text_dim


def measured_alignment(text: Vectors, image: Vectors, queries: Vectors, text_weight: float, seed: int = 0) -> float:
    """The `alignment` under which products without photo keep their share of text queries' top 10.

    `text` and `image` are (n, d) float32 unit rows of the same products, n at least 100, near the catalog's size.
    30% of the photos are hidden at random. `queries` are (nq, d) float32 unit rows of texts as users ask them: the
    answer depends on how near they come to the products' own.
    """
    if len(text) < 100 or text.shape != image.shape:
        raise InputError(
            "100 or more pairs of equal length", f"text {text.shape}, photo {image.shape}", "sample more products"
        )
    hidden = np.random.default_rng(seed).random(len(text)) < 0.3
    known, seen = queries @ text.T, queries @ image.T
    wt, wi = text_weight, 1 - text_weight
    whole = wt * known + wi * seen
    return balanced(known, hidden, lambda g: np.where(hidden, (wt + wi * g) * known, whole), -1, 1)


def balanced(known: Vectors, hidden: Mask, scores: Callable[[float], Vectors], low: float, high: float) -> float:
    """The factor between `low` and `high` under which `hidden` items keep the share of queries' top 10 that they have
    under `known`, the (nq, n) scores of one tower; a greater factor must raise their `scores`.
    """
    target = _share(known, hidden)
    for _ in range(12):  # to 1 / 2**12 of the range
        middle = (low + high) / 2
        share = _share(scores(middle), hidden)
        low, high = (middle, high) if share < target else (low, middle)
    return (low + high) / 2


def _share(scores: Vectors, chosen: Mask) -> float:
    """The share of `chosen` columns among the 10 best of each row."""
    return float(chosen[np.argpartition(-scores, 10, axis=1)[:, :10]].mean())


class WeightedSum(Fusion):
    """An item is wt t + wi i, wt + wi = 1, and a query t, i, or wt t + wi i: scores lie in -1..1.

    A text query therefore scores wt cos(query, text) + wi cos(query, photo): it sees the photo too, which concat does
    not.

    **A missing modality** is replaced by `alignment` times the other: text-only is (wt + wi g) t, photo-only (wt g +
    wi) i. For a query q, g cos(q, t) stands where cos(q, i) is unknown. Left zero, such products would be buried by
    towers that know one another; renormalised to cos(q, t), they would be favoured. `measured_alignment` finds g for
    the towers in use.

    **For which towers that holds.** Synthetic towers of 256 dimensions, 30% of photos missing, g measured on 1,000
    products and 1,000 queries: products without photo, 29% of the text tower's own top 10, are 28-29% of the fused one
    at any size where the towers have no gap. Otherwise only in catalogs about as large as the sample: at 20,000
    products they sink to 22% under a narrow gap, 18% for unrelated towers, 16% under a wide gap, which is the case of
    CLIP. One factor cannot follow cos(q, i), which has a constant part of its own, from one depth of the ranking to
    another. So measure on as many products as the largest partition has, or use concat, which is exact for any towers
    and any size. Products without text were not measured.

    Items are not of unit length: what is missing to 1 stands in one more coordinate, which is 0 in queries and so
    changes no score (Bachrach et al. 2014, "Speeding up the Xbox recommender system"). With it each item finds itself.
    The length is rounded up to a multiple of 8 by zeros, because a product quantizer must divide it.
    """

    def __init__(self, tower_dim: int, text_weight: float, alignment: float) -> None:
        self._tower_dim = tower_dim
        self._text_weight, self._image_weight, self._alignment = text_weight, 1 - text_weight, alignment
        self.dim = -(-(tower_dim + 1) // 8) * 8

    def items(self, text: Vectors, image: Vectors, has_text: Mask, has_image: Mask) -> Vectors:
        """(n, dim) float32, unit rows."""
        text = np.where(has_text[:, None], text, 0)
        image = np.where(has_image[:, None], image, 0)
        wt, wi, g = self._text_weight, self._image_weight, self._alignment
        of_text = np.where(has_image, wt, wt + wi * g).astype(np.float32)
        of_image = np.where(has_text, wi, wi + wt * g).astype(np.float32)
        out = np.zeros((len(text), self.dim), dtype=np.float32)
        out[:, : self._tower_dim] = of_text[:, None] * text + of_image[:, None] * image
        out[:, self._tower_dim] = np.sqrt(np.maximum(1 - (out * out).sum(axis=1, dtype=np.float64), 0))
        return out

    def queries(self, text: Vectors | None = None, image: Vectors | None = None) -> Vectors:
        """(nq, dim) float32, of unit length, or shorter for a query of both."""
        if text is not None and image is not None:
            summed = np.float32(self._text_weight) * text + np.float32(self._image_weight) * image
        elif text is not None:
            summed = text
        elif image is not None:
            summed = image
        else:
            raise ValueError("expected text or image vectors, both are None")
        out = np.zeros((len(summed), self.dim), dtype=np.float32)
        out[:, : self._tower_dim] = summed
        return out
