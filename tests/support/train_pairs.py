"""Products that a tiny model can learn in a second. Imports little, so that a process to be killed starts soon."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any

import numpy as np

from encoders.training.pairs import Pair
from encoders.training.trainer import TrainSettings
from encoders.training.untrained import UntrainedModel, write_untrained
from foundation.arrays import Photo

TINY = UntrainedModel(
    photo_side=16, patch_side=8, photo_width=32, photo_layers=1, text_width=32, text_layers=1, text_tokens=16
)
COLOURS = {"red": (220, 20, 20), "green": (20, 180, 40), "blue": (20, 40, 220), "white": (250, 250, 250)}


def same(photo: Photo) -> Photo:
    return photo


def pairs_of(n: int) -> list[Pair]:
    """Noisy photos of one colour, each with two texts that name it; held out one by one."""
    noise = np.random.default_rng(3)
    made = []
    for number, colour in zip(range(n), itertools.cycle(COLOURS)):
        photo = np.clip(np.array(COLOURS[colour]) + noise.normal(0, 12, (20, 24, 3)), 0, 255).astype(np.uint8)
        made.append(Pair(f"P{number}", (f"{colour} {number}", f"{number} in {colour}"), functools.partial(same, photo)))
    return made


def quick(**fields: Any) -> TrainSettings:
    """Settings of a training that takes a second."""
    return TrainSettings(**{"batch": 8, "epochs": 3, "lr": 2e-3, "held_out": 0.25, "evaluate_every": 4, **fields})


def tiny_siglip(scratch: Path) -> str:
    """The path of a SigLIP of random weights, whose tokens are bytes."""
    write_untrained(scratch / "model", TINY, [], scale=10, bias=-10)
    return str(scratch / "model")
