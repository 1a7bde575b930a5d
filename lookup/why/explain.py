"""Why the hits of a query are there: the query is asked again without each word and each part of its photo, and the
scores of the hits are compared. On request only: it costs a query of the encoders for each word and each part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foundation.arrays import Vectors
from foundation.metric import Metric
from lookup.candidates import Candidates
from lookup.halves import Within
from lookup.index.scores import scores_of
from lookup.opened import Opened
from lookup.query import Query, QueryEncoder
from lookup.why.regions import SIDE, greyed
from lookup.why.why import Why, WordEffect
from lookup.why.words import words_left_out


@dataclass(frozen=True)
class _Variants:
    """What is asked in place of the query: `words` left out, each with the text that is `left`, then parts of the
    photo; (1 + n, dim) float32, the query itself first.
    """

    words: list[str]
    left: list[str]
    vectors: Vectors


def explain_hits(
    opened: Opened, queries: QueryEncoder, query: Query, hits: Candidates, within: Within = ()
) -> list[Why]:
    """The reasons of each of `hits`, in their order, of a search `within` some partitions. Beside products
    that a query is also by, effects are those of text and photo alone.
    """
    variants = _variants(queries, query)
    scores = _scores(opened, hits, variants.vectors)
    effects = scores[0] - scores[1:]
    merge, halves = hits.merge, list[dict[str, float] | None]([None] * len(hits))
    if merge is not None and query.text is not None and opened.words is not None:
        of_words = merge.of_words(hits.lexical)
        effects = np.float32(merge.per_dense()) * effects
        for at, rest in enumerate(variants.left):
            without = opened.words.asked(rest, within).scores(hits)
            effects[at] += merge.of_words(hits.lexical - without)
        of_vectors = merge.of_vectors(hits.dense)
        halves = [
            {"words": words, "vectors": vectors}
            for words, vectors in zip(of_words.tolist(), of_vectors.tolist(), strict=True)
        ]
    asked, count = queries.towers(query.text, query.image), len(variants.words)
    found = []
    for at, each in enumerate(effects.T.tolist()):
        words = tuple(map(WordEffect, variants.words, each[:count]))
        cells = each[count:]
        grid = tuple(tuple(cells[row : row + SIDE]) for row in range(0, len(cells), SIDE)) or None
        modalities = _modalities(opened, queries, asked, hits, at)
        found.append(Why(float(scores[0, at]), modalities, halves[at], words, grid))
    return found


def _variants(queries: QueryEncoder, query: Query) -> _Variants:
    text = None if query.text is None else queries.clean(query.text)
    photo = None if query.image is None else queries.decode(query.image)
    left_out = words_left_out(text) if text is not None else []
    parts = greyed(photo) if photo is not None else []
    texts = [text, *(rest for _, rest in left_out), *[text] * len(parts)] if text is not None else []
    photos = [photo, *[photo] * len(left_out), *parts] if photo is not None else []
    return _Variants([word for word, _ in left_out], [rest for _, rest in left_out], queries.embed_each(texts, photos))


def _scores(opened: Opened, hits: Candidates, xq: Vectors) -> Vectors:
    """(nq, n) float32: the score of each hit for each of (nq, dim) float32 queries."""
    scores = np.empty((len(xq), len(hits)), np.float32)
    for number in np.unique(hits.part).tolist():
        here = np.flatnonzero(hits.part == number)
        index = opened.partitions[hits.partitions[number]].index
        scores[:, here] = scores_of(index, xq, hits.positions[here])
    return scores


def _modalities(
    opened: Opened,
    queries: QueryEncoder,
    asked: tuple[Vectors | None, Vectors | None],
    hits: Candidates,
    at: int,
) -> dict[str, float] | None:
    if opened.manifest.metric != Metric.INNER_PRODUCT:
        return None
    parts = queries.fusion.score_parts(asked, opened.towers(hits.name(at), int(hits.positions[at])))
    return None if parts is None else {str(name): part for name, part in parts.items()}
