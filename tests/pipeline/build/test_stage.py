"""Metrics, bounds and proof through the command: what is published, shown, and refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import lookup
from foundation.metric import Metric
from tests.support.command import run_titles, told, vitrine, write_titles
from tests.support.stores import manifest_of, publications

WORDS = ("red", "blue", "green", "long", "short", "warm", "light", "soft", "dress", "coat", "shoe", "scarf", "hat")
SMALL = ("index.exact_below=512", "index.held_out_queries=100")


@pytest.fixture(scope="module")
def titles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of 900 titles of four words."""
    rng = np.random.default_rng(0)
    rows = [" ".join(rng.choice(WORDS, 4, replace=False)) + f" {number}" for number in range(900)]
    return write_titles(tmp_path_factory.mktemp("titles") / "catalog.parquet", rows)


@pytest.mark.parametrize("metric", list(Metric))
def test_a_metric_reaches_the_hits(titles: Path, tmp_path: Path, metric: Metric) -> None:
    """The manifest names the metric, and each hit bears its score by it, best first."""
    large = "index.large={type: ivf_pq, refine: fp16}"
    done = run_titles(titles, tmp_path / "store", *SMALL, f"index.metric={metric.value}", large)
    assert done.exit_code == 0, done.stderr
    assert manifest_of(tmp_path / "store").metric == metric.value
    hits = lookup.open(str(tmp_path / "store")).search("red dress warm hat", k=5)
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    if metric is Metric.L2:
        assert all(-4 <= score <= 0 for score in scores)
        products = run_titles(titles, tmp_path / "ip", *SMALL, large)
        assert products.exit_code == 0
        # The embeddings are of unit length: |q - x|^2 = 2 - 2 <q, x>, so both rank alike.
        by_product = lookup.open(str(tmp_path / "ip")).search("red dress warm hat", k=5)
        np.testing.assert_allclose(scores, [2 * hit.score - 2 for hit in by_product], atol=5e-3)


def test_another_metric_for_one_category_is_refused(tmp_path: Path) -> None:
    """Hits of partitions merge by score, so one category alone cannot change the metric."""
    path = write_titles(tmp_path / "c.parquet", ["red hat", "blue hat", "soft coat"], kind=["a", "a", "b"])
    parted = "catalog.partition=kind"
    assert run_titles(path, tmp_path / "store", parted).exit_code == 0
    done = run_titles(path, tmp_path / "store", parted, "index.metric=l2", "--category", "a")
    assert done.exit_code == 2
    expected, came, _ = told(done.stderr)
    assert "index.metric" in expected
    assert "l2 instead of inner_product" in came


def test_bounds_out_of_reach_are_a_refusal(titles: Path, tmp_path: Path) -> None:
    """Exit code 3, nothing published, and the message names the bound and its new value."""
    store = tmp_path / "store"
    done = run_titles(titles, store, *SMALL, "index.max_bytes_per_vector=2")
    assert done.exit_code == 3
    expected, came, fix = told(done.stderr)
    assert "in at most 2 bytes a vector" in expected
    assert "ivf_rabitq" in came
    assert "raise index.max_bytes_per_vector to " in fix
    assert not publications(store)


def test_inspect_shows_what_was_proved(titles: Path, tmp_path: Path) -> None:
    """The table has interval, bytes and imbalance; the page a plot per partition and every index that was weighed."""
    store, page = tmp_path / "store", tmp_path / "indexes.html"
    few = "index.max_bytes_per_vector=64"  # for whole vectors
    assert run_titles(titles, store, *SMALL, few).exit_code == 0
    done = vitrine("inspect", store, "--html", page)
    assert done.exit_code == 0
    index = manifest_of(store).partitions[0].index
    assert index.proof is not None
    assert f"@10 {index.recall:.3f} {index.proof.recall_low:.3f}-{index.proof.recall_high:.3f}" in done.stdout
    assert f"{index.proof.memory_bytes:.0f} / {index.proof.disk_bytes:.0f}" in done.stdout
    html = page.read_text()
    assert html.count("<circle") == len(index.curve)
    assert html.count('class="dot"') == 1
    assert "chosen" in html
    assert "ivf_rabitq 1 bits, refine sq8" in html
    shown = json.loads(vitrine("inspect", store, "--json").stdout)
    assert len(shown["manifest"]["partitions"][0]["index"]["considered"]) == 7  # all but whole vectors


def test_an_exact_index_has_no_nprobe(published: Path, titles: Path, tmp_path: Path) -> None:
    """Neither the table nor the page shows a figure that was not measured; the page plots what has lists."""
    page = tmp_path / "indexes.html"
    done = vitrine("inspect", published, "--html", page)
    assert done.exit_code == 0
    rows = [line.split() for line in done.stdout.splitlines() if " flat " in line]
    assert [row[3:5] for row in rows] == [["-", "-"]] * len(manifest_of(published).partitions)
    assert [row[5:8] for row in rows] == [["exact", "-", "-"]] * len(rows)
    assert "<svg" not in page.read_text()
    for partition in manifest_of(published).partitions:
        index = partition.index
        assert (index.recall, index.recall_queries, index.curve) == (1, 0, ())
        assert index.proof is not None
        assert index.proof.found_itself == min(20, partition.rows)
    large = ("index.large={type: ivf_sq8, nlist: 8}", "gates.min_recall=0")
    assert run_titles(titles, tmp_path / "store", *SMALL, *large).exit_code == 0
    assert vitrine("inspect", tmp_path / "store", "--html", page).exit_code == 0
    assert re.findall(r"<title>(nprobe \d+): ", page.read_text())
    assert "refine 0" not in page.read_text()


def test_a_page_that_cannot_be_written_is_refused(titles: Path, tmp_path: Path) -> None:
    """A file in the place of the page's folder is named."""
    store = tmp_path / "store"
    assert run_titles(titles, store, "index.large={type: flat}").exit_code == 0
    (tmp_path / "file").write_text("")
    done = vitrine("inspect", store, "--html", tmp_path / "file" / "page.html")
    assert done.exit_code == 2
    assert "a page of indexes at" in done.stderr


def test_exact_partitions_are_asked_nothing(titles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every row is compared no encoder is loaded to tune: recall is 1 as it was built, of 0 queries."""

    def loaded(*words: object) -> None:
        raise AssertionError("an encoder was loaded to ask for rows")

    monkeypatch.setattr("pipeline.build.tower_queries.load_text", loaded)
    monkeypatch.setattr("pipeline.publish.figures.measure.query_kinds", lambda indexing: [])
    done = run_titles(titles, tmp_path / "store")
    assert done.exit_code == 0, done.stderr
    [partition] = manifest_of(tmp_path / "store").partitions
    index = partition.index
    assert (index.type, index.recall, index.recall_queries, index.curve) == ("flat", 1.0, 0, ())
    assert index.proof is not None
    assert index.proof.found_itself > 0
    assert run_titles(titles, tmp_path / "asked", *SMALL, "index.large={type: ivf_pq}").exit_code != 0
