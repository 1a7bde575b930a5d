"""Texts, photos and queries of products as two towers see them, trained together or knowing nothing of one another."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


DIM = 32


def unit(vectors: npt.NDArray[Any]) -> Floats:
    """Unit rows."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def towers(n: int, gap: float | None, seed: int = 0, dim: int = DIM) -> tuple[Floats, Floats, Floats]:
    """Texts, photos, and text queries for the first products, (n, dim) each: what a product is, plus noise of its own.

    With `gap` the towers were trained together, and see the meaning alike but for a constant direction each, `gap` as
    strong as the meaning (Liang et al. 2022); with None they know nothing of one another.
    """
    rng = np.random.default_rng(seed)
    kinds = rng.standard_normal((40, dim))
    meaning = kinds[rng.integers(0, 40, n)] + 0.6 * rng.standard_normal((n, dim))
    seen = meaning if gap is not None else meaning @ rng.standard_normal((dim, dim)) / dim**0.5
    apart = (gap or 0) * unit(rng.standard_normal((2, dim))) * dim**0.5
    text = unit(meaning + 0.3 * rng.standard_normal((n, dim)) + apart[0])
    query = unit(meaning + 0.5 * rng.standard_normal((n, dim)) + apart[0])
    photo = unit(seen + 0.5 * rng.standard_normal((n, dim)) + apart[1])
    return text, photo, query
