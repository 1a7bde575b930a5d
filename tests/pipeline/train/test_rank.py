"""`vitrine train rank`, and what its re-ranker makes of runs and searches: on a drawn catalog whose titles tie."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lookup
from lookup.query import Query
from lookup.rerank.models import ranker_spec, ranker_types
from lookup.search import Reader
from tests.support.command import told, vitrine
from tests.support.ranked_shop import LIKE, PAIRS, best_rated, drawn, judge, publish, write_judged
from tests.support.stores import in_another_second, last_log, manifest_of

KINDS = pytest.mark.parametrize("kind", ranker_types())


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a published store, judgments by rating, and a re-ranker of each type. Tests must not change it."""
    folder = tmp_path_factory.mktemp("ranked")
    done = publish(folder)
    assert done.exit_code == 0, done.stderr
    judged = judge(folder, best_rated())
    for kind in ranker_types():
        learned = train(folder / "store", judged, folder / kind, "--type", kind)
        assert learned.exit_code == 0, learned.stderr
    return folder


def train(store: Path, judged: list[Path], out: Path, *more: str) -> Any:
    return vitrine("train", "rank", "-c", store, "--judged", *judged, "--out", out, *more)


def settings(folder: Path) -> Any:
    return json.loads((folder / "config.json").read_text())


@KINDS
def test_a_signal_in_an_attribute_is_learned_and_orders_searches(shop: Path, kind: str, tmp_path: Path) -> None:
    """Products of equal titles come by rating: better on held-out queries, published, and the first hit is the best
    rated one; without it hits are what they were.
    """
    figures = settings(shop / kind)["held_out"]["figures"]
    assert figures["precision@1"]["before"] < 0.4
    assert figures["precision@1"]["after"] > 0.8
    assert figures["ndcg@10"]["low"] > 0.1
    done = publish(tmp_path, f"search.ranker={shop / kind}")
    assert done.exit_code == 0, done.stderr
    plain, ranked = lookup.open(str(shop / "store")), lookup.open(str(tmp_path / "store"))
    right = best_rated()
    found = [ranked.search(text=f"{colour} {name}", k=1)[0].id for colour, name in PAIRS]
    assert sum(one == f"P{at * LIKE + right[at]}" for at, one in enumerate(found)) >= 0.8 * len(PAIRS)
    for colour, name in PAIRS[:5]:
        text = f"{colour} {name}"
        bare, before = (one.search(text=text, rerank=False) for one in (ranked, plain))
        assert [(hit.id, hit.score) for hit in bare] == [(hit.id, hit.score) for hit in before]


def test_equal_lessons_give_equal_bytes(shop: Path, tmp_path: Path) -> None:
    """Both files of every type are the same when they are learned again."""
    judged = judge(tmp_path, best_rated())
    for kind in ranker_types():
        assert train(shop / "store", judged, tmp_path / kind, "--type", kind).exit_code == 0
        for name in ("config.json", ranker_spec(kind).file):
            assert (tmp_path / kind / name).read_bytes() == (shop / kind / name).read_bytes()


def test_hits_are_steady_complete_and_behind_the_top_as_they_were(shop: Path, tmp_path: Path) -> None:
    """The first hits are the same for every k; what is not re-ranked stays behind, in order; filters bind; a query of
    another kind than it was learned from is answered without it.
    """
    judged = judge(tmp_path, best_rated())
    assert train(shop / "store", judged, tmp_path / "few", "--top", "8").exit_code == 0
    assert publish(tmp_path, f"search.ranker={tmp_path / 'few'}").exit_code == 0
    reader = lookup.open(str(tmp_path / "store"))
    every = [hit.id for hit in reader.search(text="red lamp", k=len(PAIRS) * LIKE)]
    assert len(every) == len(set(every)) == len(PAIRS) * LIKE
    for k in (1, 3, 8, 50, 100):
        assert [hit.id for hit in reader.search(text="red lamp", k=k)] == every[:k]
    plain = [hit.id for hit in reader.search(text="red lamp", k=len(every), rerank=False)]
    assert sorted(every[:8]) == sorted(plain[:8])
    assert every[8:] == plain[8:]
    assert every[:8] != plain[:8]
    kept = reader.search(text="red lamp", k=20, where="rating >= 4")
    assert len(kept) == 20
    assert all(hit.attributes["rating"] >= 4 for hit in kept)
    stars = {hit.id for hit in reader.search(text="red lamp", k=len(every), where="stars >= 4")}  # the same as text
    assert stars == {hit.id for hit in reader.search(text="red lamp", k=len(every), where="rating >= 4")}
    found = reader.opened.partitions["all"].index.search
    vector = reader._queries.embed("red lamp")
    assert found(vector, 5, None)[1].tolist() == [reader.candidates(Query("red lamp", k=5)).positions.tolist()]


def test_the_gate_refuses_one_that_is_not_better(shop: Path, tmp_path: Path) -> None:
    """Judgments by chance: learned, told not to be better, refused by the gate with its interval; published where that
    is accepted.
    """
    judged = judge(tmp_path, drawn())
    done = train(shop / "store", judged, tmp_path / "chance")
    assert done.exit_code == 0, done.stderr
    assert "not better on held-out queries" in done.stdout
    refused = publish(tmp_path, f"search.ranker={tmp_path / 'chance'}")
    assert refused.exit_code == 3
    assert "ranker" in refused.stderr
    assert "ndcg@10 of 40 held-out queries" in refused.stderr
    assert not list((tmp_path / "store").glob("publications/*"))
    assert publish(tmp_path, f"search.ranker={tmp_path / 'chance'}", "--accept", "ranker").exit_code == 0
    assert "--no-rerank" in vitrine("search", "--help").output


def test_the_store_keeps_it_and_every_command_knows_it(shop: Path, tmp_path: Path) -> None:
    """A run copies it: the folder may go. `inspect` shows the comparison, `diff` the change, `verify` a flipped bit;
    `gc` deletes it with the last snapshot that names it; a night with nothing new publishes nothing.
    """
    folder = Path(shutil.copytree(shop / "logistic", tmp_path / "mine"))
    assert publish(tmp_path).exit_code == 0
    in_another_second()
    assert publish(tmp_path, f"search.ranker={folder}").exit_code == 0
    store = tmp_path / "store"
    record = manifest_of(store).ranker
    assert record is not None
    assert "re-ranker" in vitrine("diff", store).stdout
    again = publish(tmp_path, f"search.ranker={folder}")
    assert json.loads(last_log(store, "run.json"))["status"] == "unchanged", again.stdout
    shutil.rmtree(folder)
    assert "logistic" in vitrine("inspect", store).stdout
    assert vitrine("verify", store).exit_code == 0
    done = vitrine("search", store, "--text", "red lamp", "--json")
    assert json.loads(done.stdout)["reranked"] == {"type": "logistic", "identity": record.identity, "top": 100}
    told_of = f"the first 100 candidates re-ranked by logistic {record.identity[:16]}"
    assert told_of in vitrine("search", store, "--text", "red lamp").stdout
    assert "re-ranked" not in vitrine("search", store, "--text", "red lamp", "--no-rerank").stdout
    model = store / record.files["model"].path
    raw = model.read_bytes()
    model.write_bytes(raw.replace(b"weights", b"weighty"))
    assert vitrine("verify", store).exit_code == 4
    done = vitrine("search", store, "--text", "red lamp")
    assert (done.exit_code, "rankers/" in done.stderr) == (4, True)
    model.write_bytes(raw)
    in_another_second()
    reader = lookup.open(str(store))
    assert publish(tmp_path).exit_code == 0
    assert manifest_of(store).ranker is None
    assert vitrine("gc", store, "--keep", "1", "--older-than", "0s").exit_code == 0
    assert not model.parent.exists()
    assert reader.search(text="red lamp")  # it has read the model


def test_another_model_or_attribute_is_refused_before_any_work(shop: Path, tmp_path: Path) -> None:
    """Scores of another encoder: refused, naming what differs; attributes that are gone or have become text: named;
    a changed file, another folder, a newer version, an unknown type: refused.
    """
    given = f"search.ranker={shop / 'trees'}"
    expected, came, _ = told(publish(tmp_path, given, "encoders.text.dim=64").stderr)
    assert "text encoder: dim 32" in expected
    assert "text encoder: dim 64" in came
    expected, came, _ = told(publish(tmp_path, given, "lexical={}").stderr)
    assert expected.endswith("lexical half none")
    assert came.startswith("lexical half ")
    expected, _, _ = told(publish(tmp_path, given, "catalog.attributes=[title]", "catalog.prices=[]").stderr)
    assert "rating" in expected
    expected, _, _ = told(publish(tmp_path, given, "catalog.prices=[price]").stderr)
    assert "stars as a price" in expected
    for change, said in (
        (lambda raw: raw.replace('"version": 1', '"version": 9'), "version 9"),
        (lambda raw: raw.replace('"weighted_overlap"', '"shine"'), "shine"),
        (lambda raw: raw.replace('"type": "trees"', '"type": "forest"'), "type forest"),
        (lambda raw: raw.replace('"vitrine": "ranker"', '"vitrine": "fusion"'), "ranker"),
    ):
        odd = Path(shutil.copytree(shop / "trees", tmp_path / "odd", dirs_exist_ok=True))
        (odd / "config.json").write_text(change((odd / "config.json").read_text()))
        _, came, _ = told(publish(tmp_path, f"search.ranker={odd}").stderr)
        assert said in came
    shutil.copytree(shop / "trees", odd, dirs_exist_ok=True)
    (odd / "model.txt").write_text("tree\n")
    assert "changed after" in told(publish(tmp_path, f"search.ranker={odd}").stderr)[1]
    assert "No such file" in told(publish(tmp_path, "search.ranker=nowhere").stderr)[1]
    assert not list((tmp_path / "store").glob("publications/*"))


def shoppers(folder: Path, days: int, right: list[int] | None = None) -> Path:
    """A log of clicks: each day every query, of which the best rated product was chosen, and a bad row."""
    chosen = best_rated() if right is None else right
    rows = [
        {"query": f"{colour} {kind}", "id": f"P{at * LIKE + chosen[at]}", "gain": 1.0, "day": f"2026-11-{1 + day:02d}"}
        for day in range(days)
        for at, (colour, kind) in enumerate(PAIRS)
    ]
    path = folder / f"clicks-{days}.parquet"
    pq.write_table(pa.Table.from_pylist([*rows, {"query": None, "id": "P0", "gain": 1.0, "day": "2026-11-01"}]), path)
    return path


def test_clicks_are_learned_from_and_the_last_days_are_held_out(
    shop: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of five days the last one is compared on; of one day queries are held out, and that is told; rows that say
    nothing are counted; judgments and clicks at once are refused.
    """
    words = ("train", "rank", "-c", shop / "store", "--json", "--type", "logistic", "--clicks")
    done = vitrine(*words, shoppers(tmp_path, 5), "--out", tmp_path / "five")
    assert done.exit_code == 0, done.stderr
    made = json.loads(done.stdout)
    assert (made["held_out"]["split"], made["held_out"]["folds"], made["held_out"]["queries"]) == ("day", 1, 40)
    assert made["held_out"]["figures"]["precision@1"]["after"] > 0.9
    assert made["left_out"]["null_query"] == 1
    done = vitrine(*words, shoppers(tmp_path, 1), "--out", tmp_path / "one")
    assert "all clicks are of 2026-11-01: queries are held out" in caplog.text
    assert json.loads(done.stdout)["held_out"]["split"] == "query"
    judged = judge(tmp_path, best_rated())
    both = vitrine(*words, shoppers(tmp_path, 1), "--judged", *judged, "--out", tmp_path / "both")
    assert told(both.stderr)[1] == "both"
    assert told(vitrine("train", "rank", "-c", shop / "store", "--out", tmp_path / "x").stderr)[1] == "neither"


def test_eval_shows_what_it_gains(shop: Path, tmp_path: Path) -> None:
    """A way of its own beside the search without it, and the difference with its interval; `compare` says as `eval`
    does what to think of queries that it was learned from.
    """
    assert publish(tmp_path, f"search.ranker={shop / 'logistic'}").exit_code == 0
    queries, qrels = judge(tmp_path, best_rated())
    done = vitrine("eval", tmp_path / "store", "--queries", queries, "--qrels", qrels, "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    means = {one["way"]: one["figures"]["precision@1"]["mean"] for one in found["quality"] if one["category"] is None}
    assert means["re-ranked"] > 0.9 > 0.4 > means["through the index"]
    assert any("40 that were held out" in note for note in found["notes"])
    gains = [one["figures"]["precision@1"]["high"] for one in found["losses"] if one["part"] == "re-ranker"]
    assert max(gains) < 0
    done = vitrine("compare", tmp_path / "store", "1", "1", "--queries", queries, "--qrels", qrels)
    assert "A, re-ranked: of queries that it was learned from this says too much" in done.stdout


BAD: tuple[tuple[str, Any, Any, str], ...] = (
    ("nobody", [{"query_id": "a", "text": "red lamp"}], [{"query_id": "a", "id": "X1", "gain": 1}], "not there"),
    ("single", [{"query_id": "a", "text": "red lamp"}], [{"query_id": "a", "id": "P1", "gain": 1}], "1 of 1"),
    (
        "one class",
        [{"query_id": one, "text": f"red {one}"} for one in ("lamp", "coat", "boot", "chair", "kettle", "tin")],
        [
            {"query_id": one, "id": f"P{n}", "gain": 1}
            for one in ("lamp", "coat", "boot", "chair", "kettle", "tin")
            for n in range(len(PAIRS) * LIKE)
        ],
        "worth the same",
    ),
)


@pytest.mark.parametrize(("queries", "gains", "said"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_judgments_that_teach_nothing_are_refused(
    shop: Path, tmp_path: Path, queries: Any, gains: Any, said: str
) -> None:
    """In three parts, and no folder is left."""
    done = train(shop / "store", write_judged(tmp_path, queries, gains), tmp_path / "out")
    assert done.exit_code == 2
    assert said in " ".join(told(done.stderr))
    assert not (tmp_path / "out").exists()


def test_what_says_nothing_is_dropped_and_told(shop: Path) -> None:
    """One partition, no words index: those features are named with the reason, and so is one that repeats another."""
    dropped = settings(shop / "trees")["dropped"]
    assert dropped["category_share"] == "always 1"
    assert dropped["lexical"] == "no candidate has a value"
    assert dropped["score"] == "the same as dense"
    assert dropped["among.stars"] == "the same as among.rating"
    assert settings(shop / "logistic")["dropped"]["query_words"] == "always 2"


def test_attributes_are_chosen_by_name(shop: Path, tmp_path: Path) -> None:
    """Only those that are named are seen; one that is text or not there is refused, naming those that can be."""
    judged = judge(tmp_path, best_rated())
    assert train(shop / "store", judged, tmp_path / "one", "--features", "rating, added").exit_code == 0
    assert set(settings(tmp_path / "one")["attributes"]) <= {"rating", "added"}
    expected, came, _ = told(train(shop / "store", judged, tmp_path / "two", "--features", "title,shine").stderr)
    assert "rating, price, added, stars" in expected
    assert came == "title, string; shine, no attribute"
    taken = train(shop / "store", judged, tmp_path / "one")
    assert "it is there" in told(taken.stderr)[1]


def test_a_snapshot_without_one_opens_and_answers_as_before(shop: Path) -> None:
    """Nothing of it is in the manifest, and no model is loaded."""
    reader = Reader.open(str(shop / "store"))
    assert reader.ranker is None
    assert b'"ranker": {' not in next((shop / "store" / "snapshots").glob("*.json")).read_bytes()
    assert [hit.id for hit in reader.search(text="red lamp", k=5)] == [
        hit.id for hit in reader.search(text="red lamp", k=5, rerank=False)
    ]
