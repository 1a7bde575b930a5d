"""Late fusion: lists of a text's embedding, of its words and of a photo merged by rank. It needs no common scale of
scores.

hits = search_late(reader, Query(text="blue", image=photo, k=10))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from foundation.errors import InputError
from lookup.hit import Found, Hit
from lookup.index.partition_index import STEADY
from lookup.query import Query
from lookup.search import Reader

RRF_K = 60  # Cormack, Clarke and Büttcher 2009, "Reciprocal rank fusion outperforms Condorcet", section 2
# With n lists so long no product that all leave out could be among the k best: it would have less than
# n / (60 + n (60 + k) - 60), while each of the first k of a list has 1 / (60 + k) or more.
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
    """The `k` best products by rank in several searches, by the text, by its words where the snapshot is searched by
    them, and by the photo; `score` is the rank sum.

    A query that has one list keeps its order; one by products alone is searched as ever. What n lists rank below
    n (60 + k) - 60, as for k = 100 where it is less, counts as not in them: the first hits are the same for every k up
    to 100. Of all lists only what meets `where`, see `Reader.search`.
    """
    return find_late(reader, query).hits


def find_late(reader: Reader, query: Query) -> Found:
    """The same, with what was understood of the query."""
    query, understood = reader.understand(query)  # of all lists alike
    if not query.by_words:
        return reader.found(query)
    _refuse_more(query)
    words = reader.opened.words is not None and query.text is not None and query.lexical_weight != 0
    deep = replace(query, k=_depth(query.k, 3 if words else 2), lexical_weight=0, rerank=False)
    lists, history = list[list[Hit]](), None
    if query.text is not None:
        found = reader.found(replace(deep, image=None))
        lists, history = [found.hits], found.history
    if words and query.text is not None:
        lists.append(reader.by_words.search(query.text, query.category, deep.k, query.where))
    if query.image is not None:
        found = reader.found(replace(deep, text=None))
        lists, history = [*lists, found.hits], found.history
    hits = {hit.id: hit for listed in reversed(lists) for hit in listed}
    merged = reciprocal_rank_fusion([[hit.id for hit in listed] for listed in lists])
    return Found([replace(hits[one], score=score) for one, score in merged[: query.k]], understood, history)


def _refuse_more(query: Query) -> None:
    """InputError for what has no meaning for lists that are merged by rank alone."""
    more = {"like": query.like, "collapse": query.collapse, "explain": query.explain}
    if asked := [name for name, value in more.items() if value]:
        raise InputError(
            "late: lists by text, words and photo, and nothing beside them", ", ".join(asked), "leave one out"
        )


def _depth(k: int, lists: int) -> int:
    """How long each of so many lists is."""
    return lists * (RRF_K + max(k, STEADY)) - RRF_K
