"""`vitrine train`: from a catalog and a model folder to a model folder that `dual` loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from encoders.base import encoder_spec, load_image, load_text
from encoders.training.untrained import write_untrained
from tests.support.command import overrides, told, vitrine
from tests.support.tiny_models import clip
from tests.support.trainings import QUICK, TINY


def test_a_trained_model_is_an_encoder(demo: Path, tmp_path: Path) -> None:
    """The folder that the command writes encodes texts and photos; the same command again does nothing."""
    fresh, out = tmp_path / "fresh", tmp_path / "model"
    write_untrained(fresh, TINY, [], scale=10, bias=-10)
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


def test_killed_and_run_again_ends_in_the_same_bytes(demo: Path, tmp_path: Path) -> None:
    """The command, killed in the middle and run again, leaves what it leaves undisturbed."""
    fresh = tmp_path / "fresh"
    write_untrained(fresh, TINY, [], scale=10, bias=-10)
    how = (*QUICK, "train.epochs=4", "train.patience=0", "train.evaluate_every=2", "catalog.text=[title,title_zh]")
    words = ["train", "-c", "configs/weightless.yaml", "--from", fresh, *overrides(demo, tmp_path / "store", *how)]
    torn, work = tmp_path / "torn", tmp_path / "torn.training"
    child = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *map(str, words), "--out", str(torn)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not list(work.glob("checkpoint-*[0-9]")):
            assert child.poll() is None
            time.sleep(0.01)
    finally:
        child.kill()
        child.wait()
    assert not torn.exists()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the same bytes need the same number of threads
    try:
        for out in (tmp_path / "whole", torn):
            done = vitrine(*words, "--out", out)
            assert done.exit_code == 0, done.stderr
    finally:
        torch.set_num_threads(threads)
    assert not work.exists()
    names = sorted(path.name for path in torn.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "whole").iterdir())
    for name in set(names) - {"training.json"}:  # which tells the seconds
        assert (tmp_path / "whole" / name).read_bytes() == (torn / name).read_bytes(), name


def test_refusals(demo: Path, tmp_path: Path) -> None:
    """A folder that holds something else, a model that cannot learn by the loss asked for, and a catalog without photos
    end with exit code 2 and a message of three parts.
    """
    (tmp_path / "full").mkdir()
    fresh = tmp_path / "fresh"
    write_untrained(fresh, TINY, [], scale=10, bias=-10)
    for model, out, more, said in (
        (fresh, tmp_path / "full", (), "a folder without one"),
        (clip(tmp_path / "clip"), tmp_path / "out", ("train.loss=sigmoid",), "logit_bias"),
        (fresh, tmp_path / "out", ("catalog.image=null", "encoders.image=null"), "catalog.image=None"),
        ("siglip2-b16-256", tmp_path / "out", (), "not in it"),
    ):
        words = ("train", "-c", "configs/weightless.yaml", "--from", model, "--out", out)
        done = vitrine(*words, *overrides(demo, tmp_path / "store", *QUICK, *more))
        assert done.exit_code == 2, done.stderr
        assert said in told(done.stderr)[1]
    assert not (tmp_path / "out").exists()
