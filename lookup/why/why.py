"""What a hit says of itself when it is asked why it is there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WordEffect:
    """A word of the query, and what of the hit's score goes when it is left out; negative: it counts against it."""

    word: str
    effect: float


@dataclass(frozen=True)
class Why:
    """The reasons of one hit, in the units of `vectors`, the score of its embedding.

    `modalities` are exact, and add up to `vectors`, where the fusion is a sum and the shards keep the towers' vectors;
    else None. `words` are in the order of the query; none of a query of one word. `regions` are what goes when a part
    of the query's photo is greyed, by rows from the top; None without a photo.
    """

    vectors: float
    modalities: dict[str, float] | None  # text, image
    words: tuple[WordEffect, ...]
    regions: tuple[tuple[float, ...], ...] | None
