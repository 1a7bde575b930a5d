"""Late fusion: the merging of two ranked lists, held against the formula in exact fractions."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lookup
from foundation.errors import InputError
from lookup.late import reciprocal_rank_fusion, search_late
from lookup.query import Query, QueryEncoder
from lookup.search import Reader
from tests.support.command import vitrine

ranked = st.lists(st.sampled_from([f"P{number}" for number in range(40)]), unique=True, max_size=40)


def reference(lists: list[list[str]]) -> list[str]:
    """Cormack et al. 2009, in exact fractions; equal sums in order of the lists."""
    seen = list(dict.fromkeys(one for listed in lists for one in listed))
    sums = {one: sum(Fraction(1, 61 + a.index(one)) for a in lists if one in a) for one in seen}
    return sorted(seen, key=lambda one: (-sums[one], seen.index(one)))


@given(text=ranked, photo=ranked)
def test_two_lists_are_merged_by_reciprocal_rank(text: list[str], photo: list[str]) -> None:
    """Order and scores are those of the formula with k = 60."""
    merged = reciprocal_rank_fusion([text, photo])
    assert [one for one, _ in merged] == reference([text, photo])
    for one, score in merged:
        assert score == pytest.approx(float(sum(Fraction(1, 61 + a.index(one)) for a in (text, photo) if one in a)))


def test_one_list_keeps_its_order_and_repeated_ids_are_refused() -> None:
    """A list that is alone is not reordered; a product cannot have two ranks."""
    assert [one for one, _ in reciprocal_rank_fusion([["b", "a", "c"]])] == ["b", "a", "c"]
    assert reciprocal_rank_fusion([]) == []
    with pytest.raises(ValueError, match="repeated"):
        reciprocal_rank_fusion([["a", "b", "a"]])


@pytest.fixture(scope="module")
def reader(published: Path) -> Reader:
    """The demo catalog, open."""
    return lookup.open(str(published))


@pytest.mark.parametrize("category", [None, "Clothing"])
def test_late_search_merges_the_two_searches(demo: Path, reader: Reader, category: str | None) -> None:
    """The hits are the merged lists of a search by text and one by photo; all else of a hit is as they have it."""
    photo = (demo / "query-photos" / "red-dress.jpg").read_bytes()
    lists = [reader.search("blue", None, category, 1000), reader.search(None, photo, category, 1000)]
    known = {hit.id: hit for listed in lists for hit in listed}
    cut = [[hit.id for hit in listed[: 2 * 5 + 60]] for listed in lists]
    hits = search_late(reader, Query("blue", photo, category, k=5))
    assert [hit.id for hit in hits] == reference(cut)[:5]
    assert [hit.attributes for hit in hits] == [known[hit.id].attributes for hit in hits]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    alone = search_late(reader, Query("blue", None, category, k=5))
    assert [hit.id for hit in alone] == [hit.id for hit in lists[0][:5]]


def test_search_takes_late(demo: Path, published: Path, reader: Reader) -> None:
    """`vitrine search --late` prints what late search finds."""
    photo = demo / "query-photos" / "red-dress.jpg"
    done = vitrine("search", published, "--text", "blue", "--image", photo, "-k", 4, "--late", "--json")
    assert done.exit_code == 0, done.stderr
    found = [(hit["id"], hit["score"]) for hit in json.loads(done.stdout)["hits"]]
    assert found == [(hit.id, hit.score) for hit in search_late(reader, Query("blue", photo.read_bytes(), k=4))]
    early = vitrine("search", published, "--text", "blue", "--image", photo, "-k", 4, "--json")
    assert [hit["id"] for hit in json.loads(early.stdout)["hits"]] != [one for one, _ in found]


@pytest.mark.parametrize(
    "asked", [{}, {"k": 0}, {"text": "blue", "k": 0}, {"text": "blue", "k": -1000}, {"image": b"no photo", "k": 0}]
)
def test_late_refuses_what_search_refuses(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]
) -> None:
    """Nothing asked and no hit wanted, in the same words, before anything is embedded."""
    monkeypatch.setattr(QueryEncoder, "_encoded", lambda *_: pytest.fail("embedded"))
    told = []
    for search in (lambda *args, **keys: search_late(reader, Query(*args, **keys)), reader.search):
        with pytest.raises(InputError) as caught:
            search(**asked)
        told.append(str(caught.value))
    assert told[0] == told[1]


def test_late_refuses_a_category_that_is_not_there(reader: Reader) -> None:
    """As search does."""
    with pytest.raises(InputError, match="'Clothing'"):
        search_late(reader, Query("blue", category="Clothin"))
