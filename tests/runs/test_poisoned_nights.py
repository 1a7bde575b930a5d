"""Poisoned nights are stopped by the gate that is named for them, and ordinary ones by none.

docs/reliability.md has the whole table, by benchmarks/poisoned_nights.py.
"""

from __future__ import annotations

import pytest

from tests.support.poisoned_runs import KINDS, REVISION, Shop
from tests.support.stores import digests

# Of each kind a gate that stops it, at every strength of the table.
STOPPED_BY = {
    "titles_shuffled": "texts_changed",
    "photos_shuffled": "photos_changed",
    "titles_absent": "texts_changed",
    "titles_cut": "texts_changed",
    "charset": "texts_changed",
    "photos_black": "photos_repeated",
    "photos_placeholder": "photos_repeated",
    "ids_renamed": "ids_kept",
    "prices_null": "attribute_nulls",
    "prices_times_100": "attribute_shift",
    "rows_gone": "ids_kept",
    "junk_rows": "row_growth",
    REVISION: "encoder_changed",
}
STRENGTHS = (1.0, 0.5, 0.25)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """240 products without networks. Its first night stands."""
    return Shop(tmp_path_factory.mktemp("quick"), 240, networks=False)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """600 products, and the networks of the demo."""
    return Shop(tmp_path_factory.mktemp("shop"), 600)


def check_stopped(shop: Shop, kind: str, strength: float) -> None:
    night = shop.poisoned(kind, strength)
    published = digests(shop.folder / "poisoned" / "store")
    assert night.exit_code == 3, night
    assert STOPPED_BY[kind] in night.stopped_by, night
    assert STOPPED_BY[kind] in night.error
    before = digests(shop.folder / "store")
    assert {name: published[name] for name in before} == before


@pytest.mark.parametrize("kind", ["titles_shuffled", "photos_black", "ids_renamed", "prices_times_100", "charset"])
def test_a_quarter_that_is_poisoned_is_stopped(quick: Shop, kind: str) -> None:
    """Of five kinds a quarter of the products is enough: exit 3, and the gate is named."""
    check_stopped(quick, kind, 0.25)


def test_ordinary_nights_are_published(quick: Shop) -> None:
    """Sales, edits, new goods and photos, some of them broken, goods that go, and rows in another order."""
    assert [night for night in quick.ordinary(3, seed=1) if night.exit_code] == []


@pytest.mark.nightly
@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_poisoned_night_is_stopped(shop: Shop, kind: str, strength: float) -> None:
    """Each kind at each strength, by the gate of the table."""
    if (kind, strength) == ("rows_gone", 1.0):
        pytest.skip("a catalog without rows is wrong input")
    check_stopped(shop, kind, strength)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(3))
def test_30_ordinary_nights_are_published(shop: Shop, seed: int) -> None:
    """Three chains of ten."""
    assert [night for night in shop.ordinary(10, seed) if night.exit_code] == []
