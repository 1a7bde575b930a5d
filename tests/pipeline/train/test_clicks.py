"""`vitrine train --clicks`: what shoppers chose beside a catalog, with a tiny model on the demo catalog."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.base import encoder_spec, load_image, load_text
from encoders.training.pairs import Pair, is_held_out
from encoders.training.untrained import write_untrained
from pipeline.plan.units import make_plan
from pipeline.train.clicks import hard_negatives
from pipeline.train.towers import catalog_lessons, train_on_catalog
from tests.support.click_logs import LAST_DAY, write_clicks
from tests.support.command import config_for, overrides, told, vitrine
from tests.support.train_pairs import same
from tests.support.trainings import QUICK, TINY

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SigLIP of random weights."""
    folder = tmp_path_factory.mktemp("fresh") / "model"
    write_untrained(folder, TINY, [], scale=10, bias=-10)
    return folder


@pytest.fixture(scope="module")
def log(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of four days, with rows that lack something or name what the catalog has not."""
    more = {
        "query": ["red dress", None, "\u200b", "🎁", "red dress"],
        "id": ["elsewhere", "V-00000001", "V-00000001", "V-00000002", "V-00000003"],
        "gain": [1.0, 1.0, 1.0, 1.0, 0.0],
        "day": [LAST_DAY] * 5,
    }
    return write_clicks(tmp_path_factory.mktemp("log") / "log.parquet", demo, **more)


Train = Callable[..., Any]


@pytest.fixture
def train(demo: Path, published: Path, fresh: Path, log: Path, tmp_path: Path) -> Train:
    """Runs `vitrine train --clicks` with the words given, beside the published store."""

    def run(*words: object, clicks: Path = log, out: str = "out", store: Path = published) -> Any:
        where = overrides(demo, store, *QUICK, "train.held_out_days=2", "train.recall_k=5")
        command = ("train", "-c", "configs/weightless.yaml", "--from", fresh, "--out", tmp_path / out)
        return vitrine(*command, "--clicks", clicks, *where, *words)

    return run


def test_what_is_learned_from_clicks_is_compared_on_later_days(
    train: Train, demo: Path, fresh: Path, log: Path, tmp_path: Path
) -> None:
    """It is better than a model of random weights; the start's figures are those of exact searches by its encoders; the
    same command again does nothing and says the same.
    """
    done = train("--json", "train.epochs=8", "train.lr=0.003")
    assert done.exit_code == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["left_out"] == {
        "clicks_empty_query": 1, "clicks_null_query": 1, "clicks_unknown_id": 1, "clicks_of_gain_0": 1
    }  # fmt: skip
    assert made["clicks"]["better"] is True
    figures = made["clicks"]["figures"]
    for of_score in figures.values():
        for one in of_score.values():
            assert one["mean"] == pytest.approx(one["trained"] - one["start"])
            assert one["low"] <= one["mean"] <= one["high"]
    expected = by_hand(demo, fresh, log)
    for score, value in expected.items():
        assert figures[score]["ndcg@10"]["start"] == pytest.approx(value, abs=1e-4), score
    assert json.loads((tmp_path / "out/training.json").read_text())["result"]["clicks"] == made["clicks"]
    again = train("train.epochs=8", "train.lr=0.003")
    assert again.exit_code == 0
    assert f"{made['clicks']['queries']:,} queries over 120 products" in again.stdout
    spec = encoder_spec({"type": "dual", "model": str(tmp_path / "out")})
    assert load_text(spec, "cpu").encode(["red dress"]).shape == (1, 32)


def by_hand(demo: Path, model: Path, log: Path) -> dict[str, float]:
    """nDCG@10 of the half of the last two days' queries that compares, by plain Python over the encoder `dual`."""
    config = config_for(demo, demo / "none")
    pairs = catalog_lessons(config.settings.embedding, make_plan(config.settings.embedding, config.gates), 16, 2).pairs
    pairs = sorted(pairs, key=lambda pair: pair.group)
    spec = encoder_spec({"type": "dual", "model": str(model)})
    text = load_text(spec, "cpu")
    photos = load_image(spec, "cpu").encode([pair.photo() for pair in pairs])
    titles = text.encode([pair.texts[0] for pair in pairs])
    gains: dict[str, dict[str, float]] = {}
    known = {pair.group for pair in pairs}
    for row in pq.read_table(log).to_pylist():
        query = (row["query"] or "").strip("\u200b")
        late = (LAST_DAY - row["day"]).days < 2
        if query and late and row["gain"] and row["id"] in known and not is_held_out(f"choose/{query}", 0.5):
            of_query = gains.setdefault(query, {})
            of_query[row["id"]] = of_query.get(row["id"], 0.0) + row["gain"]
    found = {"photo": 0.0, "title": 0.0, "both": 0.0}
    for query, wanted in gains.items():
        asked = text.encode([query])[0]
        by = {"photo": photos @ asked, "title": titles @ asked}
        for score, similar in (*by.items(), ("both", by["photo"] + by["title"])):
            ranked = [pairs[i].group for i in np.argsort(-similar, kind="stable")]
            found[score] += dcg([wanted.get(one, 0) for one in ranked]) / dcg(sorted(wanted.values(), reverse=True))
    return {score: value / len(gains) for score, value in found.items()}


def dcg(gains: list[float]) -> float:
    return sum(gain / math.log2(1 + at) for at, gain in enumerate(gains[:10], 1))


def test_a_model_that_is_not_better_is_said_and_kept(train: Train, tmp_path: Path) -> None:
    """Exit code 3 with figures; the folder stands; `--accept worse` takes it without training again."""
    done = train("train.lr=1e-12")
    assert done.exit_code == 3
    expected, came, fix = told(done.stderr)
    assert "ndcg@10 on the held-out days" in expected
    assert "+0.000 +0.000..+0.000" in came
    assert "--accept worse" in fix
    assert "score of" in done.stdout
    stamp = (tmp_path / "out/model.safetensors").stat().st_mtime_ns
    assert train("train.lr=1e-12", "--accept", "worse").exit_code == 0
    assert train("train.lr=1e-12", "--json").exit_code == 3
    assert (tmp_path / "out/model.safetensors").stat().st_mtime_ns == stamp
    alone = vitrine("train", "-c", "configs/weightless.yaml", "--from", "x", "--out", "y", "--accept", "worse")
    assert (alone.exit_code, told(alone.stderr)[0]) == (2, "--accept with --clicks")


def test_few_queries_prove_nothing(train: Train, demo: Path, tmp_path: Path) -> None:
    """Fewer than ten that compare are not enough to call a model better, whatever their interval is."""
    few = write_clicks(tmp_path / "few.parquet", demo, days=2, clicks=30)
    done = train("--json", clicks=few)
    found = json.loads(done.stdout)["clicks"]
    assert found["queries"] < 10
    assert (done.exit_code, found["better"]) == (3, False)
    assert "over 10 queries or more" in told(done.stderr)[0]


def test_one_day_is_split_by_query_and_no_snapshot_mines_nothing(
    train: Train, demo: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A log of one day warns, and holds queries out instead; without a snapshot the log says that nothing is mined, and
    with one how many pairs have negatives.
    """
    day = write_clicks(tmp_path / "day.parquet", demo, days=1)
    done = train("--accept", "worse", "train.epochs=1", clicks=day, store=tmp_path / "none")
    assert done.exit_code == 0, done.stderr
    said = [record.getMessage() for record in caplog.records]
    assert any("all are of one day, 2026-11-30" in line for line in said)
    assert any("none are mined from" in line and "nothing is published" in line for line in said)
    assert any(", 0 with mined negatives" in line for line in said)
    caplog.clear()
    assert train("--accept", "worse", "train.epochs=1", out="mined").exit_code == 0
    (line,) = [record.getMessage() for record in caplog.records if "with mined negatives" in record.getMessage()]
    pairs, mined = (int(line.split(word)[0].split()[-1]) for word in (" pairs of", " with mined"))
    assert pairs == mined > 50
    assert any("2026-11-27 to 2026-11-28 are learned from" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("rows", "expected", "came"),
    [
        ({"id": ["elsewhere"]}, "a click on a product of the catalog", "1 clicks_unknown_id"),
        ({"gain": [0.0]}, "a click on a product of the catalog", "1 clicks_of_gain_0"),
        ({"gain": [float("nan")]}, "finite numbers", "nan"),
        ({"gain": [-2.0]}, "finite numbers", "-2.0"),
        ({"query": [" "]}, "at least one row with a query", "1 empty_query"),
        ({}, "clicks to learn from", "held out"),
    ],
)
def test_logs_that_teach_nothing_are_refused(
    train: Train, tmp_path: Path, rows: dict[str, list[Any]], expected: str, came: str
) -> None:
    """Exit code 2 and three parts, before anything is trained."""
    row = {"query": ["red dress"], "id": ["V-00000001"], "gain": [1.0], "day": ["2026-11-30"], **rows}
    pq.write_table(pa.table(row), tmp_path / "log.parquet")
    done = train("train.held_out=0.999999" if not rows else "train.epochs=1", clicks=tmp_path / "log.parquet")
    assert done.exit_code == 2, done.stderr
    parts = told(done.stderr)
    assert expected in parts[0]
    assert came in parts[1]
    assert not (tmp_path / "out").exists()


def test_a_training_on_clicks_that_was_killed_goes_on(
    train: Train, demo: Path, published: Path, fresh: Path, log: Path, tmp_path: Path
) -> None:
    """Cut off between two checkpoints and called again, with texts that vary and mined negatives: the same weights as
    one left alone, and the start's figures are still those of the model that it began with.
    """
    varied = ("train.drop_words=0.2", "train.swap_words=0.2", "train.hard_negatives=2")
    assert train(*varied, "--accept", "worse", out="whole").exit_code == 0
    config = config_for(demo, published, *QUICK, "train.held_out_days=2", "train.recall_k=5", *varied)

    def cut(step: str, done: int, total: int) -> None:
        if (step, done) == ("train", 8):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_on_catalog(config.settings, config.train, str(fresh), tmp_path / "torn", log, cut)
    assert (tmp_path / "torn.training").is_dir()
    assert train(*varied, "--accept", "worse", out="torn").exit_code == 0
    whole, torn = (tmp_path / name / "model.safetensors" for name in ("whole", "torn"))
    assert whole.read_bytes() == torn.read_bytes()
    figures = [
        json.loads((tmp_path / name / "training.json").read_text())["result"]["clicks"] for name in ("whole", "torn")
    ]
    assert figures[0] == figures[1]


NAMES = [f"P{n}" for n in range(12)]


@given(
    st.permutations(NAMES),
    st.sets(st.sampled_from(NAMES), min_size=1),
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from("abcdefghij"), min_size=1),
    st.sampled_from([0.0, 0.3]),
)
def test_a_hard_negative_was_never_chosen(
    hits: list[str], right: set[str], titles: dict[str, str], share: float
) -> None:
    """The mined products are, in the order of the hits, exactly those with a photo that no click of the query names, of
    no title that a clicked one has, and not held out.
    """
    products = {
        one: Pair(f"{one}/0", (title,), functools.partial(same, None), one, kin=title) for one, title in titles.items()
    }
    found = [pair.group for pair in hard_negatives(hits, right, products, share)]
    chosen = {titles[one] for one in right if one in titles}
    expected = []
    for one in hits:
        if one in titles and one not in right and titles[one] not in chosen and not is_held_out(titles[one], share):
            expected.append(one)
    assert found == expected
    assert not set(found) & right
