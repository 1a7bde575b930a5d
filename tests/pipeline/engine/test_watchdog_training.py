"""A training that hangs ends as a run does: exit code 1, three parts, stacks in a log, a free lock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from encoders.training import fusion_trainer, trainer
from foundation import liveness
from tests.support.command import overrides, told, vitrine
from tests.support.forked_commands import Forked, forked
from tests.support.trainings import CONFIG, WEIGHTLESS

# What a training imports while it is watched: seconds, on a busy machine.
IMPORTS = """
import torch, torchcodec.decoders, timm, transformers
from timm.data.transforms_factory import create_transform
from transformers import AutoImageProcessor, AutoTokenizer, SiglipModel
import pipeline.train.towers, pipeline.train.fusion
from encoders.training import fusion_trainer, towers, trainer
"""
TRAININGS = {
    "train": ("train", "--from", "builtin", "train.epochs=0.1", "train.batch=16", "train.held_out=0.2"),
    "train fusion": (
        *("train", "fusion", "fusion.type=transformer", *WEIGHTLESS),
        *(f"train_fusion.{one}" for one in ("epochs=1", "batch=32", "width=32", "evaluate_every=8")),
    ),
}
SLEEPS = "lambda *_, **__: time.sleep(1e6)"
HANGS = {
    "a step": ("train", f"trainer._Run._step = {SLEEPS}", "in take_steps"),
    "photos that never come": ("train", f"pipeline.train.towers.fetch = {SLEEPS}", "in small"),
    "a step of a fusion": ("train fusion", f"fusion_trainer._Run._step = {SLEEPS}", "in take_steps"),
}


@pytest.fixture(scope="module")
def command() -> Iterator[Forked]:
    """Trainings in processes of their own."""
    with forked(IMPORTS) as found:
        yield found


def words_of(training: str, demo: Path, folder: Path, *more: str) -> list[object]:
    """The words of a training into `folder`/out."""
    return [*TRAININGS[training], "-c", CONFIG, "--out", folder / "out", *overrides(demo, folder / "store", *more)]


@pytest.mark.parametrize("hang", HANGS)
def test_a_training_that_hangs_ends(hang: str, command: Forked, demo: Path, tmp_path: Path) -> None:
    """No step, no row: exit 1 with the setting's name, the stacks beside the checkpoints, and the next one works."""
    training, patch, at = HANGS[hang]
    code, said = command(patch, *words_of(training, demo, tmp_path, "run.stall_minutes=0.08"))
    assert code == 1, said
    expected, came, fix = told("error" + said.rpartition("\nerror")[2])
    assert "some progress within 0.08 minutes (run.stall_minutes)" in expected
    assert came.startswith("none for ")
    log = tmp_path / "out.training" / "log.txt"
    assert str(log) in fix
    assert at in log.read_text()
    assert not (tmp_path / "out").exists()
    code, said = command("", *words_of(training, demo, tmp_path))
    assert code == 0, said
    assert (tmp_path / "out" / "training.json").is_file()
    assert not log.parent.exists()


@pytest.mark.parametrize("training", TRAININGS)
def test_each_step_is_a_sign_of_life(
    training: str, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    """However many steps a training has, it is alive from one to the next."""
    owner = {"train": trainer, "train fusion": fusion_trainer}[training]._Run
    step, beats = owner._step, list[float]()

    def heard(*words: Any) -> float:
        loss = step(*words)
        beats.append(liveness.last_beat())
        return loss

    monkeypatch.setattr(owner, "_step", heard)
    done = vitrine(*words_of(training, demo, tmp_path, "train.epochs=0.3", "train_fusion.epochs=1"))
    assert done.exit_code == 0, done.stderr
    assert len(beats) > 1
    assert beats == sorted(set(beats))
