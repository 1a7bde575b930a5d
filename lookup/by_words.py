"""The half of a search by words, asked alone: hits by words, and what the words of a query are to an open snapshot."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lookup.filters.where import Where
from lookup.halves import Asked, Halves, Within, both_halves
from lookup.hit import Hit
from lookup.lexical.query import Correction
from lookup.opened import Opened
from lookup.query import Query, QueryEncoder


@dataclass(frozen=True)
class ByWords:
    """An open snapshot as it is searched by words. Threads may share it."""

    opened: Opened
    _queries: QueryEncoder

    def search(self, text: str, category: str | None = None, k: int = 10, where: Where = ()) -> list[Hit]:
        """The `k` best products by the words of `text` alone, of those that have one; `score` is the share of the words
        that a product has, see halves.py; none where the snapshot is not searched by words. Else as `Reader.search`.
        """
        query = Query(text, category=category, k=k, where=where).checked()
        within = self.opened.within(query)
        asked = self.asked(query.text, 1.0, within)
        if asked is None:
            return []
        words, found = asked[0], asked[0].best(within, query.k)
        return self.opened.hits(replace(found, score=words.shares(found.score, float(found.score.max(initial=0)))))

    def asked(self, text: str | None, weight: float | None, within: Within) -> tuple[Asked, float] | None:
        """The words of a text, and their weight, None for the snapshot's own; None where they count for nothing."""
        words = self.opened.words
        if words is None or text is None or not within:
            return None
        weight = words.weight if weight is None else weight
        return (words.asked(self._queries.clean(text), within), weight) if weight else None

    def corrections(self, query: Query) -> tuple[Correction, ...]:
        """The words of `query` that no product has, each with those that are looked for in its place; none where the
        words count for nothing.
        """
        within = [(partition, None) for partition in self.opened.searched(query.category)]
        asked = self.asked(query.text, query.lexical_weight, within)
        return () if asked is None else asked[0].corrections

    def halves(self, query: Query) -> Halves | None:
        """The candidates of a query by text, and what each half gives them, unweighed; None where the snapshot is not
        searched by words.
        """
        query = query.checked()
        within = self.opened.within(query)
        asked = self.asked(query.text, 1.0, within)
        if asked is None:
            return None
        return both_halves(self._queries.embed(query.text), asked[0], within, query.k, query.nprobe)

    def share(self, text: str, category: str, position: int) -> float | None:
        """The share of the words of `text` that a row of a partition has, as in a search of all partitions; None where
        the snapshot is not searched by words.
        """
        within = [(partition, None) for partition in self.opened.searched(None)]
        asked = self.asked(text, 1.0, within)
        if asked is None:
            return None
        words, best = asked[0], asked[0].best(within, 1).score.max(initial=0)
        index = next(at for at, (partition, _) in enumerate(within) if partition.name == category)
        scores = words.indexes[index].scores(words.query, words.statistics, np.array([position]))
        return float(words.shares(scores, float(best))[0])
