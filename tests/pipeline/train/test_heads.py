"""`vitrine train head`, and what it makes of runs and searches: on the demo catalog, without weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.train import head_groups
from tests.support.command import TITLES_ONLY, overrides, told, vitrine, write_titles
from tests.support.stores import manifest_of

CONFIG = "configs/weightless.yaml"
SMALL = (
    *("encoders.text.dim=64", "encoders.image.dim=64", "encoders.image.centre_weight=0"),
    "catalog.attributes=[title,product_type,image_link]",
)
BY = ("--groups", "product_type")


@pytest.fixture(scope="module")
def shop(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published store of the demo catalog. Tests must not change it."""
    store = tmp_path_factory.mktemp("heads") / "store"
    done = vitrine("run", "-c", CONFIG, *overrides(demo, store, *SMALL))
    assert done.exit_code == 0, done.stderr
    return store


def train(demo: Path, store: Path, out: Path, *more: object) -> Any:
    """The result of the command."""
    return vitrine("train", "head", "-c", CONFIG, "--out", out, "--json", *overrides(demo, store, *SMALL), *more)


@pytest.fixture(scope="module")
def head(demo: Path, shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head for photos. Tests must not change it."""
    out = tmp_path_factory.mktemp("heads") / "head"
    done = train(demo, shop, out, *BY)
    assert done.exit_code == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["groups"]["by"] == "equal product_type"
    assert made["groups"]["rows"] == 120
    assert made["held_out"]["queries"] > 60
    assert made["chosen"]["recall"] > made["held_out"]["before"]["recall"]
    assert made["shapes"] == {"image": [64, made["chosen"]["dim"]]}
    return out


def test_the_same_snapshot_teaches_the_same_head(demo: Path, shop: Path, head: Path, tmp_path: Path) -> None:
    """Byte for byte; called again it does nothing, and another head in the folder is not replaced."""
    assert train(demo, shop, tmp_path / "other", *BY).exit_code == 0
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "other" / name).read_bytes() == (head / name).read_bytes()
    before = (head / "training.json").stat().st_mtime_ns
    assert train(demo, shop, head, *BY).exit_code == 0
    assert (head / "training.json").stat().st_mtime_ns == before
    again = train(demo, shop, head, *BY, "--dim", 8)
    assert again.exit_code == 2
    assert "choose another --out" in told(again.stderr)[2]
    assert not list(head.parent.glob("*.training"))


def test_a_run_with_a_head_fuses_anew_and_encodes_nothing(demo: Path, shop: Path, head: Path, tmp_path: Path) -> None:
    """All vectors are copied from the snapshot before; embeddings are as long as the head says; products find
    themselves; the same head in another folder changes no shard.
    """
    store = tmp_path / "store"
    shutil.copytree(shop, store)
    done = vitrine("run", "-c", CONFIG, "--json", *overrides(demo, store, *SMALL, f"fusion.image_head={head}"))
    assert done.exit_code == 0, done.stderr
    counts = next(step["counts"] for step in json.loads(done.stdout)["steps"] if step["name"] == "embed")
    assert (counts.get("texts_encoded", 0), counts.get("photos_encoded", 0)) == (0, 0)
    assert counts["texts_copied"] == counts["photos_copied"] == 120
    dim = json.loads((head / "config.json").read_text())["shapes"]["image"][1]
    assert manifest_of(store).dim == 64 + dim
    own = pq.read_table(demo / "catalog").slice(0, 1).to_pylist()[0]
    asked = ["--text", own["title"], "--image", demo / own["image_link"], "-k", 1, "--json"]
    assert json.loads(vitrine("search", store, *asked).stdout)["hits"][0]["id"] == own["id"]
    hits = json.loads(vitrine("search", store, "--image", demo / own["image_link"], "-k", 3, "--json").stdout)["hits"]
    assert hits[0]["id"] == own["id"]
    assert hits[0]["score"] == pytest.approx(1, abs=0.01)
    whole = json.loads(vitrine("explain", store, own["id"], *asked[:4], "--json").stdout)["rank"]
    assert sum(whole["parts"].values()) == pytest.approx(whole["score"], abs=2e-3)
    shutil.copytree(head, tmp_path / "moved")
    moved = overrides(demo, store, *SMALL, f"fusion.image_head={tmp_path / 'moved'}")
    again = json.loads(vitrine("run", "-c", CONFIG, "--json", *moved).stdout)
    assert again["units_reused"] == again["units"]  # the same head in another folder


@pytest.mark.parametrize("kind", ["cca", "ridge"])
def test_a_head_for_both_towers_lets_words_find_photos(demo: Path, shop: Path, tmp_path: Path, kind: str) -> None:
    """Towers that know nothing of one another share a space: of held-out products, texts find the photo more often. A
    sum of both measures what stands in for what is missing behind the heads, and nothing is encoded.
    """
    done = train(demo, shop, tmp_path / "head", "--type", kind)
    assert done.exit_code == 0, done.stderr
    made = json.loads(done.stdout)
    assert set(made["shapes"]) == {"text", "image"}
    assert made["chosen"]["recall"] > 3 * made["held_out"]["before"]["recall"]
    assert "which is for both" in told(train(demo, shop, tmp_path / "no", "--type", kind, "--tower", "text").stderr)[0]
    store = tmp_path / "store"
    shutil.copytree(shop, store)
    head = tmp_path / "head"
    fusion = f"fusion={{type: weighted_sum, text_head: {head}, image_head: {head}}}"
    ran = vitrine("run", "-c", CONFIG, "--json", *overrides(demo, store, *SMALL, fusion))
    assert ran.exit_code == 0, ran.stderr
    counts = next(step["counts"] for step in json.loads(ran.stdout)["steps"] if step["name"] == "embed")
    assert (counts.get("texts_encoded", 0), counts.get("photos_encoded", 0)) == (0, 0)
    manifest = manifest_of(store)
    assert manifest.fusion["missing"] is not None
    assert {one.kind for one in manifest.missing or ()} == {"text", "photo"}


def test_a_head_of_one_tower_is_refused_where_texts_are_compared_with_photos(
    demo: Path, head: Path, tmp_path: Path
) -> None:
    """They would lie in two spaces: before any work, with what to do instead."""
    for kind in ("type: weighted_sum", "type: single, shared: true"):
        fusion = f"fusion={{{kind}, image_head: {head}}}"
        done = vitrine("run", "-c", CONFIG, *overrides(demo, tmp_path / "none", *SMALL, fusion))
        assert done.exit_code == 2
        expected, came, fix = told(done.stderr)
        assert "one head of both towers" in expected
        assert f"fusion.image_head={head}" in came
        assert "fusion.type=concat" in fix


def test_evaluations_hold_fused_vectors_against_towers_behind_their_heads(
    demo: Path, shop: Path, head: Path, tmp_path: Path
) -> None:
    """By photo alone concat costs nothing: the tower's way finds what the fused one finds."""
    store = tmp_path / "store"
    shutil.copytree(shop, store)
    assert vitrine("run", "-c", CONFIG, *overrides(demo, store, *SMALL, f"fusion.image_head={head}")).exit_code == 0
    rows = pq.read_table(demo / "catalog", columns=["id", "image_link", "product_type"]).to_pylist()
    queries = [{"query_id": f"q{n}", "image": str(demo / row["image_link"])} for n, row in enumerate(rows[:30])]
    pq.write_table(pa.Table.from_pylist([{**one, "text": None} for one in queries]), tmp_path / "queries.parquet")
    right = [
        {"query_id": f"q{n}", "id": other["id"], "gain": 1}
        for n, row in enumerate(rows[:30])
        for other in rows
        if other["product_type"] == row["product_type"]
    ]
    pq.write_table(pa.Table.from_pylist(right), tmp_path / "qrels.parquet")
    words = ("--queries", tmp_path / "queries.parquet", "--qrels", tmp_path / "qrels.parquet", "--json")
    found = json.loads(vitrine("eval", store, *words).stdout)
    losses = [one for one in found["losses"] if one["part"] == "fusion" and one["category"] is None]
    assert [one["before"] for one in losses] == ["photo tower"]
    assert abs(losses[0]["figures"]["precision@10"]["mean"]) < 0.01
    plain = json.loads(vitrine("eval", shop, *words).stdout)
    towers = [
        next(one["figures"] for one in of["quality"] if one["way"] == "photo tower" and one["category"] is None)
        for of in (plain, found)
    ]
    assert towers[0]["precision@10"]["mean"] < towers[1]["precision@10"]["mean"]  # it was taught these groups


def test_a_head_of_another_tower_and_a_changed_byte_are_refused(
    demo: Path, shop: Path, head: Path, tmp_path: Path
) -> None:
    """By identity, naming the part that differs, before any work; searches refuse a changed head too."""
    other = overrides(demo, tmp_path / "none", *SMALL, f"fusion.image_head={head}", "encoders.image.seed=1")
    for command in ("run", "plan"):
        done = vitrine(command, "-c", CONFIG, *other)
        assert done.exit_code == 2
        assert told(done.stderr)[0].endswith("was trained on: seed 0")
        assert told(done.stderr)[1] == "seed 1"
    wrong = overrides(demo, tmp_path / "none", *SMALL, f"fusion.text_head={head}")
    assert "fusion.text_head: a head for the text tower" in told(vitrine("run", "-c", CONFIG, *wrong).stderr)[0]
    missing = overrides(demo, tmp_path / "none", *SMALL, "fusion.image_head=./nowhere")
    assert "'./nowhere': no such folder" in told(vitrine("run", "-c", CONFIG, *missing).stderr)[1]
    assert not (tmp_path / "none" / "shards").exists()
    store, mine = tmp_path / "store", tmp_path / "head"
    shutil.copytree(shop, store)
    shutil.copytree(head, mine)
    assert vitrine("run", "-c", CONFIG, *overrides(demo, store, *SMALL, f"fusion.image_head={mine}")).exit_code == 0
    assert vitrine("verify", store, "--all").exit_code == 0
    weights = mine / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + bytes([weights.read_bytes()[-1] ^ 1]))
    asked = vitrine("search", store, "--text", "red dress")
    assert asked.exit_code == 2
    assert "image_head model.safetensors" in told(asked.stderr)[0]
    checked = vitrine("verify", store, "--all", "--json")
    assert checked.exit_code == 4
    assert str(mine) in checked.stdout


def test_groups_that_teach_nothing_are_refused_in_three_parts(demo: Path, shop: Path, tmp_path: Path) -> None:
    """An attribute that is not carried, one group, groups of one, too long a head, chance: nothing is left."""
    out = tmp_path / "out"

    def refused(*more: object, store: Path = shop) -> tuple[int, str, str]:
        done = train(demo, store, out, *more)
        expected, came, _ = told(done.stderr)
        return done.exit_code, expected, came

    code, expected, came = refused("--groups", "brand")
    assert (code, came) == (2, "'brand'")
    assert "title, product_type, image_link" in expected
    code, expected, came = refused("--groups", "image_link")
    assert (code, expected) == (2, "8 groups or more of two products or more each")
    assert "120 groups by equal image_link, 0 of two or more" in came
    code, expected, came = refused(*BY, "--dim", 999)
    assert (code, came) == (2, "999")
    assert refused("--type", "lba")[0] == 2
    clicks = tmp_path / "clicks.parquet"
    ids = pq.read_table(demo / "catalog", columns=["id"]).column("id").to_pylist()
    pq.write_table(pa.table({"query": ["all"] * 120, "id": ids}), clicks)
    assert "1 groups by clicks" in refused("--clicks", clicks)[2]
    chance = np.random.default_rng(3).integers(0, 20, 120)
    pq.write_table(pa.table({"query": [f"q{one}" for one in chance], "id": ids}), clicks)
    code, expected, _ = refused("--clicks", clicks)
    assert code == 3
    assert expected.startswith("held-out groups found better with the head than without")
    assert not list(tmp_path.glob("out*"))
    assert train(demo, shop, out, "--clicks", clicks, "--force").exit_code == 0


def test_a_store_without_the_vectors_is_refused(tmp_path: Path, demo: Path) -> None:
    """No tower of photos, and shards that keep no towers."""
    titles = write_titles(tmp_path / "titles" / "catalog" / "a.parquet", [f"title {n // 3}" for n in range(60)])
    store = tmp_path / "store"
    words = [*overrides(tmp_path / "titles", store, *TITLES_ONLY)]
    assert titles.exists()
    assert vitrine("run", "-c", CONFIG, *words).exit_code == 0
    done = vitrine("train", "head", "-c", CONFIG, "--out", tmp_path / "out", *words)
    assert (done.exit_code, told(done.stderr)[0]) == (2, "a snapshot with image vectors")
    assert vitrine("run", "-c", CONFIG, *words, "shards.towers=false").exit_code == 0
    done = vitrine("train", "head", "-c", CONFIG, "--tower", "text", "--out", tmp_path / "out", *words)
    assert done.exit_code == 2
    assert "shards.towers: false" in told(done.stderr)[1]


def test_pieces_and_files_change_nothing(
    demo: Path, shop: Path, head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are brought together in many small files give the head that they give in one."""
    monkeypatch.setattr(head_groups, "_PIECE_BYTES", 7 * 128)
    done = train(demo, shop, tmp_path / "out", *BY)
    assert done.exit_code == 0, done.stderr
    mine, theirs = (json.loads((folder / "config.json").read_text()) for folder in (tmp_path / "out", head))
    assert mine["chosen"]["dim"] == theirs["chosen"]["dim"]
    assert mine["chosen"]["recall"] == pytest.approx(theirs["chosen"]["recall"], abs=0.02)
    assert mine["groups"] == theirs["groups"]
