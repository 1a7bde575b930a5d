"""What is measured of a fusion that was trained: how often it finds, and what an item without a modality counts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from encoders.fusion.learned.folder import Scales
from encoders.fusion.learned.network import Live
from encoders.training.fusion_lessons import Classroom, Indices
from foundation.arrays import Mask, Vectors

KINDS = ((True, False), (False, True), (True, True))  # queries: (has a text, has a photo)
_MOST_ITEMS = 10_000  # that held-out queries are ranked among
_MOST_MEASURED = 4096  # products whose rankings are balanced, by a thousand of them as queries
_QUERIES = 1000
_HIDDEN = 0.3  # the share of products that lack a modality


def recall_at(k: int, live: Live, room: Classroom, hide: float, seed: int) -> float:
    """Share of held-out products' queries, by text, by photo and by both, that have a product of an equal text among
    the k nearest of all products; each modality of these is hidden with probability `hide`.
    """
    draw = np.random.default_rng([seed, 1])
    rows = np.concatenate([room.held_out, room.training])[:_MOST_ITEMS]
    lots = draw.random(len(rows))
    items = live.unit(room.items(rows, lots >= hide, (lots < hide) | (lots >= 2 * hide)))
    same = room.equal(room.held_out, rows)
    found = []
    for has_text, has_image in KINDS:
        nearest = np.argsort(
            -(_first_queries(live, room, room.held_out, has_text, has_image) @ items.T), 1, kind="stable"
        )
        found.append(np.take_along_axis(same, nearest[:, :k], axis=1).any(axis=1).mean())
    return float(np.mean(found))


def measured_scales(live: Live, room: Classroom, seed: int) -> Scales:
    """The lengths of items under which those without photo keep the share of text queries' top 10 that they have under
    the text tower's own ranking, and those without text their share of photo queries' under the photo tower's.
    """
    draw = np.random.default_rng([seed, 2])
    n = len(room.text)
    rows = np.sort(draw.permutation(n)[:_MOST_MEASURED])
    hidden = draw.random(len(rows)) < _HIDDEN
    asking = np.sort(draw.permutation(len(rows))[:_QUERIES])
    both, only_text, only_image = (
        _items(live, room, rows, *has) for has in ((True, True), (True, False), (False, True))
    )

    def factor(known: Vectors, queries: Vectors, lacking: Vectors) -> float:
        whole, alone = queries @ both.T, queries @ lacking.T
        return balanced(known, hidden, lambda f: np.where(hidden, f * alone, whole), 0, 4)

    vectors = room.queries[rows[asking] * room.variants]
    text = factor(vectors @ room.text[rows].T, _first_queries(live, room, rows[asking], True, False), only_text)
    image_rows = room.image[rows]
    image = factor(image_rows[asking] @ image_rows.T, _first_queries(live, room, rows[asking], False, True), only_image)
    most = max(1.0, text, image)  # no item may be longer than 1
    return Scales(both=1 / most, text=text / most, image=image / most)


def _items(live: Live, room: Classroom, rows: Indices, has_text: bool, has_image: bool) -> Vectors:
    return live.unit(room.items(rows, np.full(len(rows), has_text), np.full(len(rows), has_image)))


def _first_queries(live: Live, room: Classroom, rows: Indices, has_text: bool, has_image: bool) -> Vectors:
    """Each product's first query."""
    masks = np.full(len(rows), has_text), np.full(len(rows), has_image)
    return live.unit(room.asking(rows, np.zeros(len(rows), np.int64), *masks))


def balanced(known: Vectors, hidden: Mask, scores: Callable[[float], Vectors], low: float, high: float) -> float:
    """The factor between `low` and `high` under which `hidden` items keep the share of queries' top 10 that they have
    under `known`, the (nq, n) float32 scores of one tower; a greater factor must raise their `scores`.
    """
    target = _share(known, hidden)
    for _ in range(12):  # to 1 / 2**12 of the range
        middle = (low + high) / 2
        share = _share(scores(middle), hidden)
        low, high = (middle, high) if share < target else (low, middle)
    return (low + high) / 2


def _share(scores: Vectors, chosen: Mask) -> float:
    """The share of `chosen` columns among the 10 best of each row."""
    return float(chosen[np.argpartition(-scores, 10, axis=1)[:, :10]].mean())
