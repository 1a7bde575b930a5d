"""BM25F over whole texts, one row and one term after another: nothing of the index is used."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lookup.lexical.analysis import Analysis
from lookup.lexical.query import LexicalQuery
from lookup.lexical.words import Kind, words_of


def length_of(text: str) -> int:
    """Words of a text; a run of n characters is n - 1 pairs."""
    return sum(max(len(word.text) - 1, 1) if word.kind == Kind.RUN else 1 for word in words_of(text))


def bm25f(
    rows: Sequence[Mapping[str, str | None]],
    weights: Mapping[str, float],
    analysis: Analysis,
    query: LexicalQuery,
    k1: float = 1.2,
    b: float = 0.75,
) -> list[float]:
    """The score of each row."""
    texts = {field: [row[field] or "" for row in rows] for field in weights}
    terms = {field: [analysis.terms(text, "item") for text in texts[field]] for field in weights}
    lengths = {field: [length_of(text) for text in texts[field]] for field in weights}
    means = {field: sum(some) / max(sum(one > 0 for one in some), 1) for field, some in lengths.items()}

    def count(term: str, row: int) -> float:
        return sum(
            weight * terms[field][row].count(term) / (1 - b + b * lengths[field][row] / (means[field] or 1.0))
            for field, weight in weights.items()
        )

    def frequency(named: Sequence[str]) -> int:
        return min(sum(count(term, row) > 0 for row in range(len(rows))) for term in named)

    scores = []
    for row in range(len(rows)):
        total = 0.0
        for group in query.groups:
            most = max(frequency(one.terms) for one in group.alternatives)
            idf = math.log(1 + (len(rows) - most + 0.5) / (most + 0.5))
            counts = [(one.weight, min(count(term, row) for term in one.terms)) for one in group.alternatives]
            total += group.weight * idf * max(weight * c * (k1 + 1) / (c + k1) for weight, c in counts)
        scores.append(total)
    return scores
