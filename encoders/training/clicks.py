"""What shoppers chose, as something to learn from and to be measured by: clicks of earlier days, queries of the last.

Held-out queries are answered from a pool of products by the two-tower model itself: a product's score is that of its
photo, of its title, and the sum of both, as the fusion `sum` has it. One half of the queries chooses the checkpoint,
the other compares it with the model that the training began with, so that what is compared was not chosen by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from encoders.training.pairs import Pair, digest, is_held_out
from encoders.training.towers import Towers
from foundation import ranking_metrics as metrics
from foundation.arrays import Vectors
from foundation.errors import InputError
from foundation.ranking_metrics import Figures

Answered = dict[str, dict[str, Figures]]  # by score and figure: (nq,) float64

PAGE = 10  # of MRR and nDCG
VERDICT = f"ndcg@{PAGE}"
PHOTO, TITLE, BOTH = "photo", "title", "both"
_SEED = 1234  # any constant: the same answers give the same intervals
_CHOOSE = 0.5  # share of the held-out queries that choose the checkpoint
_PIECE = 64  # photos in memory at once


@dataclass(frozen=True)
class HeldQuery:
    """What was asked on held-out days, and by group what the products that were chosen are worth, above 0."""

    text: str
    gains: dict[str, float]


@dataclass(frozen=True)
class ClickLessons:
    """Clicks to learn from, `title` of each set; queries of held-out days; and the products that answer those."""

    pairs: Sequence[Pair]
    held_out: Sequence[HeldQuery]
    pool: Sequence[Pair]

    def digest(self) -> str:
        """64 hex digits of all of it."""
        held = [(one.text, sorted(one.gains.items())) for one in self.held_out]
        return f"{digest(self.pairs)}{digest(self.pool)}{held!r}"

    def rows(self, chooses: bool) -> list[int]:
        """The places of the held-out queries that choose the checkpoint, or of those that compare it."""
        return [i for i, one in enumerate(self.held_out) if is_held_out(f"choose/{one.text}", _CHOOSE) == chooses]

    def check(self) -> None:
        """InputError where held-out queries cannot both choose and compare."""
        if self.held_out and not (self.rows(True) and self.rows(False)):
            raise InputError(
                "several queries in the held-out days: one half chooses the checkpoint, the other compares it",
                f"{len(self.held_out)} with a product to be found",
                "give more days, or set train.held_out=0: nothing is compared",
            )


@dataclass(frozen=True)
class ClickFigures:
    """How the trained model answers held-out queries, beside the model that it began with.

    `figures` has for each figure `start`, `trained`, and `mean`, `low` and `high` of the paired difference with its 95%
    bootstrap interval; of scores by `photo`, by `title` and by `both`. `better`: that of nDCG by both is above 0, of
    10 queries or more.
    """

    queries: int
    products: int
    better: bool
    figures: dict[str, dict[str, dict[str, float]]]

    @classmethod
    def read(cls, fields: dict[str, Any] | None) -> ClickFigures | None:
        """Of a training's record; None where there is none."""
        return None if fields is None else cls(**fields)


def answered(towers: Towers, lessons: ClickLessons, k: int) -> Answered:
    """By score (photo, title, both) and figure: (nq,) float64, a value for each held-out query."""
    pieces = [lessons.pool[start : start + _PIECE] for start in range(0, len(lessons.pool), _PIECE)]
    photos = np.concatenate([towers.photo_vectors([pair.photo() for pair in piece]) for piece in pieces])
    titles = towers.text_vectors([pair.texts[0] for pair in lessons.pool])
    asked = towers.text_vectors([one.text for one in lessons.held_out])
    by_photo, by_title = asked @ photos.T, asked @ titles.T
    scores = {PHOTO: by_photo, TITLE: by_title, BOTH: by_photo + by_title}
    return {name: _figures(similar, lessons, k) for name, similar in scores.items()}


def compare(before: Answered, after: Answered, lessons: ClickLessons) -> ClickFigures:
    """The comparison of two `answered`, on the half of the queries that chose nothing."""
    rows = lessons.rows(chooses=False)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for score, per_query in before.items():
        names = list(per_query)
        start = np.stack([per_query[name][rows] for name in names], axis=1)
        trained = np.stack([after[score][name][rows] for name in names], axis=1)
        low, high = metrics.intervals(trained - start, _SEED)
        figures[score] = {
            name: {
                "start": float(start[:, i].mean()),
                "trained": float(trained[:, i].mean()),
                "mean": float((trained - start)[:, i].mean()),
                "low": float(low[i]),
                "high": float(high[i]),
            }
            for i, name in enumerate(names)
        }
    better = len(rows) >= metrics.FEWEST and figures[BOTH][VERDICT]["low"] > 0
    return ClickFigures(len(rows), len(lessons.pool), better, figures)


def chosen_recall(found: Answered, lessons: ClickLessons, k: int) -> float:
    """The mean recall@k, by both, of the queries that choose the checkpoint."""
    return float(found[BOTH][f"recall@{k}"][lessons.rows(chooses=True)].mean())


def _figures(similar: Vectors, lessons: ClickLessons, k: int) -> dict[str, Figures]:
    groups = [pair.group or pair.id for pair in lessons.pool]
    nearest = np.argsort(-similar, axis=1, kind="stable")[:, : max(k, PAGE)].tolist()
    held = lessons.held_out
    gains = np.array([[one.gains.get(groups[at], 0.0) for at in row] for one, row in zip(held, nearest, strict=True)])
    judged = np.zeros((len(held), max(len(one.gains) for one in held)))
    for row, one in zip(judged, held, strict=True):
        row[: len(one.gains)] = list(one.gains.values())
    relevant = np.array([len(one.gains) for one in held], dtype=np.int64)
    return {
        "precision@1": metrics.precision(gains, 1),
        f"recall@{k}": metrics.recall(gains, relevant, k),
        f"mrr@{PAGE}": metrics.reciprocal_rank(gains, PAGE),
        VERDICT: metrics.ndcg(gains, judged, PAGE),
    }
