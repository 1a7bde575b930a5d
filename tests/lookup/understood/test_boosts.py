"""Boosts, held against every score of the shop."""

from __future__ import annotations

from pathlib import Path

import pytest

import lookup
from lookup.filters.where import parse
from lookup.query import Query
from lookup.search import Reader
from lookup.understood.meaning import Boost
from tests.support.understood import ROWS, shop


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """48 products in four partitions."""
    folder = tmp_path_factory.mktemp("boosts")
    return lookup.open(str(shop(Path(folder), "catalog.partition=color")))


BOOSTS = (Boost(parse("brand = Acme"), 0.25), Boost(parse("price < 20"), 0.125), Boost(parse("color = red"), 0.0625))


@pytest.mark.parametrize("k", [1, 5, ROWS])
def test_a_boost_adds_its_amount_where_it_is_met(reader: Reader, k: int) -> None:
    """Scores are those without boosts and the sum of what is met, also of a partition's name; the first hits are the
    same for every k.
    """
    plain = reader.answer(Query("boots number 7", k=ROWS))
    expected = {
        hit.id: hit.score
        + 0.25 * (hit.attributes["brand"] == "Acme")
        + 0.125 * (float(hit.attributes["price"].split()[0]) < 20)
        + 0.0625 * (hit.attributes["color"] == "red")
        for hit in plain
    }
    hits = reader.answer(Query("boots number 7", k=k, boosts=BOOSTS))
    assert [hit.score for hit in hits] == pytest.approx(sorted(expected.values(), reverse=True)[:k], abs=1e-6)
    assert all(hit.score == pytest.approx(expected[hit.id], abs=1e-6) for hit in hits)


def test_boosts_stay_within_filters(reader: Reader) -> None:
    """What a filter leaves out no boost brings back."""
    hits = reader.answer(Query("boots", k=ROWS, where=("price >= 20",), boosts=BOOSTS))
    assert {hit.id for hit in hits} == {f"P{n}" for n in range(20, ROWS)}
