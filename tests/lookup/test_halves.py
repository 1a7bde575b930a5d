"""A search by words and vectors: both halves of every candidate, merged as halves.py says, for any k and any filter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lookup
from foundation.errors import InputError
from lookup.index.scores import scores_of
from lookup.late import reciprocal_rank_fusion, search_late
from lookup.query import Query
from lookup.search import Reader
from tests.support.command import ANY_NIGHT, run_titles, vitrine, write_titles

COLOURS = ["red", "blue", "green", "black", "white", "teal", "amber", "ivory"]
THINGS = ["dress", "shoe", "lamp", "kite", "chair", "vase", "mug", "scarf", "belt", "drum"]
ROWS, STEADY = 400, 100
TEXTS = ["red dress", "teal lamp of oak", "model 17", "ivory drum 23 kite"]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `store`, searched by words too, and `bare`, which is not: the same products in two partitions."""
    folder = tmp_path_factory.mktemp("halves")
    rng = np.random.default_rng(7)
    words = [f"{COLOURS[a]} {THINGS[b]} model {n % 40}" for n, (a, b) in enumerate(rng.integers(0, 8, (ROWS, 2)))]
    more = {"kind": [f"k{n % 2}" for n in range(ROWS)], "price": [float(n % 50) for n in range(ROWS)]}
    catalog = write_titles(folder / "c.parquet", words, **more)
    common = ("catalog.partition=kind", "catalog.attributes=[title, price]", *ANY_NIGHT)
    assert run_titles(catalog, folder / "store", *common, "lexical.weight=0.4").exit_code == 0
    assert run_titles(catalog, folder / "bare", *common).exit_code == 0
    return folder


@pytest.fixture(scope="module")
def reader(stores: Path) -> Reader:
    """The one that is searched by words too."""
    return lookup.open(str(stores / "store"))


def expected(reader: Reader, text: str, weight: float, keep: Any = None) -> list[tuple[str, float]]:
    """(id, score) of all candidates, best first: of all rows that `keep`, id -> bool, lets through, both halves."""
    words, queries = reader.opened.words, reader._queries
    assert words is not None
    within = [(partition, None) for partition in reader.opened.partitions.values()]
    asked, xq = words.asked(text, within), queries.embed(text)
    ids, dense, lexical, places = list[str](), list[float](), list[float](), list[tuple[str, int]]()
    for (partition, _), index in zip(within, asked.indexes, strict=True):
        every = np.arange(index.rows)
        ids += partition.index.ids(every)
        dense += scores_of(partition.index, xq, every)[0].tolist()
        lexical += index.scores(asked.query, asked.statistics, every).tolist()
        places += [(partition.name, int(row)) for row in every]
    rows = [at for at in range(len(ids)) if keep is None or keep(ids[at])]
    first = sorted(rows, key=lambda at: (-dense[at], places[at]))[:STEADY]
    second = sorted((at for at in rows if lexical[at] > 0), key=lambda at: (-lexical[at], places[at]))[:STEADY]
    union = {*first, *second}
    full = max(asked.full, max((lexical[at] for at in second), default=0))
    typical = float(np.mean([dense[at * (len(ids) - 1) // 127] for at in range(128)]))

    def score(at: int) -> float:
        return weight * lexical[at] / full + (1 - weight) * (dense[at] - typical) / (1 - typical)

    return [(ids[at], score(at)) for at in sorted(union, key=lambda at: (-round(score(at), 6), places[at]))]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("weight", [None, 0.7])
def test_scores_are_those_of_both_halves(reader: Reader, text: str, weight: float | None) -> None:
    """Of every hit, also what one half alone found: recomputed over all rows, with the snapshot's weight or another."""
    hits = reader.search(text, k=STEADY, lexical_weight=weight)
    want = dict(expected(reader, text, 0.4 if weight is None else weight))
    assert len(hits) == STEADY
    np.testing.assert_allclose([hit.score for hit in hits], [want[hit.id] for hit in hits], atol=2e-6)
    best = sorted(want.values(), reverse=True)[:STEADY]
    np.testing.assert_allclose([hit.score for hit in hits], best, atol=2e-6)
    assert all(hit.score <= 1 for hit in hits)


@pytest.mark.parametrize("text", TEXTS)
def test_the_first_hits_are_the_same_for_every_k(reader: Reader, text: str) -> None:
    """Up to 100, ids and scores; and there are as many as there are products."""
    ranked = [(hit.id, hit.score) for hit in reader.search(text, k=100)]
    for k in (1, 5, 37):
        assert [(hit.id, hit.score) for hit in reader.search(text, k=k)] == ranked[:k]
    assert len({hit.id for hit in reader.search(text, k=1000)}) == ROWS


@pytest.mark.parametrize("most", [0.5, 3, 30])
def test_a_filter_binds_both_halves(reader: Reader, most: float) -> None:
    """The best of those that meet it, all of them where they are few."""
    kept = [f"P{n}" for n in range(ROWS) if n % 50 < most]
    hits = reader.search("teal lamp model 17", k=20, where=[f"price < {most}"])
    assert len(hits) == min(20, len(kept))
    want = expected(reader, "teal lamp model 17", 0.4, keep={*kept}.__contains__)
    np.testing.assert_allclose([hit.score for hit in hits], [score for _, score in want[:20]], atol=2e-6)
    assert {hit.id for hit in hits} <= {*kept}


@pytest.mark.parametrize("text", ["zzz qqqq", "!!!"])
def test_where_words_say_nothing_vectors_answer_alone(stores: Path, reader: Reader, text: str) -> None:
    """To the last bit as in a snapshot that is not searched by words."""
    bare = lookup.open(str(stores / "bare"))
    assert reader.search(text, k=30) == bare.search(text, k=30)


def test_without_weight_it_is_as_if_there_were_no_words(stores: Path, reader: Reader) -> None:
    """A weight of 0 gives hits and scores of vectors alone; queries by a vector never had words."""
    bare = lookup.open(str(stores / "bare"))
    for text in TEXTS:
        assert reader.search(text, k=30, lexical_weight=0) == bare.search(text, k=30)
        xq = reader._queries.embed(text)
        assert reader.search_vector(xq, k=30) == bare.search_vector(xq, k=30)


def test_by_words_alone_what_has_none_comes_behind(reader: Reader) -> None:
    """In the order of its embedding; `by_words.search` leaves it out."""
    found = reader.by_words.search("ivory kite", k=ROWS)
    hits = reader.search("ivory kite", k=ROWS, lexical_weight=1)
    assert 0 < len(found) < len(hits) == ROWS
    assert {hit.id for hit in hits[: len(found)]} == {hit.id for hit in found}
    behind = [hit.id for hit in hits[len(found) :]]
    dense = [hit.id for hit in reader.search("ivory kite", k=ROWS, lexical_weight=0) if hit.id in behind]
    assert behind[:20] == dense[:20]
    assert found[0].score == pytest.approx(hits[0].score, abs=2e-6)
    assert reader.by_words.search("zzz") == []


def test_late_merges_three_lists_by_rank(reader: Reader) -> None:
    """Of the text's embedding, of its words, and of a photo where there is one."""
    lists = [
        [hit.id for hit in reader.search("red dress", k=420, lexical_weight=0)],
        [hit.id for hit in reader.by_words.search("red dress", k=420)],
    ]
    want = reciprocal_rank_fusion(lists)[:10]
    assert [(hit.id, hit.score) for hit in search_late(reader, Query("red dress"))] == want
    alone = search_late(reader, Query("red dress", lexical_weight=0))
    assert [hit.id for hit in alone] == lists[0][:10]


def test_the_command_takes_a_weight(stores: Path) -> None:
    """`--lexical-weight` is that of one search."""
    found = [
        json.loads(vitrine("search", stores / "store", "--text", "red lamp", "--lexical-weight", w, "--json").stdout)
        for w in (0, 1)
    ]
    by_vectors, by_words = ([hit["score"] for hit in one["hits"]] for one in found)
    reader = lookup.open(str(stores / "store"))
    assert by_vectors == [hit.score for hit in reader.search("red lamp", lexical_weight=0)]
    assert by_words == [hit.score for hit in reader.search("red lamp", lexical_weight=1)]
    assert vitrine("search", stores / "store", "--text", "a", "--lexical-weight", "2").exit_code == 2


@pytest.mark.parametrize("weight", [-0.1, 2, "half", True, float("nan")])
def test_a_weight_that_is_no_share_is_refused(reader: Reader, weight: Any) -> None:
    """In three parts, before anything is asked."""
    with pytest.raises(InputError, match="lexical_weight from 0 to 1"):
        reader.search("red", lexical_weight=weight)


def test_a_text_is_cleaned_before_its_words_are_looked_for(reader: Reader) -> None:
    """Markup and entities, which catalogs and queries both have, are no words; the hits are those of plain words."""
    plain = reader.search("teal lamp model 17", k=20)
    for text in ("<b>teal</b>&nbsp;lamp model 17", "teal &nbsp;lamp\u200b model 17"):
        found = reader.search(text, k=20)
        assert [(hit.id, hit.score) for hit in found] == [(hit.id, hit.score) for hit in plain]
        assert reader.by_words.search(text, k=20) == reader.by_words.search("teal lamp model 17", k=20)


def test_a_filter_that_leaves_no_category_finds_nothing(reader: Reader) -> None:
    """By vectors, by words and by both."""
    for weight in (None, 0.0, 1.0):
        assert reader.search("red dress", where=["kind = none"], lexical_weight=weight) == []
    assert reader.by_words.search("red dress", where=["kind = none"]) == []


def test_a_weight_of_words_is_refused_where_there_are_none(stores: Path) -> None:
    """It would be passed over in silence."""
    with pytest.raises(InputError, match="searched by words"):
        lookup.open(str(stores / "bare")).search("red dress", lexical_weight=0.7)


@pytest.mark.parametrize("more", [{"like": ["P3"]}, {"collapse": True}, {"explain": True}], ids=str)
def test_what_lists_by_rank_cannot_tell_is_refused(reader: Reader, more: dict[str, Any]) -> None:
    """Products to be like, near-duplicates and reasons have no meaning for the sum of ranks."""
    with pytest.raises(InputError, match="nothing beside them"):
        search_late(reader, Query("red dress", **more))
