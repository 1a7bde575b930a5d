"""`lexical.weight: auto`: tuned on judged queries, moved by what is better beyond chance alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lookup.store.entries.lexical_record import LexicalEntry
from pipeline.evaluate import lexical_weight as code
from tests.support.command import ANY_NIGHT, run_titles, vitrine, write_titles
from tests.support.stores import manifest_of

NAMES = [f"{a}{b}" for a in ("bar", "lim", "tor", "ven", "sul") for b in ("bek", "dan", "fus", "gol")]
TITLES = [f"{name} lamp {at % 3} of oak and glass" for at, name in enumerate(NAMES)]


def judged(folder: Path, texts: list[str]) -> list[str]:
    """Files of these queries, each of the product at its place; the overrides that name them."""
    schema = pa.schema([("query_id", pa.string()), ("text", pa.string()), ("image", pa.string())])
    rows = [{"query_id": f"q{at}", "text": text, "image": None} for at, text in enumerate(texts)]
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "q.parquet")
    gains = [{"query_id": f"q{at}", "id": f"P{at}", "gain": 1} for at in range(len(texts))]
    pq.write_table(pa.Table.from_pylist(gains), folder / "r.parquet")
    files = f"{{queries: {folder / 'q.parquet'}, qrels: {folder / 'r.parquet'}}}"
    return ["lexical.weight=auto", f"lexical.judged={files}", *ANY_NIGHT]


def entry(store: Path) -> LexicalEntry:
    """How the published snapshot is searched by words."""
    found = manifest_of(store).lexical
    assert found is not None
    return found


def test_a_weight_that_is_better_is_taken_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where words decide, more than a half; the night after that changes nothing asks no query again."""
    catalog, store = write_titles(tmp_path / "c.parquet", TITLES), tmp_path / "store"
    more = judged(tmp_path, [f"{name} in large blue velvet, for the hall" for name in NAMES])
    more.append("encoders.text.dim=8")  # vectors that tell little apart
    assert run_titles(catalog, store, *more).exit_code == 0
    found = entry(store)
    assert found.tuned is not None
    assert (found.tuned.queries, found.tuned.kept) == (20, False)
    assert found.weight > 0.5
    assert found.tuned.ndcg >= max(found.tuned.words, found.tuned.vectors)
    assert 0 < found.tuned.low <= found.tuned.high

    def nobody(*_: object) -> None:
        raise AssertionError("a query was asked")

    monkeypatch.setattr(code, "_tried", nobody)
    assert run_titles(catalog, store, *more).exit_code == 0
    assert entry(store) == found


def test_a_re_ranker_beside_it_asks_no_query_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The night after that changes nothing is known as such, with the model that orders hits anew."""
    catalog, store = write_titles(tmp_path / "c.parquet", TITLES), tmp_path / "store"
    more = judged(tmp_path, [f"{name} lamp" for name in NAMES])
    assert run_titles(catalog, store, *more).exit_code == 0
    files = "--judged", tmp_path / "q.parquet", tmp_path / "r.parquet"
    learned = vitrine("train", "rank", "-c", store, *files, "--out", tmp_path / "ranker", "--type", "logistic")
    assert learned.exit_code == 0, learned.stderr
    more += [f"search.ranker={tmp_path / 'ranker'}", "--accept", "ranker"]
    assert run_titles(catalog, store, *more).exit_code == 0
    assert manifest_of(store).ranker is not None
    found = entry(store)

    def nobody(*_: object) -> None:
        raise AssertionError("a query was asked")

    monkeypatch.setattr(code, "_tried", nobody)
    again = run_titles(catalog, store, *more)
    assert again.exit_code == 0, again.stderr
    assert entry(store) == found


@pytest.mark.parametrize(
    ("texts", "weight"), [(["lamp"] * 2, 0.5), ([f"unknown {n}" for n in range(20)], 0.5)], ids=["few", "of nobody"]
)
def test_what_says_nothing_moves_nothing(tmp_path: Path, texts: list[str], weight: float) -> None:
    """Too few queries, or queries that no word of the products meets, leave the half."""
    catalog, store = write_titles(tmp_path / "c.parquet", TITLES), tmp_path / "store"
    assert run_titles(catalog, store, *judged(tmp_path, texts)).exit_code == 0
    assert entry(store).weight == weight


def test_judgments_of_another_catalog_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They stop nothing: the weight stays as it is."""
    catalog, store = write_titles(tmp_path / "c.parquet", TITLES), tmp_path / "store"
    more = judged(tmp_path, [f"lamp {name}" for name in NAMES])
    pq.write_table(pa.table({"query_id": ["q0"], "id": ["elsewhere"], "gain": [1]}), tmp_path / "r.parquet")
    assert run_titles(catalog, store, *more).exit_code == 0
    assert (entry(store).weight, entry(store).tuned) == (0.5, None)
    assert "lexical.weight: auto stays as it is" in caplog.text


def test_files_that_cannot_be_read_are_refused_before_any_work(tmp_path: Path) -> None:
    """Named by their key."""
    catalog = write_titles(tmp_path / "c.parquet", TITLES)
    refused = run_titles(catalog, tmp_path / "store", *judged(tmp_path, ["a"]), "lexical.judged.qrels=nowhere.parquet")
    assert refused.exit_code == 2
    assert "nowhere.parquet" in refused.stderr
    assert not (tmp_path / "store" / "shards").exists()


def figures(rng: Any, gain: float) -> Any:
    """nDCG of 200 queries by 21 weights: noise, and a weight of 0.8 that is better by `gain`."""
    found = np.clip(rng.normal(0.5, 0.3, (200, 1)) + rng.normal(0, 0.02, (200, len(code.WEIGHTS))), 0, 1)
    found[:, 16] += gain
    return found


def test_noise_does_not_move_it() -> None:
    """Where all weights are alike it stays, in nearly every draw; one that is better is found."""
    rng = np.random.default_rng(3)
    moved = sum(code._choose(figures(rng, 0.0), 0.5, "", first=False)[0] != 0.5 for _ in range(40))
    assert moved <= 2
    assert all(code._choose(figures(rng, 0.05), 0.5, "", first=False)[0] == 0.8 for _ in range(10))
    stays, tuned = code._choose(figures(rng, 0.0), 0.3, "", first=False)
    assert (stays, tuned.kept) == (0.3, True)


def test_the_first_time_any_gain_on_held_out_queries_counts() -> None:
    """A half is nobody's finding: what is too little to move a weight that was found is taken before there is one."""
    rng = np.random.default_rng(4)
    found = 0.5 + rng.normal(0, 0.002, (200, len(code.WEIGHTS)))
    found[:, 16] += 0.004
    assert code._choose(found, 0.5, "", first=False)[1].kept
    weight, tuned = code._choose(found, 0.5, "", first=True)
    assert (weight, tuned.kept) == (0.8, False)
    assert code._choose(found * 0 + 0.5, 0.5, "", first=True)[0] == 0.5
