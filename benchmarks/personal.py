"""What a shopper's history gains: drawn sessions on the demo catalog, searched with it and without.

vitrine demo-catalog demo --products 1500 && vitrine run -c configs/demo.yaml
python benchmarks/personal.py demo/store

Two, four or eight products are looked at; then the name of a kind is searched, and the last click, held out, is a
product of that kind. There are three shoppers:

    of a taste      a colour: each product looked at is of it with probability 0.7, else any; the click is of it
    of none         all are any: looked at as well as clicked
    of a new mind   has looked at a colour as the first one, and clicks any

nDCG@10 counts products of the kind and colour of that click; each session is held against itself without history.
"""

from __future__ import annotations

import argparse

import numpy as np

import lookup
from foundation.ranking_metrics import intervals, ndcg
from lookup.query import Query
from pipeline.demo.products import looks
from pipeline.demo.words import KIND_WORDS

SEEDS, CATALOG_SEED, SESSIONS, FAITHFUL, K = (11, 12, 13), 7, 500, 0.7, 10
LENGTHS, MIXES = (2, 4, 8), (0.1, 0.2, 0.3)
SHOPPERS = {"of a taste": (FAITHFUL, True), "of none": (0.0, False), "of a new mind": (FAITHFUL, False)}


def main() -> None:
    """Print a line for each kind of shopper and share of the history."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store")
    reader = lookup.open(parser.parse_args().store)
    ids = sorted(str(one) for name in reader.categories for one in reader.ids(name))
    drawn = looks(CATALOG_SEED, np.array([int(one.rpartition("-")[2]) for one in ids]))
    kinds, colours = np.array([one.kind for one in drawn]), np.array([one.colour for one in drawn])
    at = {one: place for place, one in enumerate(ids)}
    for shopper, (faithful, keeps) in SHOPPERS.items():
        figures: dict[float, list[float]] = {mix: [] for mix in (0.0, *MIXES)}
        counted = []
        for seed in SEEDS:
            rng = np.random.default_rng(seed)
            for _ in range(SESSIONS):
                liked = rng.choice(np.unique(colours))
                seen = [
                    ids[int(rng.choice(np.flatnonzero(colours == liked) if rng.random() < faithful else len(ids)))]
                    for _ in range(rng.choice(LENGTHS))
                ]
                kind = rng.choice(np.unique(kinds))
                right = (kinds == kind) & (colours == (liked if keeps else rng.choice(colours[kinds == kind])))
                if not right.any():
                    continue
                text = KIND_WORDS[kind].nouns[0][0]
                counted.append(share := (reader.found(Query(text, history=seen, mix=1.0, k=1)).history or 0.0))
                for mix, ndcgs in figures.items():
                    if mix and not share:  # the very search without history
                        ndcgs.append(figures[0.0][-1])
                        continue
                    hits = reader.search(text, history=seen, mix=mix, k=K)
                    gains = np.zeros((1, K))
                    gains[0, : len(hits)] = [right[at[hit.id]] for hit in hits]
                    ndcgs.append(float(ndcg(gains, np.ones((1, int(right.sum()))), K)[0]))
        base = np.array(figures[0.0])
        print(
            f"{shopper}: {len(base):,} sessions, nDCG@{K} {base.mean():.3f} without history; {np.mean(counted):.2f} of "
            f"it counts, more than nothing in {np.mean(np.array(counted) > 0):.2f}"
        )
        for mix in MIXES:
            gained = np.array(figures[mix]) - base
            low, high = intervals(gained[:, None], SEEDS[0])
            print(f"  mix {mix}: {gained.mean():+.4f} ({low[0]:+.4f} to {high[0]:+.4f})")


if __name__ == "__main__":
    main()
