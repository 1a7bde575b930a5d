"""The rows of one partition in two snapshots, as arrays, and what became of them: a pure function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from foundation.arrays import Mask, Positions
from lookup.store.entries.drift import AttributeDrift
from pipeline.publish.drift.distances import number_distance, word_distance

Hashes = npt.NDArray[np.uint64]
Prints = npt.NDArray[np.uint32]
NOTHING: Prints = np.empty(0, np.uint32)
FEW_WORDS = 256  # different values up to which the shares of texts are compared, where each stands for four products


@dataclass(frozen=True)
class Column:
    """An attribute of (n,) rows: float64 numbers, uint64 codes of words or truths, or None for what has no distance;
    and which rows have a value.
    """

    values: npt.NDArray[np.float64] | npt.NDArray[np.uint64] | None
    there: Mask


@dataclass(frozen=True)
class Rows:
    """Rows of a partition: (n,) hashes of ids, and a part of each fingerprint of text and photos, 0 for none.

    `columns` are attributes of the rows `sampled`, (m,) places, all where they are few.
    """

    ids: Hashes
    texts: Prints
    photos: Prints
    sampled: Positions = field(default_factory=lambda: np.empty(0, np.int64))
    columns: Mapping[str, Column] = field(default_factory=dict)


class Changes(NamedTuple):
    """Of two snapshots' rows with one id: how many, with another text, with other photos, which ids these have, and how
    many texts more are repeated; ids that are gone and ids that are new; and the attributes.
    """

    kept: int
    texts_changed: int
    photos_changed: Hashes
    texts_repeated: int
    gone: Hashes
    new: Hashes
    attributes: tuple[AttributeDrift, ...]


def compare(before: Rows, now: Rows, alike: int = 0) -> Changes:
    """What became of the rows `before`. `alike` rows more are known to be what they were: attributes and their shares
    are of these too.
    """
    then, here = _pairs(before.ids, now.ids)
    ids = now.ids[here]
    texts = before.texts[then], now.texts[here]
    photos = before.photos[then] != now.photos[here]
    return Changes(
        kept=len(ids),
        texts_changed=int((texts[0] != texts[1]).sum()),
        photos_changed=ids[photos],
        texts_repeated=repeats(texts[1]) - repeats(texts[0]),
        gone=np.delete(before.ids, then),
        new=np.delete(now.ids, here),
        attributes=_attributes(before, now, 1.0 if not len(ids) else len(ids) / (len(ids) + alike)),
    )


def repeats(values: npt.NDArray[Any]) -> int:
    """How many of (n,) values, but for zeros, came before."""
    there = np.sort(values[values != 0])
    return int((there[1:] == there[:-1]).sum())


def _pairs(before: Hashes, now: Hashes) -> tuple[Positions, Positions]:
    """The places of equal ids in both, by rising id."""
    orders = np.argsort(before), np.argsort(now)
    mine, theirs = before[orders[0]], now[orders[1]]
    at = np.minimum(np.searchsorted(mine, theirs), max(0, len(mine) - 1))
    both = mine[at] == theirs if len(mine) else np.zeros(len(theirs), np.bool_)
    return orders[0][at[both]], orders[1][both]


def _attributes(before: Rows, now: Rows, weight: float) -> tuple[AttributeDrift, ...]:
    """Of the attributes that both have; `weight` is the share of the sampled rows among all that are the same."""
    then, here = _pairs(before.ids[before.sampled], now.ids[now.sampled])
    names = [name for name in now.columns if name in before.columns]
    return tuple(_attribute(name, before.columns[name], now.columns[name], then, here, weight) for name in names)


def _attribute(
    name: str, before: Column, now: Column, then: Positions, here: Positions, weight: float
) -> AttributeDrift:
    had, has = before.there[then], now.there[here]
    nulls = float(had.sum() - has.sum()) / len(had) if len(had) else 0.0
    shift = None
    if before.values is not None and now.values is not None:
        shift = _shift(before.values[then][had], now.values[here][has])
    return AttributeDrift(name=name, nulls=nulls * weight, shift=None if shift is None else shift * weight)


def _shift(before: npt.NDArray[Any], now: npt.NDArray[Any]) -> float | None:
    """The distance of two samples of values; None where they are of two kinds, or words of which there are many."""
    if before.dtype != now.dtype:
        return None
    if before.dtype == np.float64:
        return number_distance(before, now)
    few = min(len(np.unique(before)), len(np.unique(now))) <= min(FEW_WORDS, len(now) / 4)
    return word_distance(before, now) if few else None
