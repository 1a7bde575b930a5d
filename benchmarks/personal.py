"""What a shopper's history gains: drawn sessions on the demo catalog, searched with it and without.

vitrine demo-catalog demo --products 1500 && vitrine run -c configs/demo.yaml
python benchmarks/personal.py demo/store

A shopper has a taste, a colour. Four products are looked at, each of it with probability 0.7, else of any; then the
name of a kind is searched, and the last click, held out, is a product of that kind: of the taste, or, of shoppers
without one, of any colour. nDCG@10 counts products of the kind and colour of that click.
"""

from __future__ import annotations

import argparse

import numpy as np

import lookup
from foundation.ranking_metrics import intervals, ndcg
from pipeline.demo.products import looks
from pipeline.demo.words import KIND_WORDS

SEED, CATALOG_SEED, SESSIONS, LOOKED_AT, FAITHFUL, K = 11, 7, 200, 4, 0.7, 10
MIXES = (0.1, 0.2, 0.3, 0.4)


def main() -> None:
    """Print a line for each share of the history and kind of shopper."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store")
    reader = lookup.open(parser.parse_args().store)
    ids = sorted(str(one) for name in reader.categories for one in reader.ids(name))
    numbers = {one: int(one.rpartition("-")[2]) for one in ids}
    drawn = looks(CATALOG_SEED, np.array([numbers[one] for one in ids]))
    kinds, colours = np.array([one.kind for one in drawn]), np.array([one.colour for one in drawn])
    at = {one: place for place, one in enumerate(ids)}
    for taste in (True, False):
        rng = np.random.default_rng(SEED)
        figures: dict[float, list[float]] = {mix: [] for mix in (0.0, *MIXES)}
        for _ in range(SESSIONS):
            liked = rng.choice(np.unique(colours))
            seen = [
                ids[int(rng.choice(np.flatnonzero(colours == liked) if rng.random() < FAITHFUL else len(ids)))]
                for _ in range(LOOKED_AT)
            ]
            kind = rng.choice(np.unique(kinds))
            right = (kinds == kind) & ((colours == liked) if taste else (colours == rng.choice(colours[kinds == kind])))
            if not right.any():
                continue
            text = KIND_WORDS[kind].nouns[0][0]
            for mix, found in figures.items():
                hits = reader.search(text, history=seen, mix=mix, k=K)
                gains = np.zeros((1, K))
                gains[0, : len(hits)] = [right[at[hit.id]] for hit in hits]
                found.append(float(ndcg(gains, np.ones((1, int(right.sum()))), K)[0]))
        base = np.array(figures[0.0])
        for mix, found in figures.items():
            gained = np.array(found) - base
            low, high = intervals(gained[:, None], SEED)
            print(
                f"{'of a taste' if taste else 'without one'}: mix {mix}: nDCG@{K} {np.mean(found):.3f}, "
                f"{gained.mean():+.3f} ({low[0]:+.3f} to {high[0]:+.3f}), {len(found)} sessions"
            )


if __name__ == "__main__":
    main()
