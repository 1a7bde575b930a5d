"""Texts by how often they have each letter: words of the same letters are alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from encoders.base import EncoderSpec, Modality, Role, TextEncoder
from foundation.arrays import Vectors


class Spec(EncoderSpec):
    """Letters by their code points."""

    modalities: ClassVar[frozenset[Modality]] = frozenset({"text"})
    cpu_only: ClassVar[bool] = True

    type: Literal["letter_counts"] = "letter_counts"
    dim: int = Field(64, ge=8, le=1024, description="letters that are told apart")

    def load(self, device: str) -> LetterCounts:
        """The encoder."""
        return LetterCounts(self.dim)


class LetterCounts(TextEncoder):
    """Counts, of unit length."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, texts: Sequence[str], role: Role) -> Vectors:
        """(n, dim) float32, unit rows."""
        counts = [np.bincount([ord(letter) % self.dim for letter in text], minlength=self.dim) for text in texts]
        found = np.array(counts, np.float64)
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)
