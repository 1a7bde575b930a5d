"""Likely categories: the choice alone, and through runs and searches of a catalog of many categories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lookup
from foundation.metric import Metric
from lookup.query import Query
from lookup.search import Reader
from lookup.understood.categories import KEPT, Categories, likely_ones
from tests.support.command import run_titles, vitrine, write_titles
from tests.support.stores import manifest_of

CATEGORIES, EACH = 20, 12
ON = "search.understand.categories=auto"
OVERRIDES = ("catalog.partition=kind", "encoders.text.dim=256", "index.text_queries=true")


def catalog(folder: Path, changed: str = "") -> Path:
    """240 products in 20 categories, each with words of its own; of the last category some titles may be `changed`."""
    kinds = [f"kind{n // EACH:02d}" for n in range(CATEGORIES * EACH)]
    last = {"kind19": changed}
    titles = [f"{kind} {kind}ware model {n % EACH} {last.get(kind, '')}" for n, kind in enumerate(kinds)]
    return write_titles(folder / "c.parquet", titles, kind=kinds)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published with likely categories."""
    folder = tmp_path_factory.mktemp("categories")
    done = run_titles(catalog(folder), folder / "store", *OVERRIDES, ON)
    assert done.exit_code == 0, done.stderr
    return folder / "store"


@pytest.fixture(scope="module")
def reader(store: Path) -> Reader:
    """The open snapshot."""
    return lookup.open(str(store))


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 50)), min_size=1, max_size=30), st.integers(1, 300))
def test_categories_are_searched_until_the_rest_is_unlikely(found: list[tuple[float, int]], need: int) -> None:
    """Those left out are together less likely than the bound, none of them likelier than one that is searched, and
    there are rows enough, or all are searched.
    """
    likely = np.array([one for one, _ in found]) + 1e-9
    likely /= likely.sum()
    rows = np.array([count for _, count in found], np.int64)
    chosen = likely_ones(likely, rows, 0.05, need)
    left = [at for at in range(len(found)) if at not in chosen]
    assert chosen == sorted(set(chosen))
    assert chosen
    most = likely_ones(likely, rows, 0.05, need, fewest=4)
    assert set(chosen) <= set(most)
    assert len(most) == max(len(chosen), min(4, len(found)))
    if left:
        assert likely[left].sum() < 0.05 + 1e-9
        assert rows[chosen].sum() >= need
        assert likely[left].max() <= likely[chosen].min()


@pytest.mark.parametrize("metric", list(Metric))
def test_probabilities_are_the_softmax_of_the_best_centers(metric: Metric) -> None:
    """Held against loops over every center, for each metric."""
    rng = np.random.default_rng(7)
    centers, xq = rng.normal(size=(9, 5)).astype(np.float32), rng.normal(size=(4, 5)).astype(np.float32)
    made = Categories.of({"a": 4, "none": 0, "b": 1, "c": 4}, centers, metric, 0.5)
    parts = {"a": centers[:4], "b": centers[4:5], "c": centers[5:]}
    for query, row in zip(xq, made.probabilities(xq), strict=True):
        best = []
        for rows in parts.values():
            if metric is Metric.L2:
                scores = [-float(((query - one) ** 2).sum()) for one in rows]
            else:
                scores = [float(query @ one) for one in rows]
            if metric is Metric.COSINE:
                lengths = [float(np.linalg.norm(query) * np.linalg.norm(one)) for one in rows]
                scores = [score / length for score, length in zip(scores, lengths, strict=True)]
            best.append(max(scores) / 0.5)
        raised = np.exp(np.array(best) - max(best))
        np.testing.assert_allclose(row, raised / raised.sum(), rtol=1e-4)
    assert made.names == ("a", "b", "c")


def test_a_run_measures_what_leaving_categories_out_costs(store: Path) -> None:
    """Centers and queries are named by the manifest, verified, and shown by inspect."""
    record = manifest_of(store).understanding
    assert record is not None
    assert record.figures is not None
    assert len(record.categories) == CATEGORIES
    assert sum(one.centers + one.queries for one in record.categories) == CATEGORIES * EACH
    assert record.figures.asked == sum(one.queries for one in record.categories)
    assert record.figures.kept >= 0.98
    assert record.figures.searched < 1
    assert "likely categories" in vitrine("inspect", store).stdout
    assert vitrine("verify", store).exit_code == 0
    path = store / record.files["centers"].path
    raw = path.read_bytes()
    path.write_bytes(raw[:-1])
    try:
        assert vitrine("verify", store).exit_code == 4
    finally:
        path.write_bytes(raw)


def test_a_search_leaves_unlikely_categories_out_and_says_so(store: Path, reader: Reader) -> None:
    """The first hits are those of all categories; --all-categories searches them, and so does a search that asks for
    more than the likely ones have.
    """

    def search(*more: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(
            vitrine("search", store, "--text", "kind07ware model 3", "--json", *more).stdout
        )
        return answer

    first, all_of_them = search(), search("--all-categories")
    assert first["hits"] == all_of_them["hits"]
    assert "understood" not in all_of_them
    (note,) = first["understood"]["notes"]
    assert note.startswith("searched ")
    assert note.endswith(f" of {CATEGORIES} categories, the likeliest")
    assert int(note.split()[1]) < CATEGORIES
    everything = reader.answer(Query("kind07ware model 3", k=CATEGORIES * EACH))
    assert len(everything) == CATEGORIES * EACH
    assert [hit.id for hit in everything[:10]] == [hit["id"] for hit in first["hits"]]


def test_hits_meet_a_filter_however_unlikely_their_category(reader: Reader) -> None:
    """There are as many as meet it: other categories are searched too."""
    hits = reader.answer(Query("kind07ware", where=("kind in kind00, kind19",), k=2 * EACH))
    assert len(hits) == 2 * EACH
    assert {hit.partition for hit in hits} == {"kind00", "kind19"}


def test_unchanged_categories_keep_their_centers_and_queries(tmp_path: Path) -> None:
    """A night on which one category changed asks for the others nothing anew, and one on which nothing did publishes
    nothing.
    """
    overrides = (*OVERRIDES, ON, "gates.max_texts_changed=1")
    assert run_titles(catalog(tmp_path), tmp_path / "store", *overrides).exit_code == 0
    before = manifest_of(tmp_path / "store").understanding
    assert run_titles(catalog(tmp_path), tmp_path / "store", *overrides).exit_code == 0
    assert manifest_of(tmp_path / "store").understanding == before
    assert run_titles(catalog(tmp_path, "anew"), tmp_path / "store", *overrides).exit_code == 0
    after = manifest_of(tmp_path / "store").understanding
    assert before is not None
    assert after is not None
    kept = (CATEGORIES - 1) * (EACH - before.categories[0].queries)
    old, new = (np.load(tmp_path / "store" / one.files["centers"].path) for one in (before, after))
    assert np.array_equal(old[:kept], new[:kept])
    assert not np.array_equal(old[kept:], new[kept:])
    assert run_titles(catalog(tmp_path, "anew"), tmp_path / "store", *OVERRIDES).exit_code == 0
    assert manifest_of(tmp_path / "store").understanding is None


def test_as_many_categories_are_searched_as_hits_come_from(tmp_path: Path) -> None:
    """Where words are shared, hits of a query are of more categories than its own: the run finds how many of the
    likeliest keep them, on queries other than those that it is measured by, and searches go by it.
    """
    draw, titles = np.random.default_rng(1), list[str]()
    for _ in range(32):  # each three of eight words of the category's, which some four categories have, and one of all
        own = draw.choice([f"own{n}x" for n in range(64)], 8, replace=False)
        titles += [" ".join([*draw.choice(own, 3, replace=False), f"all{draw.integers(40)}y"]) for _ in range(40)]
    rows = [f"kind{n // 40:02d}" for n in range(len(titles))]
    done = run_titles(write_titles(tmp_path / "c.parquet", titles, kind=rows), tmp_path / "store", *OVERRIDES, ON)
    assert done.exit_code == 0, done.stderr
    record = manifest_of(tmp_path / "store").understanding
    assert record is not None
    assert record.figures is not None
    assert record.figures.fewest > 1
    assert record.figures.kept >= KEPT
    assert record.figures.searched <= 0.5
    reader = lookup.open(str(tmp_path / "store"))
    kept = []
    for title in titles[::80]:
        found, every = (reader.found(Query(title, all_categories=one)) for one in (False, True))
        count = int(found.understood.notes[0].split()[1])
        assert found.understood.notes == (f"searched {count} of 32 categories, the likeliest",)
        assert count >= record.figures.fewest
        kept.append(len({hit.id for hit in found.hits} & {hit.id for hit in every.hits}) / 10)
    assert np.mean(kept) > 0.95
