"""What a fusion learns from: the towers' outputs of each product, and of texts as users might ask, computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from encoders.fusion.base import States
from encoders.fusion.learned.inputs import Rows
from encoders.training.pairs import is_held_out
from foundation.arrays import Vectors
from foundation.errors import InputError

Indices = npt.NDArray[np.int64]
Halves = npt.NDArray[np.float16]
FEWEST = 100  # products that a missing modality's rule can be measured on


@dataclass
class FusionLessons:
    """n products that have a text and a photo, `variants` queries each, and what both towers made of them.

    Vectors are arrays of unit rows, one of each piece of the catalog. States, in float16, are there when the fusion
    reads them: one (length, s) array of each product's text, of its photos, and of each query.
    """

    variants: int
    ids: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)  # as items are embedded
    query_texts: list[str] = field(default_factory=list)  # n * variants, those of a product together
    text: list[Vectors] = field(default_factory=list)
    image: list[Vectors] = field(default_factory=list)
    queries: list[Vectors] = field(default_factory=list)
    text_states: list[Halves] = field(default_factory=list)
    image_states: list[Halves] = field(default_factory=list)
    query_states: list[Halves] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Of vectors and states."""
        vectors = sum(array.nbytes for part in (self.text, self.image, self.queries) for array in part)
        states = (self.text_states, self.image_states, self.query_states)
        return vectors + sum(array.nbytes for part in states for array in part)


def asked_of(product: str, texts: Sequence[str], variants: int, share: float, seed: int) -> list[str]:
    """`variants` queries for a product: each is one of `texts`, of which each word is dropped with probability `share`,
    never all. The same for the same product in any catalog.
    """
    number = int.from_bytes(blake3(f"{seed}/{product}".encode("utf-8", "surrogatepass")).digest()[:8], "big")
    draw = np.random.default_rng(number)
    made = []
    for _ in range(variants):
        words = texts[int(draw.integers(len(texts)))].split()
        kept = [word for word, lot in zip(words, draw.random(len(words)).tolist(), strict=True) if lot >= share]
        made.append(" ".join(kept or [words[int(draw.integers(len(words)))]]))
    return made


class Classroom:
    """`FusionLessons` as arrays: which products are held out, and items and queries by their numbers."""

    def __init__(self, lessons: FusionLessons, held_out: float, held_out_most: int) -> None:
        n = len(lessons.ids)
        if n < FEWEST:
            fix = "give more products: how a missing modality counts is measured on them"
            raise InputError(f"{FEWEST} products or more that have both a text and a photo", str(n), fix)
        self.variants = lessons.variants
        self.text, self.image, self.queries = (
            np.concatenate(part) for part in (lessons.text, lessons.image, lessons.queries)
        )
        self._lessons = lessons
        self._text_numbers, self._query_numbers = _numbers(lessons.texts), _numbers(lessons.query_texts)
        held = np.array([is_held_out(name, held_out) for name in lessons.ids])
        self.training = np.flatnonzero(~held)
        if held_out and not held.any():
            came = f"train_fusion.held_out={held_out} of {n} products is none"
            fix = "raise train_fusion.held_out, or set it to 0: no measuring"
            raise InputError("a held-out product to measure on", came, fix)
        by_hash = sorted(np.flatnonzero(held).tolist(), key=lambda i: blake3(lessons.ids[i].encode()).digest())
        self.held_out = np.array(by_hash[:held_out_most], dtype=np.int64)
        if len(self.training) < 2:
            raise InputError("2 products to learn from", str(len(self.training)), "lower train_fusion.held_out")

    def items(self, rows: Indices, has_text: npt.NDArray[np.bool_], has_image: npt.NDArray[np.bool_]) -> Rows:
        """Products at `rows` (n,) int64 as items, some of their modalities hidden."""
        states = None
        if self._lessons.image_states:
            lessons = self._lessons
            states = States(*([side[i] for i in rows.tolist()] for side in (lessons.text_states, lessons.image_states)))
        return Rows(self.text[rows], self.image[rows], has_text, has_image, states)

    def asking(
        self, rows: Indices, variant: Indices, has_text: npt.NDArray[np.bool_], has_image: npt.NDArray[np.bool_]
    ) -> Rows:
        """A query of each product at `rows` (n,) int64: the `variant` of its texts, its photo, or both."""
        chosen = rows * self.variants + variant
        states = None
        if self._lessons.image_states:
            lessons = self._lessons
            texts = [lessons.query_states[i] for i in chosen.tolist()]
            states = States(texts, [lessons.image_states[i] for i in rows.tolist()])
        return Rows(self.queries[chosen], self.image[rows], has_text, has_image, states)

    def equal(self, rows: Indices, others: Indices) -> npt.NDArray[np.bool_]:
        """(n, m) bool: whether product i and product j are the same, or have the same text."""
        same: npt.NDArray[np.bool_] = self._text_numbers[rows][:, None] == self._text_numbers[others][None, :]
        return same

    def matched(self, rows: Indices, variant: Indices, asks_text: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """(n, n) bool: whether item j answers query i: the same product, an equal text, or an equal query for it."""
        query_texts = self._query_numbers[rows * self.variants + variant]
        found: npt.NDArray[np.bool_] = self.equal(rows, rows) | (
            asks_text[:, None] & (query_texts[:, None] == query_texts[None, :])
        )
        return found


def _numbers(texts: Sequence[str]) -> Indices:
    """(n,) int64: equal for equal texts only."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(text, len(numbers)) for text in texts], dtype=np.int64)
