"""What the members of joined towers count: scores by an independent formula, whole nights by the command, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.fusion.base import fusion_class, fusion_spec, fusion_types
from encoders.fusion.load import fused_towers, load_fusion
from encoders.fusion.missing import Missing
from encoders.towers import Tower
from tests.support.command import overrides, told, vitrine
from tests.support.stores import manifest_of

CONFIG = "configs/weightless.yaml"
LENGTHS = (8, 24)
PHOTOS = (
    "encoders.image={type: joined_photos, towers: [{type: photo_descriptors, dim: 64}, "
    "{type: photo_descriptors, dim: 32, seed: 1}]}"
)
TEXTS = (
    "encoders.text={type: joined_texts, towers: [{type: hashed_text, dim: 64}, {type: hashed_text, dim: 32, seed: 1}]}"
)


def unit(rows: Any) -> Any:
    """Rows of length 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def drawn(n: int, seed: int) -> tuple[list[Any], Any]:
    """The unit rows of each member, float64, and of the joined tower, float32."""
    rng = np.random.default_rng(seed)
    each = [unit(rng.standard_normal((n, length))) for length in LENGTHS]
    return each, (np.concatenate(each, axis=1) / 2**0.5).astype(np.float32)


def tower(identity: str) -> Tower:
    """A joined tower of two members."""
    return Tower(sum(LENGTHS), identity, {"seed": identity}, LENGTHS)


@settings(deadline=None, max_examples=40)
@given(
    weights=st.lists(st.floats(0, 10), min_size=2, max_size=2).filter(lambda one: sum(one) > 0.1),
    text_weight=st.floats(0.1, 0.9),
    seed=st.integers(0, 1000),
)
def test_scores_are_the_weighted_means_of_the_members_cosines(
    weights: list[float], text_weight: float, seed: int
) -> None:
    """By text and by both, under concat and single, for any weights; items and queries stay of the length they had."""
    (texts, text), (photos, photo) = drawn(12, seed), drawn(12, seed + 1)
    there = np.ones(12, bool)
    share = np.array(weights) / sum(weights)
    expected = sum(one * (rows @ rows.T) for one, rows in zip(share, texts, strict=True))
    plain = sum(rows @ rows.T for rows in photos) / 2
    both = fusion_spec({"type": "concat", "text_weights": weights, "text_weight": text_weight})
    fusion = load_fusion(both, tower("a"), tower("b"), "cpu")
    items = fusion.items(text, photo, there, there)
    np.testing.assert_allclose(fusion.queries(text=text) @ items.T, expected, atol=2e-6)
    np.testing.assert_allclose(fusion.queries(image=photo) @ items.T, plain, atol=2e-6)
    whole = text_weight * expected + (1 - text_weight) * plain
    np.testing.assert_allclose(fusion.queries(text, photo) @ items.T, whole, atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(items, axis=1), 1, atol=1e-6)
    alone = load_fusion(fusion_spec({"type": "single", "text_weights": weights}), tower("a"), None, "cpu")
    np.testing.assert_allclose(
        alone.queries(text) @ alone.items(text, text[:, :0], there, ~there).T, expected, atol=2e-6
    )
    parts = fusion.score_parts((text[:1], photo[:1]), (text[1:2], photo[1:2]))
    assert parts is not None
    assert parts["text"] == pytest.approx(text_weight * expected[0, 1], abs=2e-6)


@pytest.mark.parametrize("kind", [one for one in fusion_types() if not fusion_class(one).learned])
def test_every_fusion_takes_weights_for_items_and_queries_alike(kind: str) -> None:
    """It gives what it gives without them for towers that were weighted by hand; absent rows stay absent; equal
    weights, and weights of equal shares, are the same fusion.
    """
    shared = {"missing": Missing.example(sum(LENGTHS))} if "missing" in fusion_class(kind).model_fields else {}
    (texts, text), (photos, photo) = drawn(9, 1), drawn(9, 2)
    has_text, has_photo = np.arange(9) % 3 != 1, np.arange(9) % 3 != 2
    by_hand = [
        np.concatenate([one * rows for one, rows in zip(np.sqrt(shares), each, strict=True)], axis=1).astype(np.float32)
        for shares, each in (((0.75, 0.25), texts), ((0.2, 0.8), photos))
    ]
    plain = fusion_spec({"type": kind, **shared})
    spec = fusion_spec({"type": kind, "text_weights": [3, 1], "image_weights": [1, 4], **shared})
    fusion, expected = (load_fusion(one, tower("a"), tower("b"), "cpu") for one in (spec, plain))
    items = fusion.items(text * has_text[:, None], photo * has_photo[:, None], has_text, has_photo)
    masked = [rows * has[:, None] for rows, has in zip(by_hand, (has_text, has_photo), strict=True)]
    asked, by_hand_asked = fusion.queries(text=text), expected.queries(text=by_hand[0])
    np.testing.assert_allclose(asked, by_hand_asked, atol=1e-6)
    scores = by_hand_asked @ expected.items(*masked, has_text, has_photo).T
    np.testing.assert_allclose(asked @ items.T, scores, atol=2e-6)
    np.testing.assert_allclose(fusion.before("image", photo), by_hand[1], atol=1e-6)
    assert (
        spec.identity == fusion_spec({"type": kind, "text_weights": [6, 2], "image_weights": [2, 8], **shared}).identity
    )
    assert spec.identity != plain.identity
    assert plain.identity == fusion_spec({"type": kind, "text_weights": [2, 2], **shared}).identity
    assert fusion_spec(spec.model_dump(mode="json")) == spec


def test_what_was_learned_on_weighted_towers_is_of_those_weights() -> None:
    """A tower behind weights has an identity of its own, which heads and learned fusions are held against."""
    spec = fusion_spec({"type": "concat", "text_weights": [3, 1]})
    text, image = fused_towers(spec, tower("a"), tower("b"))
    assert text is not None
    assert image == tower("b")
    assert (text.dim, text.parts["weights"]) == (32, "[0.75, 0.25]")
    again, _ = fused_towers(fusion_spec({"type": "single", "text_weights": [6, 2]}), tower("a"), tower("b"))
    other, _ = fused_towers(fusion_spec({"type": "concat", "text_weights": [1, 1]}), tower("a"), tower("b"))
    assert text == again
    assert other == tower("a")


def test_another_weight_fuses_anew_and_encodes_nothing(demo: Path, tmp_path: Path) -> None:
    """All vectors are copied the night after; a text finds its own product, whose score is 1; the same weights, written
    otherwise, change no shard. With all on one member, hits are those of that member alone.
    """
    store = tmp_path / "store"

    def run(*more: str) -> Any:
        done = vitrine("run", "-c", CONFIG, "--json", *overrides(demo, store, TEXTS, PHOTOS, *more))
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)

    run()
    weights = ("fusion.text_weights=[3,1]", "fusion.image_weights=[0,1]")
    plan = vitrine("plan", "-c", CONFIG, "--rows", *overrides(demo, store, TEXTS, PHOTOS, *weights))
    assert plan.exit_code == 0, plan.stderr
    made = run(*weights)
    counts = next(step["counts"] for step in made["steps"] if step["name"] == "embed")
    assert (counts.get("texts_encoded", 0), counts.get("photos_encoded", 0)) == (0, 0)
    assert counts["texts_copied"] == counts["photos_copied"] == 120
    assert made["units_reused"] == 0
    own = pq.read_table(demo / "catalog").slice(0, 1).to_pylist()[0]

    def hits(store: Path, *asked: object) -> list[dict[str, Any]]:
        found = vitrine("search", store, "-k", 5, "--json", *asked)
        assert found.exit_code == 0, found.stderr
        return list(json.loads(found.stdout)["hits"])

    photo = ("--image", demo / own["image_link"])
    assert (hits(store, *photo)[0]["id"], hits(store, *photo)[0]["score"]) == (own["id"], pytest.approx(1, abs=0.01))
    told_parts = vitrine("explain", store, own["id"], "--text", own["title"], *photo, "--json")
    whole = json.loads(told_parts.stdout)["rank"]
    assert sum(whole["parts"].values()) == pytest.approx(whole["score"], abs=2e-3)
    manifest = manifest_of(store)
    assert manifest.text is not None
    assert (manifest.text.members, manifest.dim) == ((64, 32), 192)
    assert manifest.fusion["text_weights"] == [3, 1]
    again = run("fusion.text_weights=[0.75,0.25]", "fusion.image_weights=[0,2]")
    assert again["units_reused"] == again["units"]
    one = overrides(
        demo, tmp_path / "one", TEXTS, "encoders.image={type: photo_descriptors, dim: 32, seed: 1, centre_weight: 0}"
    )
    assert vitrine("run", "-c", CONFIG, *one).exit_code == 0
    assert [one["id"] for one in hits(store, *photo)] == [one["id"] for one in hits(tmp_path / "one", *photo)]


def test_weights_of_other_towers_are_refused(demo: Path, tmp_path: Path) -> None:
    """A wrong count, below 0, all 0, towers that are not joined or not there: by the key, in three parts, before any
    work.
    """

    def refused(*words: str) -> str:
        done = vitrine("plan", "-c", CONFIG, *overrides(demo, tmp_path / "none", *words))
        assert done.exit_code == 2, done.stdout
        assert len(told(done.stderr)) == 3
        return str(done.stderr)

    count = refused(TEXTS, "fusion.text_weights=[1,2,3]")
    assert "fusion.text_weights" in count
    assert "one weight for each of the 2 towers" in count
    for wrong in ("[-1,2]", "[0,0]", "[1,.nan]", "2", "[a,b]"):
        assert "fusion.text_weights" in refused(TEXTS, f"fusion.text_weights={wrong}")
    assert "an encoder that joins none" in refused("fusion.image_weights=[1,2]")
    none = refused("fusion.image_weights=[1,2]", "encoders.image=null", "catalog.image=null", "catalog.image_root=null")
    assert "encoders.image: null" in none
    assert not (tmp_path / "none").exists()


def test_a_head_is_of_the_weights_it_was_learned_under(demo: Path, tmp_path: Path) -> None:
    """It is learned behind the weights that the config has, taken under these, and refused under others by name."""
    store, out = tmp_path / "store", tmp_path / "head"
    words = overrides(demo, store, TEXTS, PHOTOS, "catalog.attributes=[title,product_type,image_link]")
    assert vitrine("run", "-c", CONFIG, *words).exit_code == 0
    weights = "fusion.image_weights=[3,1]"
    trained = vitrine("train", "head", "-c", CONFIG, "--out", out, "--groups", "product_type", *words, weights)
    assert trained.exit_code == 0, trained.stderr
    head = f"fusion.image_head={out}"
    done = vitrine("run", "-c", CONFIG, "--json", *words, weights, head)
    assert done.exit_code == 0, done.stderr
    counts = next(step["counts"] for step in json.loads(done.stdout)["steps"] if step["name"] == "embed")
    assert (counts.get("photos_encoded", 0), counts["photos_copied"]) == (0, 120)
    other = vitrine("run", "-c", CONFIG, *words, head, "fusion.image_weights=[1,3]")
    assert other.exit_code == 2
    expected, came, _ = told(other.stderr)
    assert expected == f"the image encoder that the head {out} was trained on: weights [0.75, 0.25]"
    assert came == "weights [0.25, 0.75]"
    assert told(vitrine("run", "-c", CONFIG, *words, head).stderr)[1] == "weights none"
