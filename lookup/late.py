"""Late fusion: a text list and a photo list merged by rank, for queries of both. It needs no common scale of scores.

hits = search_late(reader, Query(text="blue", image=photo, k=10))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lookup.hit import Hit
from lookup.index.partition_index import STEADY
from lookup.query import Query
from lookup.search import Reader

RRF_K = 60  # Cormack, Clarke and Büttcher 2009, "Reciprocal rank fusion outperforms Condorcet", section 2
# With lists of 2 k + 60, no product that both leave out could be among the k best: it would have less than
# 2 / (60 + 2 k + 60), while each of the first k of a list has 1 / (60 + k) or more.
_DEEPER = 60
# A product's place in the longer lists counts too, so lists are equally long for every k that has the same first hits.


def reciprocal_rank_fusion(lists: Sequence[Sequence[str]]) -> list[tuple[str, float]]:
    """(id, sum of 1 / (60 + rank) over the lists that have it), best first; each list is best first, no id twice.

    Equal sums stay in the order of the lists: what an earlier list has comes first.
    """
    scores: dict[str, float] = {}
    for listed in lists:
        if len(set(listed)) != len(listed):
            raise ValueError(f"expected lists without repeated ids, one has {len(listed) - len(set(listed))} repeated")
        for rank, one in enumerate(listed, 1):
            scores[one] = scores.get(one, 0.0) + 1 / (RRF_K + rank)
    # Stable, and rounded: 1/63 + 1/84 equals 1/72 + 1/72, but not in floats. Unequal sums differ by 1e-8 and more.
    return sorted(scores.items(), key=lambda item: -round(item[1], 12))


def search_late(reader: Reader, query: Query) -> list[Hit]:
    """The `k` best products by rank in two searches, one by the text and one by the photo; `score` is the rank sum.

    A query of one modality has one list, whose order stays; one by products alone is searched as ever. What a list
    ranks below 2 k + 60, or 260 where k is under 100, counts as not in it: the first hits are the same for every k up
    to 100. Of both lists only what meets `where`, see `Reader.search`.
    """
    query, _ = reader.understand(query)  # of both lists alike
    deep = replace(query, k=2 * max(query.k, STEADY) + _DEEPER)
    if not query.by_words:
        return reader.answer(query)
    by_text = reader.answer(replace(deep, image=None)) if query.text is not None else []
    by_photo = reader.answer(replace(deep, text=None)) if query.image is not None else []
    hits = {hit.id: hit for hit in (*by_text, *by_photo)}
    merged = reciprocal_rank_fusion([[hit.id for hit in listed] for listed in (by_text, by_photo)])
    return [replace(hits[one], score=score) for one, score in merged[: query.k]]
