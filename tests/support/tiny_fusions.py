"""Learned fusions for tests: folders of random weights, tiny trainings, and states made of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.fusion.base import Fusion, FusionSpec, States, StatesFusion, fusion_spec
from encoders.fusion.learned.folder import Scales, Sizes, write_fusion
from encoders.fusion.learned.network import learned_of
from encoders.towers import Tower
from encoders.training.fusion_lessons import FusionLessons
from encoders.training.fusion_trainer import FusionTask, FusionTrainSettings, TrainedFusion, train_fusion
from foundation.arrays import Mask

Floats = npt.NDArray[np.float32]
TEXT, IMAGE = "7" * 64, "1" * 64  # identities of towers that there are not


def states_of(vectors: Floats, length: int) -> list[Floats]:
    """`length` states of each row, made of the row."""
    return [np.stack([np.roll(row, 3 * i) for i in range(length)]) for row in vectors]


class ByVectors(Fusion):
    """A fusion of states, as one of vectors: 2 tokens of a text and 3 patches of a photo are made of the vector."""

    def __init__(self, fusion: StatesFusion) -> None:
        self._fusion, self.dim, self.uses = fusion, fusion.dim, fusion.uses

    def items(self, text: Floats, image: Floats, has_text: Mask, has_image: Mask) -> Floats:
        states = States(states_of(text, 2), states_of(image, 3))
        return self._fusion.items(text, image, has_text, has_image, states)

    def queries(self, text: Floats | None = None, image: Floats | None = None) -> Floats:
        states = States([] if text is None else states_of(text, 2), [] if image is None else states_of(image, 3))
        return self._fusion.queries(text, image, states)

    def queries_of_items(self, items: Floats) -> Floats | None:
        """See Fusion.queries_of_items."""
        return self._fusion.queries_of_items(items)


def loaded(spec: FusionSpec, text_dim: int | None, image_dim: int | None) -> Fusion:
    """The live fusion, as one of vectors."""
    fusion = spec.load(text_dim, image_dim)
    return ByVectors(fusion) if isinstance(fusion, StatesFusion) else fusion


def random_fusion(folder: Path, kind: str, dim: int, seed: int = 0, towers: Sequence[str] = (TEXT, IMAGE)) -> Path:
    """The folder of a learned fusion whose weights were drawn, for towers of `dim` with these identities; every layer
    matters.
    """
    import torch

    spec = learned_of(fusion_spec({"type": kind}))
    states = dim if spec.reads_states else 0
    sizes = Sizes(
        text_dim=dim, image_dim=dim, text_state_dim=states, image_state_dim=states, dim=24, width=16, layers=2, heads=2
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = spec.network(sizes)
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.ndim > 1:
                    parameter.normal_(std=1.5 / parameter.shape[1] ** 0.5)
    folder.mkdir(parents=True)
    scales = Scales(both=1, text=0.8, image=0.7)
    text, image = (Tower(dim, identity) for identity in towers)
    write_fusion(folder, (kind, spec.version), {"text": text, "image": image}, network, (sizes, scales))
    return folder


def lessons_of(text: Floats, image: Floats, query: Floats) -> FusionLessons:
    """Products of different texts, one query each, with the states that `ByVectors` makes."""
    names = [f"P{i}" for i in range(len(text))]
    made = FusionLessons(1, names, names, names, [text], [image], [query])
    made.text_states, made.query_states = ([np.float16(row) for row in states_of(v, 2)] for v in (text, query))
    made.image_states = [np.float16(row) for row in states_of(image, 3)]
    return made


def quick(**fields: Any) -> FusionTrainSettings:
    """Settings of a training that takes a second."""
    small = {"width": 32, "heads": 2, "dim": 48, "epochs": 6, "batch": 64, "lr": 3e-3, "evaluate_every": 20}
    return FusionTrainSettings(**{**small, "patience": 0, **fields})


def trained(
    kind: str, lessons: FusionLessons, out: Path, shared: bool = True, progress: Any = None, **fields: Any
) -> TrainedFusion:
    """A training on `lessons`, whose towers are of one model, or of two."""
    dims = lessons.text[0].shape[1], lessons.image[0].shape[1]
    spec = learned_of(fusion_spec({"type": kind}))
    if not spec.reads_states:
        lessons.text_states, lessons.image_states, lessons.query_states = [], [], []
    towers = Tower(dims[0], TEXT), Tower(dims[1], TEXT if shared else IMAGE)
    return train_fusion(FusionTask(spec, *towers, "source", quick(**fields)), lambda: lessons, out, progress)
