"""Text beside photo: scores are weighted sums of the two towers' cosines. Works for any two towers."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from encoders.base import Modality
from encoders.fusion.base import Fusion, FusionSpec
from foundation.arrays import Mask, Vectors
from foundation.errors import InputError


class Spec(FusionSpec):
    """`text_weight` is what the text tower's cosine counts in a query of text and photo; the photo counts the rest."""

    type: Literal["concat"] = "concat"
    text_weight: float = Field(0.5, gt=0, lt=1)

    def load(self, text_dim: int | None, image_dim: int | None, device: str = "cpu") -> Concat:
        """The fusion; with one tower absent it is the other tower, unweighted."""
        if text_dim is None and image_dim is None:
            raise InputError("a text or a photo encoder", "neither", "set `text:` or `image:` in the config")
        return Concat(text_dim, image_dim, self.text_weight)


class Concat(Fusion):
    """An item is [sqrt(wt) t, sqrt(wi) i], wt + wi = 1; its inner product with a query is

    - text query [t / sqrt(wt), 0]: the cosine of the texts, in -1..1;
    - photo query [0, i / sqrt(wi)]: the cosine of the photos, in -1..1;
    - both [sqrt(wt) t, sqrt(wi) i]: wt times the first plus wi times the second, in -1..1.

    **A missing modality** is zeros, and the row is not renormalised. So a text query ranks products exactly as the text
    tower alone does, whether or not they have a photo: none is favoured or buried. A product without what is asked for
    scores 0, as unrelated. A query of both sees of a product what it has.

    Items are of unit length, or shorter where a modality is missing, and each finds itself: for items x = [a, b] and
    y = [c, d], a part of y is as long as that of x wherever x has it, hence <x, y> <= |a| |c| + |b| |d| <= |x|**2.
    """

    def __init__(self, text_dim: int | None, image_dim: int | None, text_weight: float) -> None:
        both = text_dim is not None and image_dim is not None
        self._text_dim, self._image_dim = text_dim or 0, image_dim or 0
        self._text_root: float = text_weight**0.5 if both else 1.0
        self._image_root: float = (1 - text_weight) ** 0.5 if both else 1.0
        self.dim = self._text_dim + self._image_dim

    def items(self, text: Vectors, image: Vectors, has_text: Mask, has_image: Mask) -> Vectors:
        """(n, dim) float32, of length 1 or the root of the weight of the only modality; absent towers are (n, 0)."""
        out = np.zeros((len(has_text), self.dim), dtype=np.float32)
        if self._text_dim:
            np.multiply(text, np.float32(self._text_root), out=out[:, : self._text_dim], where=has_text[:, None])
        if self._image_dim:
            np.multiply(image, np.float32(self._image_root), out=out[:, self._text_dim :], where=has_image[:, None])
        return out

    def queries(self, text: Vectors | None = None, image: Vectors | None = None) -> Vectors:
        """(nq, dim) float32; the class says how long, and in which range scores lie."""
        self._check(text, image)
        given = [vectors for vectors in (text, image) if vectors is not None]
        out = np.zeros((len(given[0]), self.dim), dtype=np.float32)
        # A single modality is divided by what its items were multiplied with.
        power = 1 if len(given) == 2 else -1
        if text is not None:
            out[:, : self._text_dim] = text * np.float32(self._text_root**power)
        if image is not None:
            out[:, self._text_dim :] = image * np.float32(self._image_root**power)
        return out

    def queries_of_items(self, items: Vectors) -> Vectors:
        """See Fusion.queries_of_items: an item of one modality is as long as the root of its weight, its query as long
        as the inverse of that; one of both is its own query.
        """
        squares = np.einsum("ij,ij->i", items, items, dtype=np.float64)[:, None]
        asked: Vectors = np.divide(items, squares, out=np.zeros_like(items), where=squares > 0, casting="unsafe")
        return asked

    def score_parts(
        self, asked: tuple[Vectors | None, Vectors | None], item: tuple[Vectors | None, Vectors | None]
    ) -> dict[Modality, float]:
        """See Fusion.score_parts: always a sum of what was asked by, nothing for what is missing."""
        both = all(one is not None for one in asked)
        weights = (self._text_root**2, self._image_root**2) if both else (1.0, 1.0)
        names: tuple[Modality, ...] = ("text", "image")
        return {
            name: 0.0 if x is None else weight * float(np.vdot(q, x))
            for name, weight, q, x in zip(names, weights, asked, item, strict=True)
            if q is not None
        }

    def _check(self, text: Vectors | None, image: Vectors | None) -> None:
        if text is None and image is None:
            raise ValueError("expected text or image vectors, both are None")
        for name, vectors, dim in (("text", text, self._text_dim), ("image", image, self._image_dim)):
            if vectors is not None and not dim:
                raise InputError(
                    f"a query without {name}", f"a query with {name}", f"index with a {name} encoder, or leave it out"
                )
