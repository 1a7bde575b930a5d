"""What a shopper's history gains: drawn sessions on the demo catalog, searched with it and without.

vitrine demo-catalog demo --products 1500 && vitrine run -c configs/demo.yaml
python benchmarks/personal.py demo/store

Two, four or eight products are looked at; then the name of a kind is searched, and the last click, held out, is a
product of that kind. There are three shoppers:

    of a taste      a colour: each product looked at is of it with probability 0.7, else any; the click is of it
    of none         all are any: looked at as well as clicked
    of a new mind   has looked at a colour as the first one, and clicks any

nDCG@10 counts products of the kind and colour of that click; each session is held against itself without history.
Indexes of the demo are exact, so scores of all products by all others are computed once, and sessions are sums of
these; every hundredth is searched too, and must have the same hits.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

import lookup
from foundation.ranking_metrics import intervals, ndcg
from lookup.index.scores import scores_of
from lookup.personal.wishes import faded
from lookup.search import Reader
from pipeline.demo.products import looks
from pipeline.demo.words import KIND_WORDS

SEEDS, CATALOG_SEED, SESSIONS, FAITHFUL, K = (11, 12, 13), 7, 1500, 0.7, 10
LENGTHS, MIXES = (2, 4, 8), (0.1, 0.2, 0.3, 0.4)
SHOPPERS = {"of a taste": (FAITHFUL, True), "of none": (0.0, False), "of a new mind": (FAITHFUL, False)}


@dataclass(frozen=True)
class Shop:
    """The products of a store, and what each scores by the name of each kind, (kinds, n), and by each other, (n, n)."""

    reader: Reader
    ids: np.ndarray
    kinds: np.ndarray
    colours: np.ndarray
    by_kind: dict[str, np.ndarray]
    by_product: np.ndarray

    @classmethod
    def open(cls, store: str) -> Shop:
        """That of the published snapshot."""
        reader = lookup.open(store)
        ids = np.array([str(one) for name in reader.categories for one in reader.ids(name)])
        drawn = looks(CATALOG_SEED, np.array([int(one.rpartition("-")[2]) for one in ids]))
        kinds, colours = np.array([one.kind for one in drawn]), np.array([one.colour for one in drawn])
        texts = {str(kind): KIND_WORDS[kind].nouns[0][0] for kind in np.unique(kinds)}
        places = [one[0] for one in reader._personal.places.of(list(ids))]
        by_kind = {kind: _scores(reader, reader._queries.embed(text))[0] for kind, text in texts.items()}
        return cls(reader, ids, kinds, colours, by_kind, _scores(reader, reader._personal.items.of(places)))

    def sessions(self, faithful: float, keeps: bool) -> Iterator[tuple[list[int], str, np.ndarray]]:
        """(what is looked at, the kind that is searched, which products are right)."""
        for seed in SEEDS:
            rng = np.random.default_rng(seed)
            for _ in range(SESSIONS):
                liked = rng.choice(np.unique(self.colours))
                of_it = np.flatnonzero(self.colours == liked)
                count = int(rng.choice(LENGTHS))
                seen = [int(rng.choice(of_it if rng.random() < faithful else len(self.ids))) for _ in range(count)]
                kind = str(rng.choice(list(self.by_kind)))
                colour = liked if keeps else rng.choice(self.colours[self.kinds == kind])
                right = (self.kinds == kind) & (self.colours == colour)
                if right.any():
                    yield seen, kind, right

    def share(self, seen: list[int]) -> float:
        """How much of a history counts."""
        personal = self.reader._personal
        places = [one[0] for one in personal.places.of([str(self.ids[at]) for at in seen])]
        return personal.agreement.share(places, personal.items.of(places), faded(len(seen)))

    def found(self, seen: list[int], kind: str, mix: float) -> np.ndarray:
        """The first products of a search by a kind, `mix` of which is the history."""
        weights = faded(len(seen)).astype(np.float64)
        scores = (1 - mix) * self.by_kind[kind] + mix * (weights / weights.sum()) @ self.by_product[seen]
        return np.argsort(-scores, kind="stable")[:K]

    def check(self, seen: list[int], kind: str, mix: float, share: float) -> None:
        """A search as users ask it has these hits, but for scores that are equal to rounding."""
        history = [str(self.ids[at]) for at in seen]
        hits = self.reader.search(KIND_WORDS[kind].nouns[0][0], history=history, mix=mix, k=K)
        same = {hit.id for hit in hits} & set(self.ids[self.found(seen, kind, mix * share)])
        if len(same) < K - 1:
            raise SystemExit(f"a search has other hits than its scores say: {history}, {kind}")


def _scores(reader: Reader, asked: np.ndarray) -> np.ndarray:
    """(nq, n) float64: what all products score."""
    indexes = [reader.opened.partitions[name].index for name in reader.categories]
    return np.hstack([scores_of(one, asked, np.arange(one.rows)) for one in indexes]).astype(np.float64)


def main() -> None:
    """Print a line for each kind of shopper and share of the history."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store")
    shop = Shop.open(parser.parse_args().store)
    for shopper, (faithful, keeps) in SHOPPERS.items():
        figures: dict[float, list[float]] = {mix: [] for mix in (0.0, *MIXES)}
        shares = []
        for number, (seen, kind, right) in enumerate(shop.sessions(faithful, keeps)):
            shares.append(shop.share(seen))
            for mix, ndcgs in figures.items():
                gains = right[shop.found(seen, kind, mix * shares[-1])].astype(np.float64)[None]
                ndcgs.append(float(ndcg(gains, np.ones((1, int(right.sum()))), K)[0]))
            if number % 100 == 0:
                shop.check(seen, kind, MIXES[1], shares[-1])
        base = np.array(figures[0.0])
        print(
            f"{shopper}: {len(base):,} sessions, nDCG@{K} {base.mean():.3f} without history; {np.mean(shares):.2f} of "
            f"it counts, more than nothing in {np.mean(np.array(shares) > 0):.2f}",
            flush=True,
        )
        for mix in MIXES:
            gained = np.array(figures[mix]) - base
            low, high = intervals(gained[:, None], SEEDS[0])
            print(f"  mix {mix}: {gained.mean():+.4f} ({low[0]:+.4f} to {high[0]:+.4f})", flush=True)


if __name__ == "__main__":
    main()
