"""`vitrine eval` on the demo catalog: its queries, with qrels made from what products are, against brute force."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lookup
from encoders.base import encoder_spec
from encoders.photos.decode import PhotoLimits, decode
from lookup.store.store import Store
from pipeline.demo.catalog import DemoOptions, write_demo_catalog
from pipeline.demo.products import looks
from pipeline.evaluate.exact_search import parts_of, rank
from tests.support.command import overrides, told, vitrine
from tests.support.stores import manifest_of

Row = dict[str, Any]
CONFIG = ("run", "-c", "configs/weightless.yaml")


def judgments(demo: Path, seed: int = 7) -> list[Row]:
    """Gain 2 for the kind and the colour of a query, 1 for the kind; 0 for another kind in the same colour."""
    ids = pq.read_table(demo / "catalog", columns=["id"])["id"].to_pylist()
    shown = list(zip(ids, looks(seed, np.arange(len(ids), dtype=np.int64)), strict=True))
    rows = []
    for query in pq.read_table(demo / "queries.parquet").to_pylist():
        for one, look in shown:
            kind, colour = look.kind == query["kind"], look.colour == query["colour"]
            if kind or colour:
                rows.append({"query_id": query["query_id"], "id": one, "gain": (1 + colour) if kind else 0})
    return rows


def both(demo: Path) -> list[Row]:
    """The demo's queries, and one of its photos with a word for a colour."""
    rows = [
        {name: row[name] for name in ("query_id", "text", "image")}
        for row in pq.read_table(demo / "queries.parquet").to_pylist()
    ]
    return [*rows, {"query_id": "both", "text": "blue dress", "image": "query-photos/red-dress.jpg"}]


@pytest.fixture(scope="module")
def write(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[object]]:
    """Writes queries and qrels beside the demo's photos; the arguments that name them."""
    folder = tmp_path_factory.mktemp("judged")
    (folder / "query-photos").symlink_to(demo / "query-photos")

    def written(queries: Sequence[Row] | pa.Table | None = None, qrels: Sequence[Row] | pa.Table | None = None) -> Any:
        given = (("q", both(demo) if queries is None else queries), ("r", judged(demo) if qrels is None else qrels))
        for name, rows in given:
            pq.write_table(
                rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows), folder / f"{name}.parquet"
            )
        return ["--queries", folder / "q.parquet", "--qrels", folder / "r.parquet"]

    return written


def judged(demo: Path) -> list[Row]:
    """`judgments`, and for the query of both those of a blue dress."""
    rows = judgments(demo)
    kinds = {row["id"]: row["gain"] for row in rows if row["query_id"] == "q00"}
    return rows + [{"query_id": "both", "id": one, "gain": gain} for one, gain in kinds.items()]


def evaluated(*arguments: object) -> Any:
    """The document of `vitrine eval`."""
    done = vitrine("eval", *arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def means(document: Any, way: str, kind: str, category: str | None = None) -> dict[str, float]:
    """The means of one way."""
    (found,) = [
        one for one in document["quality"] if (one["way"], one["kind"], one["category"]) == (way, kind, category)
    ]
    return {name: figure["mean"] for name, figure in found["figures"].items()}


def by_hand(lists: dict[str, list[str]], qrels: list[Row], k: int) -> dict[str, float]:
    """The figures of ranked ids, in plain Python."""
    sums: dict[str, float] = {}
    for query, found in lists.items():
        gains = {row["id"]: row["gain"] for row in qrels if row["query_id"] == query}
        good = [gains.get(one, 0) for one in found]
        hit, relevant = sum(gain > 0 for gain in good[:k]), sum(gain > 0 for gain in gains.values())
        best = sorted(gains.values(), reverse=True)
        for name, value in {
            "precision@1": float(good[0] > 0),
            f"precision@{k}": hit / k,
            f"recall@{k}": hit / relevant,
            f"f1@{k}": 2 * hit / (k + relevant),
            "mrr@10": next((1 / at for at, gain in enumerate(good[:10], 1) if gain > 0), 0.0),
            "ndcg@10": dcg(good) / dcg(best),
        }.items():
            sums[name] = sums.get(name, 0.0) + value / len(lists)
    return sums


def dcg(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(1 + at) for at, gain in enumerate(gains[:10], 1))


# --- figures ---


@pytest.mark.parametrize("k", [3, 10, 15])
def test_what_users_get_is_what_is_measured(
    demo: Path, published: Path, write: Callable[..., list[object]], k: int
) -> None:
    """The figures through the index are those of the hits of searches, for each kind of query."""
    document = evaluated(published, *write(), "-k", k)
    reader, qrels = lookup.open(str(published)), judged(demo)
    lists: dict[str, dict[str, list[str]]] = {"text": {}, "photo": {}, "both": {}}
    for row in both(demo):
        photo = None if row["image"] is None else (demo / row["image"]).read_bytes()
        kind = "both" if row["text"] and photo else "text" if row["text"] else "photo"
        lists[kind][row["query_id"]] = [hit.id for hit in reader.search(row["text"], photo, k=max(k, 10))]
    assert [len(asked) for asked in lists.values()] == [8, 3, 1]
    for kind, found in lists.items():
        assert means(document, "through the index", kind) == pytest.approx(by_hand(found, qrels, k))


def test_towers_alone_are_brute_force(demo: Path, published: Path, write: Callable[..., list[object]]) -> None:
    """Text queries over the text vectors and photo queries over the photo vectors of all shards, by numpy."""
    document = evaluated(published, *write())
    manifest, qrels = manifest_of(published), judged(demo)
    assert manifest.text is not None
    assert manifest.image is not None
    tables = [pq.read_table(published / shard.file.path) for shard in manifest.shards.entries if shard.file]
    ids = [one for table in tables for one in table["id"].to_pylist()]
    for kind, column, entry in (("text", "text_vector", manifest.text), ("photo", "image_vector", manifest.image)):
        raw = b"".join(one for table in tables for one in table[column].to_pylist())
        xb = np.frombuffer(raw, dtype=np.float16).reshape(len(ids), -1).astype(np.float64)
        encoder: Any = encoder_spec(entry.fields).load("cpu")
        lists = {}
        for row in both(demo):
            if (row["text"] is None) is (kind == "photo") and (row["image"] is None) is (kind == "text"):
                given = (
                    encoder.encode([row["text"]], "query")
                    if kind == "text"
                    else encoder.encode([decode((demo / row["image"]).read_bytes(), PhotoLimits())])
                )
                lists[row["query_id"]] = [
                    ids[i] for i in np.argsort(-(xb @ given[0].astype(np.float64)), kind="stable")
                ]
        assert len(lists) in (8, 3)
        assert means(document, f"{kind} tower", kind) == pytest.approx(by_hand(lists, qrels, 10))


def test_losses_add_up_and_exact_indexes_lose_nothing(published: Path, write: Callable[..., list[object]]) -> None:
    """Tower minus fusion loss minus index loss is what users get; every index is exact, so its loss is 0 each time."""
    assert {partition.index.type for partition in manifest_of(published).partitions} == {"flat"}
    document = evaluated(published, *write())
    assert len(document["losses"]) >= 6
    for loss in document["losses"]:
        before, after = (means(document, loss[at], loss["kind"], loss["category"]) for at in ("before", "after"))
        for name, figure in loss["figures"].items():
            assert figure["mean"] == pytest.approx(before[name] - after[name], abs=1e-12)
            assert figure["low"] <= figure["mean"] <= figure["high"]
            if loss["part"] == "index":
                assert (figure["low"], figure["mean"], figure["high"]) == (0, 0, 0)


def test_an_index_that_is_not_exact_loses(tmp_path: Path) -> None:
    """With one inverted list probed the index loses; exact search and the tower alone agree, for fusion is concat."""
    demo, store = tmp_path / "demo", tmp_path / "store"
    write_demo_catalog(demo, DemoOptions(products=1400, photos="none"))
    more = ["catalog.image=null", "encoders.image=null", "catalog.attributes=[title]", "catalog.partition=null"]
    index = ["index.exact_below=512", "index.large={type: ivf_pq, nlist: 16, nbits: 5}", "index.target_recall=0.1"]
    gates = ["gates.min_recall=0", "shards.unit_rows=1000", "encoders.text.dim=64"]
    assert vitrine(*CONFIG, *overrides(demo, store), *more, *index, *gates).exit_code == 0
    rows = [row for row in both(demo) if row["image"] is None]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "q.parquet")
    named = {row["query_id"] for row in rows}
    made = [row for row in judgments(demo) if row["query_id"] in named]
    pq.write_table(pa.Table.from_pylist(made), tmp_path / "r.parquet")
    document = evaluated(store, "--queries", tmp_path / "q.parquet", "--qrels", tmp_path / "r.parquet", "-k", 50)
    lost = {one["part"]: one["figures"]["recall@50"]["mean"] for one in document["losses"] if one["category"] is None}
    assert lost["index"] > 0.02
    assert abs(lost["fusion"]) < 1e-9


def test_the_same_twice(published: Path, write: Callable[..., list[object]]) -> None:
    """Figures and intervals are decided by store, queries and judgments alone."""
    arguments = write()
    assert evaluated(published, *arguments) == evaluated(published, *arguments)


@pytest.mark.parametrize("rows", [1, 7, 60])
def test_block_by_block_is_the_same_search(published: Path, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few rows are in memory, the photos nearest to 40 photos are the same; a query within a partition too."""
    parts = parts_of(Store.open(str(published)), manifest_of(published))
    segment = parts[0].segments[0]
    raw = pq.ParquetFile(segment.path).read_row_group(segment.row_group, columns=["image_vector"])[0].to_pylist()
    xq = np.frombuffer(b"".join(raw), dtype=np.float16).reshape(len(raw), -1).astype(np.float32)
    within = [[None, parts[0].name, parts[1].name][i % 3] for i in range(len(xq))]
    whole = rank(parts, "image_vector", xq, within, 30)
    monkeypatch.setattr("pipeline.evaluate.exact_search._BLOCK_ROWS", rows)
    np.testing.assert_array_equal(rank(parts, "image_vector", xq, within, 30), whole)
    for name, row in zip(within, whole.tolist(), strict=True):
        asked = [part for part in parts if name in (None, part.name)]
        there = {number for part in asked for number in range(part.first, part.first + part.rows)}
        assert len(set(row) - {-1}) == min(30, len(there))
        assert set(row) - {-1} <= there


# --- categories ---


def test_categories_are_those_asked_in_or_those_judged(
    demo: Path, published: Path, write: Callable[..., list[object]]
) -> None:
    """Without a column the category is where the judged products are; with one, only that category is searched."""
    document = evaluated(published, *write())
    found = {(one["kind"], one["category"]): one["queries"] for one in document["quality"]}
    assert found[("text", None)] == 8
    assert sum(n for (kind, name), n in found.items() if kind == "text" and name is not None) == 8
    assert found[("photo", "Clothing")] == found[("photo", "Kitchen")] == found[("photo", "Accessories")] == 1
    rows = [{**row, "category": "Clothing" if row["query_id"] == "q00" else None} for row in both(demo)]
    within = evaluated(published, *write(rows))
    hits = lookup.open(str(published)).search("a red dress", category="Clothing")
    assert within["counts"]["outside_category"] > 0
    assert ("text", "Clothing") in {(one["kind"], one["category"]) for one in within["quality"]}
    qrels = [row for row in judged(demo) if row["query_id"] == "q00" and row["gain"]]
    alone = evaluated(published, *write(rows[:1], qrels))
    assert means(alone, "through the index", "text") == pytest.approx(by_hand({"q00": [h.id for h in hits]}, qrels, 10))


def test_one_category_alone(demo: Path, published: Path, write: Callable[..., list[object]]) -> None:
    """--category takes the queries of that category and asks in it; the others are counted."""
    document = evaluated(published, *write(), "--category", "Clothing")
    assert {one["category"] for one in document["quality"]} == {None, "Clothing"}
    counts = document["counts"]
    assert counts["evaluated"] + counts["other_category"] == counts["queries"] == 12
    hits = lookup.open(str(published)).search(None, (demo / "query-photos/red-dress.jpg").read_bytes(), "Clothing")
    inside = pq.read_table(demo / "catalog", columns=["id", "product_type"]).to_pylist()
    clothes = {row["id"] for row in inside if row["product_type"].startswith("Clothing")}
    qrels = [row for row in judged(demo) if row["id"] in clothes]
    expected = by_hand({"q08": [hit.id for hit in hits]}, qrels, 10)
    assert means(document, "through the index", "photo", "Clothing") == pytest.approx(expected)
    done = vitrine("eval", published, *write(), "--category", "Clothin")
    assert done.exit_code == 2
    assert "'Clothing'" in told(done.stderr)[0]


# --- what is left out, and said ---


def test_what_takes_no_part_is_counted(demo: Path, published: Path, write: Callable[..., list[object]]) -> None:
    """Unjudged queries, products that are not in the store, queries that nothing in the store answers."""
    rows = judged(demo)
    full = evaluated(
        published, *write(both(demo)[:3], [row for row in rows if row["query_id"] in ("q00", "q01", "q02")])
    )
    kept = [row for row in rows if row["query_id"] == "q00"]
    gone = [{"query_id": "q00", "id": "sold out", "gain": 2}, {"query_id": "q01", "id": "never there", "gain": 1}]
    document = evaluated(published, *write(both(demo)[:3], [*kept, *gone]))
    counts = document["counts"]
    assert (counts["queries"], counts["evaluated"], counts["unjudged"], counts["unanswerable"]) == (3, 1, 1, 1)
    assert (counts["judgments"], counts["not_in_store"]) == (len(kept) + 2, 2)
    assert full["counts"]["evaluated"] == 3
    alone = evaluated(published, *write(both(demo)[:1], kept))
    assert means(document, "through the index", "text") == means(alone, "through the index", "text")
    said = vitrine("eval", published, *write(both(demo)[:3], [*kept, *gone])).stdout
    assert "1 of 3 queries evaluated; 1 without judgments, 1 with nothing relevant in reach" in said
    assert "2 name products that are not in the store" in said


def test_shards_without_tower_vectors_say_so(demo: Path, tmp_path: Path, write: Callable[..., list[object]]) -> None:
    """What cannot be measured is a note, not a figure."""
    assert vitrine(*CONFIG, *overrides(demo, tmp_path / "store"), "shards.towers=false").exit_code == 0
    document = evaluated(tmp_path / "store", *write())
    assert {one["way"] for one in document["quality"]} == {"fused, exact", "through the index"}
    assert {one["part"] for one in document["losses"]} == {"index"}
    assert len(document["notes"]) == 2
    assert all("shards.towers=true" in note for note in document["notes"])


def test_late_is_one_more_way_for_queries_of_both(
    demo: Path, published: Path, write: Callable[..., list[object]]
) -> None:
    """--late measures what `search --late` finds; without a query of both it is refused."""
    document = evaluated(published, *write(), "--late")
    photo = demo / "query-photos" / "red-dress.jpg"
    done = vitrine("search", published, "--text", "blue dress", "--image", photo, "--late", "--json")
    hits = [hit["id"] for hit in json.loads(done.stdout)["hits"]]
    assert means(document, "late", "both") == pytest.approx(by_hand({"both": hits}, judged(demo), 10))
    assert [one["kind"] for one in document["quality"] if one["way"] == "late" and one["category"] is None] == ["both"]
    refused = vitrine("eval", published, *write(both(demo)[:-1], judgments(demo)), "--late")
    assert refused.exit_code == 2
    assert told(refused.stderr)[1] == "3 of photo, 8 of text"


def test_the_page_is_whole_and_offline(published: Path, write: Callable[..., list[object]], tmp_path: Path) -> None:
    """One file with a plot for each kind of query and figure, and both tables; no script, nothing from elsewhere."""
    page = tmp_path / "new" / "quality.html"
    done = vitrine("eval", published, *write(), "--late", "--html", page)
    assert done.exit_code == 0, done.stderr
    assert str(page) in done.stdout
    html = page.read_text()
    assert html.count("<svg") == 3 * 6
    assert html.count('class="dot"') == 6 * (3 + 3 + 5)
    assert "<script" not in html
    assert "http" not in html.replace("http-equiv", "")
    for word in ("precision@1", "nDCG@10", "through the index", "fusion (text)", "Clothing"):
        assert word in html
        assert word in done.stdout or word == "Clothing"
    assert vitrine("eval", published, *write(), "--html", published / "snapshots" / "page.html").exit_code == 2


# --- what is refused ---


def _q(**columns: list[Any]) -> pa.Table:
    return pa.table(columns)


QUERY = {"query_id": "a", "text": "red dress", "image": None}
QREL = {"query_id": "a", "id": "V-00000000", "gain": 1}


@pytest.mark.parametrize(
    ("queries", "qrels", "expected", "came"),
    [
        ([QUERY, QUERY], [QREL], "each query_id of", "1 repeated: 'a'"),
        ([QUERY], [QREL, QREL], "each pair of query_id and id", "('a', 'V-00000000')"),
        ([QUERY], [QREL, {**QREL, "query_id": "b"}], "judgments of queries that", "'b'"),
        ([QUERY], [{**QREL, "gain": -1}], "whole numbers of 0 and more", "-1"),
        ([QUERY], [{**QREL, "gain": 0.5}], "whole numbers of 0 and more", "double"),
        ([QUERY], [{**QREL, "gain": 0}], "a relevant product in the store", "1 with nothing relevant"),
        ([QUERY], [{**QREL, "id": "elsewhere"}], "a relevant product in the store", "1 of 1 judgments"),
        ([QUERY], _q(query_id=["a"], id=["x"]), "the columns query_id, id, gain", "without gain"),
        ([QUERY], _q(query_id=["a"], id=[None], gain=[1]), "a id in each row", "1 null"),
        ([QUERY], _q(query_id=["a"], id=["x"], gain=pa.array([None], pa.int32())), "whole numbers", "1 null"),
        (
            [QUERY],
            _q(query_id=pa.array([], pa.string()), id=[], gain=pa.array([], pa.int32())),
            "one judged query",
            "without rows",
        ),
        (_q(text=["red dress"]), [QREL], "the columns query_id", "without query_id"),
        ([{**QUERY, "category": "Shoes?"}], [QREL], "categories of the snapshot", "'Shoes?'"),
        ([{**QUERY, "text": " \n"}], [QREL], "visible character", "query 'a'"),
        ([{**QUERY, "text": None, "image": "absent.jpg"}], [QREL], "the file of a query photo", "query 'a'"),
    ],
)
def test_what_would_falsify_a_figure_is_refused(
    published: Path, write: Callable[..., list[object]], queries: Any, qrels: Any, expected: str, came: str
) -> None:
    """Exit code 2 and the three parts, before anything is printed on stdout."""
    done = vitrine("eval", published, *write(queries, qrels))
    assert (done.exit_code, done.stdout) == (2, "")
    parts = told(done.stderr)
    assert expected in parts[0]
    assert came in parts[1]


def test_files_that_are_not_there_are_refused(published: Path, write: Callable[..., list[object]]) -> None:
    """The option is named."""
    queries, qrels = write()[1], write()[3]
    for arguments, option in ((["absent", qrels], "--queries"), ([queries, "absent"], "--qrels")):
        done = vitrine("eval", published, "--queries", arguments[0], "--qrels", arguments[1])
        assert done.exit_code == 2
        assert option in told(done.stderr)[2]
