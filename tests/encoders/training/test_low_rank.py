"""Low-rank training: adapters learn, the rest stays, and the result is a plain model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from encoders.models.folders import open_model
from encoders.training.low_rank import merge_adapters
from encoders.training.towers import Towers
from encoders.training.trainer import Lessons, TrainSettings, train
from encoders.types import dual
from foundation.errors import InputError
from tests.support.tiny_models import clip, siglip
from tests.support.train_pairs import pairs_of, quick

pytestmark = pytest.mark.usefixtures("one_thread")

pytest.importorskip("peft", reason="needs the extra lora")

HOW: dict[str, tuple[Callable[[Path], Path], dict[str, Any]]] = {
    "clip": (clip, {"loss": "softmax"}),
    "clip, in pieces": (clip, {"loss": "softmax", "micro_batch": 3}),
    "siglip": (siglip, {}),
}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("name", HOW)
def test_the_result_is_the_model_plus_matrices_of_that_rank(name: str, tmp_path: Path) -> None:
    """The folder has the very tensors of the one that it came from; those that changed are linear layers, by a matrix
    of the rank asked for, and the logits' scale and bias. `dual` loads it.
    """
    family, more = HOW[name]
    model = family(tmp_path / "model")
    train(Lessons(pairs_of(40)), str(model), tmp_path / "out", quick(low_rank=2, lr=1e-2, **more))
    before, after = weights(model), weights(tmp_path / "out")
    assert before.keys() == after.keys()
    moved = {key for key in before if not torch.equal(before[key], after[key])} - {"logit_scale", "logit_bias"}
    assert len(moved) > 10
    for key in moved:
        assert key.endswith(("_proj.weight", "fc1.weight", "fc2.weight", "projection.weight", "model.head.weight")), key
        values = torch.linalg.svdvals(after[key].double() - before[key].double())
        assert values[2] < 1e-5 * values[0]
    assert not any("lora" in path.read_text(errors="ignore") for path in (tmp_path / "out").glob("config.json"))
    vectors = dual.Spec(model=str(tmp_path / "out")).load("cpu").text.encode(["red 1", "7 in blue"])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_merged_and_adapted_models_give_the_same(tmp_path: Path) -> None:
    """Adapters that are not zero give, before and after they are merged, the same vectors, other than the model's."""
    towers = Towers(open_model(str(clip(tmp_path / "model"))), torch.device("cpu"), "fp32")
    texts, photos = ["red 1", "7 in blue", "x"], [pair.photo() for pair in pairs_of(3)]
    plain = towers.text_vectors(texts), towers.photo_vectors(photos)
    towers.freeze("none")
    towers.adapt(4, seed=0)
    for before, at_first in zip(plain, (towers.text_vectors(texts), towers.photo_vectors(photos)), strict=True):
        assert np.array_equal(before, at_first)
    with torch.no_grad():
        for name, parameter in towers.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(1))
    adapted = towers.text_vectors(texts), towers.photo_vectors(photos)
    merge_adapters(towers.model)
    merged = towers.text_vectors(texts), towers.photo_vectors(photos)
    assert not any("lora" in name for name, _ in towers.model.named_parameters())
    for one, other, before in zip(adapted, merged, plain, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
        assert np.abs(one - before).max() > 0.01


def test_interrupted_and_resumed_ends_in_the_same_bytes(tmp_path: Path) -> None:
    """A training that was stopped between two checkpoints goes on to the weights of one that was not."""
    model, how = str(clip(tmp_path / "model")), quick(low_rank=2, loss="softmax")
    train(Lessons(pairs_of(40)), model, tmp_path / "whole", how)

    def stop(step: str, done: int, total: int) -> None:
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Lessons(pairs_of(40)), model, tmp_path / "torn", how, progress=stop)
    train(Lessons(pairs_of(40)), model, tmp_path / "torn", how)
    for name in ("model.safetensors", "training.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "torn" / name).read_bytes()


def test_a_frozen_tower_gets_no_adapters(tmp_path: Path) -> None:
    """With the text tower frozen, only weights of the photo tower move."""
    model = clip(tmp_path / "model")
    train(Lessons(pairs_of(40)), str(model), tmp_path / "out", quick(low_rank=2, loss="softmax", freeze="text"))
    before, after = weights(model), weights(tmp_path / "out")
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved
    assert not any(key.startswith("text") for key in moved)


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where peft is not installed, the message says what to install."""
    monkeypatch.setattr("encoders.training.low_rank.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"'vitrine-index\[lora\]'"):
        train(Lessons(pairs_of(40)), str(clip(tmp_path / "m")), tmp_path / "out", quick(low_rank=2, loss="softmax"))


def test_the_key_changes_nothing_while_it_is_off() -> None:
    """Settings without low rank are told as before the key was there, so that older trainings go on."""
    assert "low_rank" not in TrainSettings().as_record()
    assert TrainSettings(low_rank=4).as_record()["low_rank"] == 4
