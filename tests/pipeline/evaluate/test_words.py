"""`vitrine eval`, `search` and `explain` of a snapshot that is searched by words: what each half finds, and is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lookup
from tests.support.command import run_titles, vitrine, write_titles

TITLES = ["red cotton dress", "blue cotton dress", "red shoe 17", "oak chair", "oak table", "sofa", "teal vase", "kite"]
ASKED = {"q0": ("red dress", "P0"), "q1": ("chair of oak", "P3"), "q2": ("kyte", "P7"), "q3": ("shoe17", "P2")}


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that is searched by words, queries and what they are of."""
    folder = tmp_path_factory.mktemp("judged")
    catalog = write_titles(folder / "c.parquet", TITLES)
    assert run_titles(catalog, folder / "store", "lexical={}").exit_code == 0
    assert run_titles(catalog, folder / "bare").exit_code == 0
    rows = [{"query_id": name, "text": text, "image": None} for name, (text, _) in ASKED.items()]
    schema = pa.schema([("query_id", pa.string()), ("text", pa.string()), ("image", pa.string())])
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "q.parquet")
    gains = [{"query_id": name, "id": one, "gain": 1} for name, (_, one) in ASKED.items()]
    pq.write_table(pa.Table.from_pylist(gains), folder / "r.parquet")
    return folder


def evaluated(judged: Path, store: str) -> dict[str, Any]:
    """What `vitrine eval --json` gives."""
    done = vitrine("eval", judged / store, "--queries", judged / "q.parquet", "--qrels", judged / "r.parquet", "--json")
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_both_halves_are_ways_of_their_own(judged: Path) -> None:
    """Words alone, and words and vectors as users get them; the loss from vectors to both adds up."""
    found, reader = evaluated(judged, "store"), lookup.open(str(judged / "store"))
    ways = {one["way"]: one["figures"]["precision@1"]["mean"] for one in found["quality"] if one["category"] is None}
    for way, search in (("words", reader.by_words.search), ("words and vectors", reader.search)):
        first = [search(text, k=1)[0].id == one for text, one in ASKED.values()]
        assert ways[way] == pytest.approx(sum(first) / len(first))
    assert ways["words"] == 1
    (loss,) = [one for one in found["losses"] if one["part"] == "words" and one["category"] is None]
    assert (loss["before"], loss["after"]) == ("through the index", "words and vectors")
    lost = ways["through the index"] - ways["words and vectors"]
    assert loss["figures"]["precision@1"]["mean"] == pytest.approx(lost)


def test_a_catalog_without_categories_has_each_row_once(judged: Path) -> None:
    """Its one partition is no category: in JSON, on the console, and of a comparison."""
    found = evaluated(judged, "store")
    assert {one["category"] for one in found["quality"] + found["losses"]} == {None}
    words = ("--queries", judged / "q.parquet", "--qrels", judged / "r.parquet")
    shown = vitrine("eval", judged / "store", *words).stdout
    assert shown.count("words and vectors") == 1
    compared = json.loads(vitrine("compare", judged / "bare", judged / "store", *words, "--json").stdout)
    assert [one["category"] for one in compared["groups"]] == [None]


def test_without_words_there_are_no_such_ways(judged: Path) -> None:
    """Nor a loss by them."""
    found = evaluated(judged, "bare")
    assert not {"words", "words and vectors"} & {one["way"] for one in found["quality"]}
    assert "words" not in {one["part"] for one in found["losses"]}


def test_what_was_corrected_is_told(judged: Path, tmp_path: Path) -> None:
    """In JSON, on the console and on the page; nothing where each word is known, or words count for nothing."""
    store = judged / "store"
    said = json.loads(vitrine("search", store, "--text", "kyte", "--json").stdout)
    assert said["corrections"] == [{"word": "kyte", "to": ["kite"]}]
    assert said["hits"][0]["id"] == "P7"
    shown = vitrine("search", store, "--text", "kyte", "--html", tmp_path / "page.html")
    assert "no product has kyte: looked for kite" in shown.stdout
    assert "kyte: looked for kite" in (tmp_path / "page.html").read_text()
    for more in (("--text", "kite"), ("--text", "kyte", "--lexical-weight", "0")):
        assert "corrections" not in json.loads(vitrine("search", store, *more, "--json").stdout)


def test_explain_tells_the_share_of_words(judged: Path) -> None:
    """Beside the place by vectors, which is as it was, the place where both count."""
    rank = json.loads(vitrine("explain", judged / "store", "P7", "--text", "kyte", "--json").stdout)["rank"]
    assert rank["hit_with_words"] == 1
    (found,) = lookup.open(str(judged / "store")).by_words.search("kyte")
    assert rank["words"] == pytest.approx(found.score, abs=1e-6)
    bare = json.loads(vitrine("explain", judged / "bare", "P7", "--text", "kyte", "--json").stdout)["rank"]
    assert (bare["words"], bare["hit_with_words"]) == (None, None)
    assert {name: rank[name] for name in ("rank", "score", "hit")} == {n: bare[n] for n in ("rank", "score", "hit")}
    assert "of the words: searched by words and vectors it is number 1" in (
        vitrine("explain", judged / "store", "P7", "--text", "kyte").stdout
    )
