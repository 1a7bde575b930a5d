"""The vector of a search that is told of products: those that hits are to be like, and those a shopper looked at.

Scores of a product under several queries add up, so a mean of queries scores as the mean of their scores does. Nothing
is made unit again, but under the metric cosine: there each query is of length 1 before it is mixed, and the index makes
the mix so.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from encoders.fusion.base import Fusion
from foundation.arrays import Vectors
from foundation.errors import InputError
from foundation.metric import Metric
from lookup.opened import Opened
from lookup.personal.agreement import Agreement
from lookup.personal.items import ItemQueries, mean_of
from lookup.personal.places import Place, Places
from lookup.personal.wishes import LIKE, faded

_log = logging.getLogger(__name__)


class Moved(NamedTuple):
    """What is asked by, (1, dim) float32, the rows that are not to be among the hits, and the share that a history has
    in what is asked by; None: nothing of it is there.
    """

    vector: Vectors
    apart: frozenset[Place]
    history: float | None = None


@dataclass(frozen=True)
class Personal:
    """Searches by products of an open snapshot. Threads may share it."""

    places: Places
    items: ItemQueries
    metric: Metric
    agreement: Agreement

    @classmethod
    def of(cls, opened: Opened, fusion: Fusion) -> Personal:
        """Those of `opened`, whose queries `fusion` makes."""
        partitions, metric = opened.partitions, Metric(opened.manifest.metric)
        return cls(Places(partitions), ItemQueries(opened, fusion), metric, Agreement(partitions))

    def moved(
        self,
        xq: Vectors | None,
        like: Sequence[str],
        history: Sequence[str],
        weights: Sequence[float] | None,
        mix: float,
    ) -> Moved:
        """What to ask by where `xq`, (1, dim) float32, is the query by text or photo, None where there is neither.

        Of products to be `like` the mean; beside a text or photo it weighs as much as these. Then up to `mix` of it is
        the mean of the history by `weights`, or faded, as far as the history agrees with itself (agreement.py). A
        history alone is all that is asked by. InputError where a product to be like is not there; what is gone of a
        history is left out. Products to be like are no hits, and those of a history are none where it is asked by
        alone.
        """
        apart, counted = list[Place](), None
        if like:
            known = self.places.known(like, "like")
            apart += (place for places in known for place in places)
            liked = self._mean([places[0] for places in known], np.ones(len(known), np.float32))
            xq = liked if xq is None else self._mixed(xq, liked, LIKE)
        if history and mix > 0:
            known = self.places.of(history)
            shares = faded(sum(map(bool, known))) if weights is None else np.asarray(weights, np.float32)
            if weights is not None:
                shares = shares[[bool(places) for places in known]]
            there = [places[0] for places in known if places]
            if len(there) < len(known):
                _log.info("of %d products of a history %d are in the snapshot", len(known), len(there))
            if there:
                vectors = self.items.of(there)
                looked_at = mean_of(vectors, shares)
                apart += (place for places in known for place in places if xq is None)
                counted = 1.0 if xq is None else mix * self.agreement.share(there, vectors, shares)
                xq = looked_at if xq is None else self._mixed(xq, looked_at, counted) if counted else xq
        if xq is None:
            raise InputError(
                "something to ask by",
                f"a history of {len(history)} products, none of them in the snapshot, and nothing else"
                if mix > 0
                else "a history that weighs nothing, and nothing else",
                "ask by a text, a photo or a product of the snapshot too",
            )
        return Moved(xq, frozenset(apart), counted)

    def _mean(self, places: Sequence[Place], weights: Vectors) -> Vectors:
        return mean_of(self.items.of(places), weights)

    def _mixed(self, xq: Vectors, other: Vectors, share: float) -> Vectors:
        """(1 - share) of one and `share` of the other, (1, dim) float32."""
        pair = np.concatenate([self.metric.stored(xq), self.metric.stored(other)])
        return mean_of(pair, np.array([1 - share, share], np.float32))
