"""Encoders that join several: cosines, what is refused, and whole runs by the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from encoders.base import encoder_spec, load_query_text, load_text
from tests.support.command import overrides, told, vitrine
from tests.support.stores import manifest_of

PHOTOS = (
    "{type: joined_photos, towers: [{type: photo_descriptors, dim: 64}, {type: photo_descriptors, dim: 32, seed: 1}]}"
)


def test_the_inner_product_is_the_mean_of_the_cosines() -> None:
    """Of vectors of any lengths; queries are those of its members, without torch."""
    fields = [{"type": "hashed_text", "dim": 64}, {"type": "hashed_text", "dim": 256, "seed": 3}]
    spec = encoder_spec({"type": "joined_texts", "towers": fields})
    texts = ["red dress", "a red dress", "blue shoes"]
    joined = load_text(spec, "cpu").encode(texts)
    alone = [load_text(encoder_spec(one), "cpu").encode(texts) for one in fields]
    assert joined.shape == (3, 320)
    expected = (alone[0] @ alone[0].T + alone[1] @ alone[1].T) / 2
    np.testing.assert_allclose(joined @ joined.T, expected, atol=1e-6)
    np.testing.assert_array_equal(load_query_text(spec, "cpu").encode(texts, "query"), joined)
    assert spec.members == tuple(encoder_spec(one) for one in fields)


def test_a_joined_encoder_indexes_and_answers(demo: Path, tmp_path: Path) -> None:
    """A photo finds its product; the snapshot names the parts of each tower; another seed of one is another encoder."""
    words = overrides(demo, tmp_path / "store", f"encoders.image={PHOTOS}", "encoders.text.dim=64")
    done = vitrine("run", "-c", "configs/weightless.yaml", *words)
    assert done.exit_code == 0, done.stderr
    own = pq.read_table(demo / "catalog").slice(0, 1).to_pylist()[0]
    found = vitrine("search", tmp_path / "store", "--image", demo / own["image_link"], "-k", 1, "--json")
    assert json.loads(found.stdout)["hits"][0]["id"] == own["id"]
    entry = manifest_of(tmp_path / "store").image
    assert entry is not None
    parts = entry.parts
    assert (parts["tower 1 dim"], parts["tower 2 dim"], parts["tower 2 seed"]) == ("64", "32", "1")
    other = [word.replace("seed: 1", "seed: 2") for word in words]
    assert vitrine("plan", "-c", "configs/weightless.yaml", *other, "--rows").stdout.count(
        "another one: tower 2 seed 2"
    )


def test_what_cannot_be_joined_is_refused(demo: Path, tmp_path: Path) -> None:
    """An encoder of texts among those of photos, one alone, and no encoder at all, by the key."""
    for towers in ("[{type: photo_descriptors}, {type: hashed_text}]", "[{type: photo_descriptors}]", "[1, 2]"):
        fields = f"encoders.image={{type: joined_photos, towers: {towers}}}"
        done = vitrine("plan", "-c", "configs/weightless.yaml", *overrides(demo, tmp_path / "store", fields))
        assert done.exit_code == 2
        assert "encoders.image" in done.stderr
        assert told(done.stderr)
