"""`vitrine compare` on the demo catalog: two nights with text towers of different lengths, held against `vitrine eval`
and against searches.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lookup
from lookup.store.store import Store
from pipeline.demo.products import looks
from pipeline.evaluate.comparison import Difference
from pipeline.evaluate.evaluation import Interval
from tests.support.command import ANY_NIGHT, overrides, told, vitrine

Row = dict[str, Any]


@pytest.fixture(scope="module")
def two_nights(demo: Path, published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two publications: `published`, and a night whose titles have 24 dimensions, which find less."""
    store = tmp_path_factory.mktemp("compared") / "store"
    shutil.copytree(published, store)
    words = overrides(demo, store, "encoders.text.dim=24", *ANY_NIGHT)
    done = vitrine("run", "-c", "configs/weightless.yaml", *words)
    assert done.exit_code == 0, done.stderr
    assert [one.number for one in Store.open(str(store)).publications()] == [1, 2]
    return store


@pytest.fixture(scope="module")
def judged(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """The words that name the demo's queries, and judgments of them: 2 for kind and colour, 1 for the kind."""
    folder = tmp_path_factory.mktemp("judged")
    (folder / "query-photos").symlink_to(demo / "query-photos")
    pq.write_table(pa.Table.from_pylist(queries_of(demo)), folder / "q.parquet")
    pq.write_table(pa.Table.from_pylist(judgments(demo)), folder / "r.parquet")
    return ["--queries", folder / "q.parquet", "--qrels", folder / "r.parquet"]


def queries_of(demo: Path) -> list[Row]:
    rows = pq.read_table(demo / "queries.parquet").to_pylist()
    return [{name: row[name] for name in ("query_id", "text", "image")} for row in rows]


def judgments(demo: Path) -> list[Row]:
    ids = pq.read_table(demo / "catalog", columns=["id"])["id"].to_pylist()
    shown = list(zip(ids, looks(7, np.arange(len(ids), dtype=np.int64)), strict=True))
    return [
        {"query_id": query["query_id"], "id": one, "gain": 1 + (look.colour == query["colour"])}
        for query in pq.read_table(demo / "queries.parquet").to_pylist()
        for one, look in shown
        if look.kind == query["kind"]
    ]


def compared(*arguments: object) -> Any:
    """The document of `vitrine compare`."""
    done = vitrine("compare", *arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def figures(document: Any, kind: str = "text", category: str | None = None) -> dict[str, Any]:
    (found,) = [one for one in document["groups"] if (one["kind"], one["category"]) == (kind, category)]
    return dict(found["figures"])


def ndcg(found: Sequence[str], gains: dict[str, int]) -> float:
    def dcg(row: Sequence[int]) -> float:
        return sum(gain / math.log2(1 + at) for at, gain in enumerate(row[:10], 1))

    return dcg([gains.get(one, 0) for one in found]) / dcg(sorted(gains.values(), reverse=True))


def test_both_sides_are_what_eval_measures(two_nights: Path, published: Path, judged: list[object]) -> None:
    """A and B have the figures of `vitrine eval`, whether they are named by number, by store, or not at all."""
    document = compared(two_nights, *judged)
    evals = [json.loads(vitrine("eval", store, *judged, "--json").stdout) for store in (published, two_nights)]
    for kind, category in (("text", None), ("photo", None), ("text", "Clothing")):
        for name, one in figures(document, kind, category).items():
            a, b = (
                next(
                    row["figures"][name]["mean"]
                    for row in measured["quality"]
                    if (row["kind"], row["category"], row["way"]) == (kind, category, "through the index")
                )
                for measured in evals
            )
            assert (one["a"], one["b"]) == (pytest.approx(a), pytest.approx(b))
            assert one["difference"]["mean"] == pytest.approx(b - a)
            assert one["difference"]["low"] <= one["difference"]["mean"] <= one["difference"]["high"]
    for words in ((two_nights, "1", "2"), (two_nights, "1"), (published, two_nights)):
        again = compared(*words, *judged)
        assert again["groups"] == document["groups"]
        assert again["worst"] == document["worst"]
    assert [side["store"] for side in again["sides"]] == [str(published), str(two_nights)]


def test_each_query_is_won_tied_or_lost(demo: Path, two_nights: Path, published: Path, judged: list[object]) -> None:
    """Wins, ties and losses by nDCG are those of the hits that searches give, and the worst queries lose most."""
    document = compared(two_nights, *judged, "--worst", 3)
    readers = lookup.open(str(published)), lookup.open(str(two_nights))
    lost = {}
    for row in queries_of(demo):
        if row["text"] is not None:
            gains = {one["id"]: one["gain"] for one in judgments(demo) if one["query_id"] == row["query_id"]}
            a, b = (ndcg([hit.id for hit in reader.search(row["text"])], gains) for reader in readers)
            lost[row["query_id"]] = round(b - a, 9)
    one = figures(document)["ndcg@10"]
    signs = np.sign(list(lost.values()))
    assert (one["wins"], one["ties"], one["losses"]) == tuple(int((signs == sign).sum()) for sign in (1, 0, -1))
    assert one["losses"] > 0
    worst = [row for row in document["worst"] if row["kind"] == "text"]
    for row in worst:
        assert row["ndcg@10"][1] - row["ndcg@10"][0] == pytest.approx(lost[row["query"]["name"]])
        assert [[hit["id"] for hit in hits] for hits in row["hits"]] == [
            [hit.id for hit in reader.search(row["query"]["text"])] for reader in readers
        ]
    gaps = [row["ndcg@10"][1] - row["ndcg@10"][0] for row in document["worst"]]
    assert gaps == sorted(gaps)
    assert gaps[0] == pytest.approx(min(*lost.values(), gaps[0]))


def test_a_snapshot_against_itself_is_not_told_apart(published: Path, judged: list[object]) -> None:
    """No difference, all ties, nothing lost."""
    document = compared(published, published, *judged)
    for group in document["groups"]:
        for one in group["figures"].values():
            assert one["difference"] == {"mean": 0, "low": 0, "high": 0}
            assert (one["wins"], one["ties"], one["losses"]) == (0, group["queries"], 0)
            assert one["verdict"] == "too few to tell"  # 8 of text, 3 of photo
    assert document["worst"] == []
    said = vitrine("compare", published, published, *judged).stdout
    assert "text queries: B is not to be told from A by so few queries (10 are needed)" in said


@pytest.mark.parametrize(
    ("low", "high", "queries", "verdict"),
    [
        (0.01, 0.2, 10, "better"),
        (0.01, 0.2, 9, "too few to tell"),
        (-0.2, -0.01, 10, "worse"),
        (0.0, 0.2, 500, "not told apart"),
        (-0.1, 0.2, 500, "not told apart"),
    ],
)
def test_a_verdict_needs_an_interval_that_excludes_0(low: float, high: float, queries: int, verdict: str) -> None:
    """Of ten queries or more, on one side of 0."""
    assert Difference(0.5, 0.5, Interval(0.0, low, high), queries, 0, 0).verdict == verdict


def test_clicks_judge_too(demo: Path, published: Path, two_nights: Path, tmp_path: Path) -> None:
    """The summed gains of a log's days are the judgments; --since takes the last days alone."""
    log = tmp_path / "log.parquet"
    rows = [{"query": "Red dress", "id": "V-00000001", "gain": 1.0, "day": "2026-11-01"}]
    for row in queries_of(demo):
        for one in judgments(demo):
            if row["text"] and one["query_id"] == row["query_id"]:
                rows += [{"query": row["text"], "id": one["id"], "gain": one["gain"] / 2, "day": "2026-11-29"}] * 2
    rows += [{"query": None, "id": "V-00000001", "gain": 1.0, "day": "2026-11-29"}]
    pq.write_table(pa.Table.from_pylist(rows), log)
    document = compared(published, two_nights, "--clicks", log, "--since", "2026-11-29")
    asked = [row for row in queries_of(demo) if row["text"]]
    pq.write_table(pa.Table.from_pylist(asked), tmp_path / "q.parquet")
    named = {row["query_id"] for row in asked}
    made = [row for row in judgments(demo) if row["query_id"] in named]
    pq.write_table(pa.Table.from_pylist(made), tmp_path / "r.parquet")
    by_qrels = compared(published, two_nights, "--queries", tmp_path / "q.parquet", "--qrels", tmp_path / "r.parquet")
    expected = figures(by_qrels)["ndcg@10"]
    found = figures(document)["ndcg@10"]
    assert (found["a"], found["b"]) == (pytest.approx(expected["a"]), pytest.approx(expected["b"]))
    assert document["clicks_left_out"]["null_query"] == 1
    said = vitrine("compare", published, two_nights, "--clicks", log)
    assert "left out: 1 null query" in said.stdout


def test_the_page_shows_both_sides_of_what_is_lost(two_nights: Path, judged: list[object], tmp_path: Path) -> None:
    """One offline file: the verdict, the figures, and for each of the worst queries the hits of A and B with photos."""
    page = tmp_path / "compared.html"
    done = vitrine("compare", two_nights, *judged, "--worst", 2, "--html", page)
    assert done.exit_code == 0, done.stderr
    html = page.read_text()
    assert html.count('class="golden"') == 2
    assert html.count('<div class="strip">') == 4
    assert html.count("data:image/jpeg") >= 20
    assert 'class="expected"' in html
    assert "<script" not in html
    assert "http" not in html.replace("http-equiv", "")
    for word in ("nDCG@10", "won / tied / lost", "text queries: B is"):
        assert word in html
        assert word in done.stdout
    inside = vitrine("compare", two_nights, *judged, "--html", two_nights / "page.html")
    assert inside.exit_code == 2


@pytest.mark.parametrize(
    ("words", "expected", "came"),
    [
        (["--queries", "q.parquet"], "--queries and --qrels, or --clicks", "one of"),
        ([], "--queries and --qrels, or --clicks", "neither"),
        (["--clicks", "c.parquet", "--qrels", "r.parquet"], "--queries and --qrels, or --clicks", "both"),
        (["--since", "2026-11-01"], "--since with --clicks", "alone"),
        (["--clicks", "c.parquet", "--since", "2026-12-01"], "clicks of 2026-12-01 or later", "2026-11-29 to"),
        (["--clicks", "c.parquet"], "at least one query with a relevant product in the store", "1 of 1 judgments"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    published: Path, tmp_path: Path, words: list[str], expected: str, came: str
) -> None:
    """Exit code 2 and the three parts: no judgments, two kinds of them, a log that names nothing in the store."""
    log = pa.table({"query": ["dress"], "id": ["elsewhere"], "gain": [1], "day": ["2026-11-29"]})
    pq.write_table(log, tmp_path / "c.parquet")
    named = [str(tmp_path / word) if word.endswith(".parquet") else word for word in words]
    done = vitrine("compare", published, published, *named)
    assert (done.exit_code, done.stdout) == (2, "")
    parts = told(done.stderr)
    assert expected in parts[0]
    assert came in parts[1]


def test_a_store_or_snapshot_that_is_not_there_is_refused(published: Path, judged: list[object]) -> None:
    """A path without a store, a number without a publication, and a store of one snapshot with nothing before it."""
    for words in ((published, "elsewhere"), (published, "7", "8"), (published,)):
        done = vitrine("compare", *words, *judged)
        assert done.exit_code == 2
        told(done.stderr)
