"""Features of candidates, each against numbers worked out by hand."""

from __future__ import annotations

import datetime
import time
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from lookup.candidates import Candidates
from lookup.filters.prices import PRICE
from lookup.lexical.analysis import Analysis
from lookup.rerank.features import FEATURES, Asked, Kind, attribute_features, attribute_of, matrix
from lookup.rerank.values import as_numbers, kind_of
from lookup.rerank.words import Words

WORDS = Words(Analysis())
TITLES = ["Garden Hose 20m", "hose for garden, green", None, "Rose", "20m cable"]


def asked(text: str | None = "garden hose 20m", titles: list[str | None] | None = None, **values: list[float]) -> Asked:
    """Five candidates of two partitions, best first by score; the lexical half knows four of them."""
    titles = TITLES if titles is None else titles
    n = len(titles)
    candidates = Candidates(
        ("A", "B"),
        np.array([0, 0, 1, 1, 0][:n], np.int32),
        np.arange(n, dtype=np.int64),
        np.linspace(1, 0.2, n, dtype=np.float32),
        np.linspace(0.5, 0.9, n, dtype=np.float32),
        np.array([3, 4, 0, np.nan, 0][:n], np.float32),
    )
    arrays = {name: np.array(one, np.float64) for name, one in values.items()}
    return Asked(text, candidates, titles, arrays, WORDS)


def of(name: str, given: Asked) -> list[float]:
    """One feature."""
    found: list[float] = matrix(given, [name], {})[:, 0].tolist()
    return found


def test_scores_have_ranks_and_gaps() -> None:
    """Bigger is better, ranks are log2(1 + rank), equal scores keep their order, what was not asked stays unknown."""
    given = asked()
    assert of("dense_rank", given) == pytest.approx(np.log2([6, 5, 4, 3, 2]))
    assert of("dense_gap", given) == pytest.approx([0.4, 0.3, 0.2, 0.1, 0], abs=1e-6)
    assert of("lexical_rank", given) == pytest.approx([np.log2(3), 1, 2, np.nan, np.log2(5)], nan_ok=True)
    assert of("lexical_gap", given) == pytest.approx([1, 0, 4, np.nan, 4], nan_ok=True)
    assert of("score", given) == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])


def test_words_are_counted_in_titles() -> None:
    """Shares of the query's words (`20m` is two), of the title's, pairs in order, numbers; without a title none."""
    given = asked()
    nan = np.nan
    assert of("overlap", given) == pytest.approx([1, 2 / 4, nan, 0, 2 / 4], nan_ok=True)
    assert of("covered", given) == pytest.approx([1, 2 / 4, nan, 0, 2 / 3], nan_ok=True)
    assert of("in_order", given) == pytest.approx([1, 0, nan, 0, 1 / 3], nan_ok=True)
    assert of("first_word", given) == pytest.approx([1, 1, nan, 0, 0], nan_ok=True)
    assert of("last_word", given) == pytest.approx([1, 0, nan, 0, 1], nan_ok=True)
    assert of("numbers_common", given) == pytest.approx([1, 0, nan, 0, 1], nan_ok=True)
    assert of("numbers_missing", given) == pytest.approx([0, 1, nan, 1, 0], nan_ok=True)
    assert of("numbers_more", asked("garden hose")) == pytest.approx([1, 0, nan, 0, 1], nan_ok=True)
    weighted = of("weighted_overlap", given)
    assert weighted[0] == 1
    assert weighted[1] == pytest.approx(0.5)  # each of the four words is in two titles
    rare = of("weighted_overlap", asked("garden reel cable"))
    assert rare[4] == pytest.approx(np.log1p(5) / (np.log1p(5) + np.log1p(5 / 2)))  # nobody has a reel
    held = of("trigrams_held", given)
    assert held[0] == 1
    assert held[0] > held[1] > held[3]
    assert of("trigrams", given)[0] == 1


def test_a_photo_alone_and_odd_texts_have_features_too() -> None:
    """No words: unknown, never a fault; emoji, one character, mixed scripts and blank texts likewise."""
    for text in (None, "", " ", "!", "🥾", "a", "红色 dress"):
        found = matrix(asked(text), list(FEATURES), {})
        assert found.shape == (5, len(FEATURES))
        assert not np.isinf(found).any()
    assert np.isnan(of("overlap", asked(None))).all()
    assert matrix(asked(titles=[]), list(FEATURES), {}).shape == (0, len(FEATURES))


def test_categories_count_by_rank() -> None:
    """The share of the candidates in a category, the first of which count most."""
    weights = 1 / np.log2([2, 3, 4, 5, 6])
    a = weights[[0, 1, 4]].sum() / weights.sum()
    assert of("category_share", asked()) == pytest.approx([a, a, 1 - a, 1 - a, a])
    assert of("first_category", asked()) == [1, 1, 0, 0, 1]


def test_the_nearest_by_embedding_vote_for_a_category() -> None:
    """Each by how far it is above the last of twenty; where all are equal each counts one, and where nobody knows an
    embedding's score nothing is said.
    """
    a = (0 + 0.1 + 0.4) / (0 + 0.1 + 0.2 + 0.3 + 0.4)
    assert of("category_vote", asked()) == pytest.approx([a, a, 1 - a, 1 - a, a])
    base = asked().candidates
    equal, unknown = (replace(base, dense=np.full(5, one, np.float32)) for one in (0.5, np.nan))
    assert of("category_vote", replace(asked(), candidates=equal)) == pytest.approx([0.6, 0.6, 0.4, 0.4, 0.6])
    assert np.isnan(of("category_vote", replace(asked(), candidates=unknown))).all()
    many = Candidates(
        ("A", "B"),
        np.repeat([0, 1], [30, 20]).astype(np.int32),
        np.arange(50),
        *(np.linspace(0, 1, 50, dtype=np.float32) for _ in range(3)),
    )
    assert of("category_vote", Asked("a", many, [None] * 50, {}, WORDS)) == [0] * 30 + [1] * 20


def test_attributes_are_against_those_of_other_candidates() -> None:
    """A number as it is, a price by how many times the median, a time in days before the newest; each has its place."""
    nan = np.nan
    given = asked(rating=[4, nan, 3, 5, 3], price=[9, 19, nan, 4, 99], added=[10, 10, nan, 13, 12])
    kinds = {"rating": Kind.NUMBER, "price": Kind.PRICE, "added": Kind.TIME}
    names = [feature for name in kinds for feature in attribute_features(name)]
    found = matrix(given, names, kinds).T
    assert found[0] == pytest.approx([4, nan, 3, 5, 3], nan_ok=True)
    assert found[1] == pytest.approx([2 / 3, nan, 0, 1, 0], nan_ok=True)
    assert found[2] == pytest.approx(np.log([10 / 15, 20 / 15, nan, 5 / 15, 100 / 15]), nan_ok=True)
    assert found[4] == pytest.approx(np.log1p([3, 3, nan, 0, 1]), nan_ok=True)
    assert [attribute_of(name) for name in (*names[:2], "dense")] == ["rating", "rating", None]
    empty = asked(rating=[nan] * 5)
    assert np.isnan(matrix(empty, names[:2], kinds)).all()


def test_columns_are_read_as_numbers() -> None:
    """Decimals, booleans, dates, times of any unit and zone, prices; null and what is not finite is unknown."""
    day = datetime.date(1970, 1, 11)
    priced = pa.array([{"written": "9 EUR", "amount": Decimal(9), "currency": "EUR"}, None], PRICE)
    for column, expected in (
        (pa.array([1, None], pa.uint8()), [1, np.nan]),
        (pa.array([Decimal("2.50"), None]), [2.5, np.nan]),
        (pa.array([True, None]), [1, np.nan]),
        (pa.array([np.inf, np.nan, 0.5]), [np.nan, np.nan, 0.5]),
        (pa.array([np.float16(0.5), None], pa.float16()), [0.5, np.nan]),
        (pa.array([day, None], pa.date32()), [10, np.nan]),
        (pa.array([day, None], pa.date64()), [10, np.nan]),
        (pa.array([10 * 86_400_000_000_000, None], pa.timestamp("ns", "Europe/Berlin")), [10, np.nan]),
        (priced, [9, np.nan]),
        (pa.nulls(2), [np.nan, np.nan]),
        (pa.array(["4.5", None]), [np.nan, np.nan]),
    ):
        assert as_numbers(column) == pytest.approx(expected, nan_ok=True)
    kinds = {"double": "number", "bool": "number", "price": "price", "date32[day]": "time", "string": None}
    assert {name: kind_of(name) for name in kinds} == kinds


def test_features_of_a_hundred_candidates_take_few_milliseconds() -> None:
    """All stated features of 100 titles of ten words: the least of some tries, with room for a busy machine."""
    titles: list[str | None] = [f"word{n} garden hose {n}m green with brass fitting and a reel" for n in range(100)]
    base = asked(titles=titles[:5])
    many = Candidates(
        ("A",),
        np.zeros(100, np.int32),
        np.arange(100),
        *(np.linspace(1, 0, 100, dtype=np.float32) for _ in range(3)),
    )
    words, seconds = base.words, list[float]()
    for _ in range(20):
        began = time.perf_counter()
        matrix(Asked("green garden hose 20m brass", many, titles, {}, words), list(FEATURES), {})
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.005
