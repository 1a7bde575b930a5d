"""Nights at random: what is published is what a fresh store publishes, bit for bit, and costs no more."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.chance import LOOSE, Chance
from tests.support.command import vitrine
from tests.support.shop import Shop, content
from tests.support.stores import manifest_of


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path, monkeypatch)


@pytest.mark.parametrize(("seed", "nights"), [(1, 3), pytest.param(2, 30, marks=pytest.mark.nightly)])
def test_random_nights_equal_full_builds(shop: Shop, monkeypatch: pytest.MonkeyPatch, seed: int, nights: int) -> None:
    """Adds, edits, deletes, moves, photos that are swapped, lost and late, duplicates, other row groups, and runs that
    are killed: ids, attributes, vectors, rejects and indexes are those of a store that is new, bit for bit, and every
    snapshot that was published verifies.
    """
    chance, store = Chance(shop, seed), shop.folder / "store"
    for number in range(nights):
        chance.happen()
        if chance.draw.random() < 0.2:
            with monkeypatch.context() as patch:
                patch.setattr("pipeline.run.build_indexes", lambda *_: 1 / 0)
                with pytest.raises(ZeroDivisionError):
                    shop.night(*LOOSE)
        shop.night(*LOOSE)
        asked = shop.texts, shop.images
        shop.night(*LOOSE, store=f"fresh-{number}")
        assert asked[0] <= shop.texts
        assert asked[1] <= shop.images
        fresh = shop.folder / f"fresh-{number}"
        assert content(store) == content(fresh)
        assert manifest_of(store).rejects() == manifest_of(fresh).rejects()
        shutil.rmtree(fresh)
    assert vitrine("verify", store, "--all").exit_code == 0
