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
    """The reasons of one hit.

    `vectors` is the score of its embedding; `modalities`, of texts and of photos, add up to it, exactly, where the
    fusion is a sum and the shards keep the towers' vectors; else None. `halves`, what words and what embeddings give,
    add up to the score of a search by both, before boosts and a re-ranker; None where embeddings alone were asked.

    `words` and `regions` are in units of that score: what of it goes when a word of the query is left out, in the order
    of the query, and when a part of its photo is greyed, by rows from the top. A query of one word has no `words`, and
    one without a photo no `regions`.
    """

    vectors: float
    modalities: dict[str, float] | None  # text, image
    halves: dict[str, float] | None  # words, vectors
    words: tuple[WordEffect, ...]
    regions: tuple[tuple[float, ...], ...] | None
