"""A search returns as many products as meet what is asked, up to k, and its first hits do not depend on k."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lookup
from foundation.metric import Metric
from lookup.hit import Hit
from lookup.late import search_late
from lookup.query import Query
from lookup.search import Reader
from tests.support.command import run_titles, vitrine
from tests.support.examples import index_examples
from tests.support.nights import titles
from tests.support.stores import manifest_of

WAYS = [spec.model_dump(mode="json") for spec in index_examples(32)]
WAYS.append({"type": "ivf_pq", "m": 12, "nbits": 4, "pca": 12, "fast_scan": True, "refine": "none"})
ORDINARY, NEARLY, FEW = 700, 600, 30
ALL = ORDINARY + NEARLY + FEW
TEXTS = ("red dress", "steel lid 9", "green ball")


def words(rows: int) -> list[tuple[str, str]]:
    """(category, title) of each row: all different, nearly all equal, and a short partition."""
    nearly = ["red dress"] * (NEARLY - 10) + ["green ball", "blue mug"] * 5
    return [
        *(("ordinary", title) for title in titles(ORDINARY)),
        *(("nearly", title) for title in nearly),
        *(("few", title) for title in titles(FEW, first=9_000)),
    ]


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(an index type's place in WAYS, metric) -> a reader of a store whose large partitions have it."""
    folder = tmp_path_factory.mktemp("enough")
    rows = words(ALL)
    columns = {
        "id": [f"P{number}" for number in range(ALL)],
        "title": [title for _, title in rows],
        "kind": [category for category, _ in rows],
        "odd": [number % 2 for number in range(ALL)],
    }
    pq.write_table(pa.table(columns), folder / "c.parquet", row_group_size=300)

    @cache
    def opened(place: int, metric: Metric = Metric.INNER_PRODUCT) -> Reader:
        store = folder / f"{place}-{metric.value}"
        large = json.dumps(WAYS[place]).replace('"', "")
        more = ("catalog.partition=kind", "catalog.attributes=[title,odd]", "index.exact_below=512")
        index = (f"index.large={large}", "index.held_out_queries=50", f"index.metric={metric.value}")
        done = run_titles(folder / "c.parquet", store, *more, *index, "gates.min_recall=0", "shards.unit_rows=2000")
        assert done.exit_code == 0, done.stderr
        types = {entry.name: entry.index.type for entry in manifest_of(store).partitions}
        assert types["ordinary"] == WAYS[place]["type"]
        assert types["few"] == "flat"
        return lookup.open(str(store))

    return opened


def meets(category: str | None, where: str) -> set[str]:
    """The ids of the products that are asked for, by the rows themselves."""
    return {
        f"P{number}"
        for number, (kind, _) in enumerate(words(ALL))
        if category in (None, kind) and (not where or number % 2)
    }


def check(hits: list[Hit], k: int, there: set[str]) -> None:
    """k of them or all, none twice, none that does not meet what was asked, best first."""
    assert len(hits) == min(k, len(there))
    assert len({hit.id for hit in hits}) == len(hits)
    assert {hit.id for hit in hits} <= there
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@given(
    place=st.integers(0, len(WAYS) - 1),
    k=st.one_of(st.integers(1, 120), st.integers(1, ALL + 9)),
    text=st.sampled_from(TEXTS),
    category=st.sampled_from([None, "ordinary", "nearly", "few"]),
    where=st.sampled_from(["", "odd = 1"]),
    nprobe=st.sampled_from([None, 1, 3, 10_000]),
    late=st.booleans(),
)
@settings(max_examples=90, derandomize=True)
def test_as_many_hits_as_there_are(
    readers: Any, place: int, k: int, text: str, category: str | None, where: str, nprobe: int | None, late: bool
) -> None:
    """min(k, products that meet it) for any type, k, category, filter and nprobe; k up to 100 begins like k = 100."""
    reader = readers(place)
    ask = (lambda **named: search_late(reader, Query(**named))) if late else reader.search
    hits = ask(text=text, category=category, k=k, where=where or (), nprobe=nprobe)
    check(hits, k, meets(category, where))
    if k <= 100 or WAYS[place]["type"] == "flat":
        longer = ask(text=text, category=category, k=100, where=where or (), nprobe=nprobe)
        assert [hit.id for hit in hits[:100]] == [hit.id for hit in longer[: len(hits)]]


@pytest.mark.parametrize(("metric", "kind"), [(Metric.COSINE, "hnsw"), (Metric.L2, "ivf_rabitq")])
def test_every_metric_returns_as_many(readers: Any, metric: Metric, kind: str) -> None:
    """Cosine and squared distance, with a graph and with lists."""
    reader = readers(next(at for at, way in enumerate(WAYS) if way["type"] == kind), metric)
    for where in ("", "odd = 1"):
        found = {k: reader.search("green ball", k=k, where=where or ()) for k in (10, 100, 900, ALL)}
        for k, hits in found.items():
            check(hits, k, meets(None, where))
        assert found[10] == found[100][:10]


@pytest.mark.parametrize("place", range(len(WAYS)))
def test_a_query_that_is_like_nothing_has_hits(readers: Any, place: int) -> None:
    """A vector of zeros is as far from every product: the first ones come, whatever FAISS makes of it."""
    reader = readers(place)
    for where in ("", "odd = 1"):
        found = {k: reader.search_vector(np.zeros((1, 32), np.float32), None, k, where=where or ()) for k in (10, 100)}
        for k, hits in found.items():
            check(hits, k, meets(None, where))
        assert found[10] == found[100][:10]


def test_equal_rows_are_in_order_of_the_catalog(readers: Any) -> None:
    """In an exact index the first of equal rows come first, whatever k is."""
    reader = readers(next(at for at, way in enumerate(WAYS) if way["type"] == "flat"))
    first = [f"P{ORDINARY + number}" for number in range(NEARLY - 10)]
    for k in (1, 10, 99, 100, 101, 400, 590):
        assert [hit.id for hit in reader.search("red dress", category="nearly", k=k)] == first[:k]
        odd = reader.search("red dress", category="nearly", k=k, where="odd = 1")
        assert [hit.id for hit in odd][:295] == first[1::2][:k]


def test_the_command_returns_as_many(readers: Any, tmp_path: Path) -> None:
    """`search` with one query, with a file of them, and with --late."""
    store = readers(next(at for at, way in enumerate(WAYS) if way["type"] == "ivf_pq")).store.root
    pq.write_table(pa.table({"text": list(TEXTS)}), tmp_path / "q.parquet")
    for more in (["--text", "red dress"], ["--queries", tmp_path / "q.parquet"], ["--text", "mug", "--late"]):
        done = vitrine("search", store, "--json", "-k", 1000, "--nprobe", 1, *more)
        assert done.exit_code == 0, done.stderr
        answers = json.loads(done.stdout)
        answers = answers if isinstance(answers, list) else [answers]
        assert len(answers) == (len(TEXTS) if "--queries" in more else 1)
        assert {len(answer["hits"]) for answer in answers} == {1000}
