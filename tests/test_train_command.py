"""`vitrine train`: from a catalog and a model folder to a model folder that `dual` loads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from encoders.base import encoder_spec, load_image, load_text
from encoders.training.fresh import FreshModel, write_fresh
from tests.conftest import overrides, told, vitrine

TINY = FreshModel(
    photo_side=16, patch_side=8, photo_width=32, photo_layers=1, text_width=32, text_layers=1, text_tokens=16
)
QUICK = ("train.epochs=2", "train.batch=16", "train.evaluate_every=5", "train.held_out=0.2")


def test_a_trained_model_is_an_encoder(demo: Path, tmp_path: Path) -> None:
    """The folder that the command writes encodes texts and photos; the same command again does nothing."""
    fresh, out = tmp_path / "fresh", tmp_path / "model"
    write_fresh(fresh, TINY, [], scale=10, bias=-10)
    words = ("train", "-c", "configs/weightless.yaml", "--from", fresh, "--out", out, "--json")
    done = vitrine(*words, *overrides(demo, tmp_path / "store", *QUICK))
    assert done.exit_code == 0, done.stderr
    told_of = json.loads(done.stdout)
    assert told_of["pairs"] + told_of["held_out"] == 120
    assert told_of["left_out"] == {}
    assert 0 <= told_of["recall"] <= 1
    again = vitrine(*words, *overrides(demo, tmp_path / "store", *QUICK))
    assert json.loads(again.stdout) == told_of
    spec = encoder_spec({"type": "dual", "model": str(out)})
    photo = np.zeros((40, 30, 3), np.uint8)
    vectors = load_text(spec, "cpu").encode(["red dress", "红色连衣裙"]), load_image(spec, "cpu").encode([photo])
    assert [found.shape for found in vectors] == [(2, 32), (1, 32)]


def test_wrong_settings_are_told_before_any_work(demo: Path, tmp_path: Path) -> None:
    """An unknown key of `train:` and a model that is not there end with exit code 2 and a message of three parts."""
    words = ("train", "-c", "configs/weightless.yaml", "--from", tmp_path / "none", "--out", tmp_path / "out")
    wrong = vitrine(*words, *overrides(demo, tmp_path / "store", "train.epoch=2"))
    assert wrong.exit_code == 2
    assert "did you mean train.epochs?" in told(wrong.stderr)[1]
    absent = vitrine(*words, *overrides(demo, tmp_path / "store"))
    assert absent.exit_code == 2
    assert "no such folder" in told(absent.stderr)[1]
    assert not (tmp_path / "out").exists()
