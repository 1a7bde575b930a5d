"""The model that ships: small, whole, and good at what its card says."""

from __future__ import annotations

import json

import numpy as np

from encoders.training.trainer import TrainSettings
from encoders.types import dual
from pipeline.demo.builtin import SETTINGS, combination, lessons, measure
from pipeline.demo.products import looks
from tests.support.places import BUILTIN


def test_it_is_small_and_tells_where_it_comes_from() -> None:
    """At most 8 MB of weights, a card with data, seed, hours, figures and limits, and the settings it was made with."""
    assert (BUILTIN / "model.safetensors").stat().st_size <= 8_000_000
    card = (BUILTIN / "README.md").read_text(encoding="utf-8")
    assert all(word in card for word in ("## Data", "seed", "hours", "## Figures", "## Limits"))
    record = json.loads((BUILTIN / "training.json").read_text())
    assert TrainSettings(**record["settings"]) == SETTINGS


def test_combinations_are_held_out_whole() -> None:
    """The pairs to learn from are split by kind, colour and pattern together."""
    pairs = lessons(seed=101, products=60)
    assert [pair.group for pair in pairs] == [combination(look) for look in looks(101, np.arange(60))]
    assert {pair.photo().shape for pair in pairs} == {(80, 80, 3)}
    assert {len(pair.texts) for pair in pairs} == {2, 4}


def test_it_finds_unseen_combinations() -> None:
    """In both languages, titles of combinations that training never saw find their photos among all 2,000."""
    figures = measure(str(BUILTIN))
    assert figures.keys() == {"en", "zh"}
    for one in figures.values():
        assert one.queries >= 100
        assert one.recall_at_10 >= 0.9


def test_any_text_and_photo_has_a_vector() -> None:
    """Other languages and symbols fall apart into bytes; none is refused."""
    encoder = dual.Spec(model=str(BUILTIN)).load("cpu")
    vectors = encoder.text.encode(["κόκκινο φόρεμα", "赤いドレス", "🎩", "x" * 5000])
    assert vectors.shape == (4, encoder.dim)
