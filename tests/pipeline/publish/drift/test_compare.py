"""What became of a partition's rows, against a plain implementation over dicts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.publish.drift.compare import Column, Rows, compare
from pipeline.publish.drift.distances import number_distance, word_distance

Row = tuple[int, int, float | None, int | None]  # text, photo (0: none), price, brand


def rows(given_rows: Mapping[int, Row]) -> Rows:
    ids = list(given_rows)
    text, photo, price, brand = zip(*given_rows.values(), strict=True) if ids else ((), (), (), ())
    columns = {
        "price": Column(np.array([p or 0 for p in price], np.float64), np.array([p is not None for p in price], bool)),
        "brand": Column(np.array([b or 0 for b in brand], np.uint64), np.array([b is not None for b in brand], bool)),
    }
    return Rows(
        np.array(ids, np.uint64), np.array(text, np.uint32), np.array(photo, np.uint32), np.arange(len(ids)), columns
    )


catalogs = st.dictionaries(
    st.integers(1, 30),
    st.tuples(
        st.integers(0, 4),
        st.integers(0, 4),
        st.none() | st.sampled_from([1.0, 1.9, 3.0, 100.0]),
        st.none() | st.integers(1, 3),
    ),
    max_size=20,
)


def more_repeats(before: list[int], now: list[int]) -> int:
    there = [[one for one in side if one] for side in (before, now)]
    counts = [len(side) - len(set(side)) for side in there]
    return counts[1] - counts[0]


@given(catalogs, catalogs, st.integers(0, 50))
def test_changes_are_those_of_a_plain_comparison(before: dict[int, Row], now: dict[int, Row], alike: int) -> None:
    """Ids kept, gone and new, texts and photos changed, repeats, nulls and values: as counting one by one gives."""
    found, kept = compare(rows(before), rows(now), alike), sorted(set(before) & set(now))
    assert found.kept == len(kept)
    assert set(found.gone.tolist()) == set(before) - set(now)
    assert set(found.new.tolist()) == set(now) - set(before)
    assert found.texts_changed == sum(before[one][0] != now[one][0] for one in kept)
    assert found.photos_changed.tolist() == [one for one in kept if before[one][1] != now[one][1]]
    assert found.texts_repeated == more_repeats([before[one][0] for one in kept], [now[one][0] for one in kept])
    for at, attribute in enumerate(found.attributes, start=2):
        had, has = ([side[one][at] for one in kept if side[one][at] is not None] for side in (before, now))
        assert attribute.nulls == pytest.approx((len(had) - len(has)) / (len(kept) + alike) if kept else 0)
        weight = len(kept) / (len(kept) + alike) if kept else 1
        plain = _numbers(had, has) if attribute.name == "price" else _words(had, has)
        many = attribute.name == "brand" and min(len(set(had)), len(set(has))) > len(has) / 4
        assert attribute.shift == (None if many else pytest.approx(weight * plain))


def _below(values: list[float], bound: float) -> float:
    return sum(one <= bound for one in values) / len(values)


def _numbers(before: list[float], now: list[float]) -> float:
    if not before or not now:
        return 0.0
    ends = [one * factor for one in (*before, *now) for factor in (0.5, 1, 2)]
    sides = [_below(before, end / 2) - _below(now, end) for end in ends]
    return max(0.0, *sides, *(_below(now, end / 2) - _below(before, end) for end in ends))


def _words(before: list[int], now: list[int]) -> float:
    if not before or not now:
        return 0.0
    names = {*before, *now}
    return sum(abs(before.count(one) / len(before) - now.count(one) / len(now)) for one in names) / 2


def test_a_sale_shifts_no_price_and_another_unit_does() -> None:
    """Half price for all is within the tolerance; a quarter of the prices times a hundred is a quarter, below 0 too."""
    prices = np.random.default_rng(1).lognormal(3, 0.8, 10_000)
    assert number_distance(prices, prices / 2) == 0
    assert number_distance(prices, prices * 1.3) == 0
    cents = np.where(np.arange(len(prices)) % 4 == 0, prices * 100, prices)
    assert number_distance(prices, cents) == pytest.approx(0.25, abs=0.02)
    assert number_distance(-prices, -cents) == pytest.approx(0.25, abs=0.02)
    assert number_distance(prices, np.zeros(5)) == 1
    assert number_distance(prices, np.empty(0)) == 0


def test_words_are_as_far_as_their_shares_differ() -> None:
    """One brand for a third of all products is a third away."""
    before = np.arange(300, dtype=np.uint64) % np.uint64(3)
    assert word_distance(before, before[::-1]) == 0
    assert word_distance(before, np.where(before == 0, np.uint64(1), before)) == pytest.approx(1 / 3)
