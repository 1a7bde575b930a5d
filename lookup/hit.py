"""What a search returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Hit:
    """One product found.

    `score` is the inner product of the query's and the product's embedding, the same scale in every partition.
    `photo` is where the catalog has the first photo: a path or URI as written in the catalog, or None.
    `source` is (catalog file, first row group of the unit, row number counted from there): the catalog row itself.
    """

    id: str
    score: float
    partition: str
    attributes: dict[str, Any]
    photo: str | None
    source: tuple[str, int, int]
