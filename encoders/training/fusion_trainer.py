"""Training of a fusion on a catalog's own products, the towers frozen: contrastive, seeded, resumable after a kill.

Items are products, each of whose modalities is hidden now and then; queries are a product's texts with words dropped,
its photo, or both. The network learns that a query's product is nearer than the others of its step. Everything that a
step does follows from the settings and its number, so a training that was killed and called again ends in the same
bytes as one that was not, on a CPU with the same number of threads.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from encoders.base import Modality
from encoders.fusion.learned.folder import Scales, Sizes, write_fusion
from encoders.fusion.learned.inputs import Inputs
from encoders.fusion.learned.network import LearnedSpec, Live
from encoders.networks.device import device_of
from encoders.towers import Tower
from encoders.training.fusion_lessons import Classroom, FusionLessons
from encoders.training.fusion_measures import KINDS, measured_scales, recall_at
from encoders.training.loop import Course, Progress, finished, parameter_groups, publish, take_steps, working
from encoders.training.losses import softmax_loss
from encoders.training.pairs import seeded, steps_per_epoch
from encoders.training.state import Checkpoints, State
from foundation.errors import InputError
from foundation.identity import identity_of

VERSION = 1  # raised when the same settings train other weights
_SCALE, _MOST_SCALE = math.log(1 / 0.07), math.log(100)  # CLIP's first scale of the logits and its bound (2103.00020)


class FusionTrainSettings(BaseModel):
    """How a fusion is trained; the fields are keys of `train_fusion:` in a config."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    width: int = Field(128, ge=8, description="of the network's tokens; a multiple of heads")
    layers: int = Field(1, ge=1, le=3, description="of the network")
    heads: int = Field(4, ge=1, description="of attention")
    dim: int = Field(256, ge=8, description="length of embeddings, where the towers are not of one model and space")
    dropout: float = Field(0.1, ge=0, lt=1, description="in the network, while it learns")
    epochs: float = Field(30.0, gt=0, description="how often each product is seen")
    batch: int = Field(256, ge=2, description="products in a step; each is compared with all others of its step")
    lr: float = Field(1e-3, gt=0, description="highest learning rate")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps in which the rate rises; then a cosine")
    weight_decay: float = Field(0.1, ge=0, description="AdamW's; not on norms, biases and the scale")
    hide: float = Field(0.3, ge=0, lt=0.5, description="how often a product's text, and as often its photo, is hidden")
    variants: int = Field(4, ge=1, description="queries made of each product's texts before training")
    drop_words: float = Field(0.3, ge=0, lt=1, description="how often a word is dropped from such a query")
    seed: int = Field(0, ge=0, lt=2**32, description="decides queries, batches, what is hidden, and the first weights")
    held_out: float = Field(0.1, ge=0, lt=1, description="share of the products that is measured, never learned from")
    held_out_most: int = Field(1000, ge=1, description="at most so many held-out products are measured")
    recall_k: int = Field(1, ge=1, description="k of the held-out recall@k, over queries by text, by photo, by both")
    evaluate_every: int = Field(50, ge=1, description="steps between evaluations; each writes a checkpoint")
    checkpoint_minutes: float = Field(
        5.0, gt=0, description="minutes after which a checkpoint is written, also without an evaluation"
    )
    patience: int = Field(5, ge=0, description="stop after so many evaluations without a better recall; 0: never")

    def as_record(self) -> dict[str, Any]:
        """What decides the fusion, as JSON."""
        return self.model_dump(mode="json", exclude={"checkpoint_minutes"})


@dataclass(frozen=True)
class FusionTask:
    """What is to be trained: a fusion for two towers, on what `source`, 64 hex digits, identifies."""

    spec: LearnedSpec
    text: Tower
    image: Tower
    source: str
    settings: FusionTrainSettings
    device: str = "cpu"

    @property
    def identity(self) -> str:
        """64 hex digits: equal for trainings that end in the same fusion."""
        return identity_of(
            {
                "version": VERSION,
                "fusion": [self.spec.type, self.spec.version],
                "towers": [self.text.identity, self.image.identity],
                "source": self.source,
                "settings": self.settings.as_record(),
            }
        )


@dataclass(frozen=True)
class TrainedFusion:
    """What came of a training. `recall` is that of the weights that were kept; None where nothing was held out."""

    folder: Path
    steps: int
    best_step: int
    recall: float | None
    seconds: float
    products: int
    held_out: int
    scales: dict[str, float]


def train_fusion(
    task: FusionTask, lessons: Callable[[], FusionLessons], out: Path, progress: Progress | None = None
) -> TrainedFusion:
    """Train on what `lessons` gives and write the fusion to `out`, by rename when it is done.

    While it runs, checkpoints and the curve are in `<out>.training`; called again after a kill, it goes on from there.
    Nothing is done where `out` already holds this very training. InputError for what cannot be trained, LockedError
    when another process trains the same `out`.
    """
    if task.settings.width % task.settings.heads:
        came = f"width {task.settings.width}, heads {task.settings.heads}"
        raise InputError("train_fusion.width: a multiple of train_fusion.heads", came, "change one of the two")
    done = finished(out, task.identity)
    if done:
        return TrainedFusion(folder=out, **done)
    with working(out) as work:
        run = _Run(task, lessons(), work)
        run.steps(progress)
        return run.finish(out)


class _Run:
    """One training: its network, optimizer and state, advanced step by step."""

    def __init__(self, task: FusionTask, lessons: FusionLessons, work: Path) -> None:
        import torch

        settings = task.settings
        self._task, self._settings = task, settings
        self._room = Classroom(lessons, settings.held_out, settings.held_out_most)
        self._device = device_of(task.device)
        self._sizes = _sizes(task, lessons)
        with seeded(settings.seed, -1):
            network = task.spec.network(self._sizes, settings.dropout)
        scale = torch.nn.ParameterDict({"scale": torch.tensor(_SCALE)})
        self._model: Any = torch.nn.ModuleDict({"network": network, "loss": scale}).to(self._device)
        self._optimizer = torch.optim.AdamW(parameter_groups(self._model, settings.weight_decay), lr=settings.lr)
        self._checkpoints = Checkpoints(work)
        self._state: State = self._checkpoints.restore(task.identity, self._model, self._optimizer)
        self._epoch = steps_per_epoch(len(self._room.training), settings.batch)
        self._total = math.ceil(settings.epochs * self._epoch)

    def steps(self, progress: Progress | None) -> None:
        """Step until the end, or until the held-out recall no longer grows."""
        said = self._settings
        rows = min(said.batch, len(self._room.training))
        shares = said.evaluate_every, said.patience, said.lr, said.warmup, said.recall_k, rows
        course = Course("train fusion", self._total, *shares, 60 * said.checkpoint_minutes, self._step, self._measure)
        take_steps(course, self._state, self._checkpoints, (self._model, self._optimizer), progress)

    def finish(self, out: Path) -> TrainedFusion:
        """Measure what a missing modality counts with the best weights, and write them as a fusion."""
        from safetensors.torch import load_model

        state, task = self._state, self._task
        if self._checkpoints.best is None:
            raise RuntimeError("a training of no steps has no checkpoint")
        load_model(self._model, str(self._checkpoints.best))
        scales = measured_scales(self._live(), self._room, self._settings.seed)
        recall = state.best_recall if len(self._room.held_out) else None
        counts = len(self._room.training), len(self._room.held_out)
        seconds = round(state.seconds, 1)
        trained = TrainedFusion(out, state.step, state.best_step, recall, seconds, *counts, scales.model_dump())
        partial = out.with_name(f".{out.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        kind = task.spec.type, task.spec.version
        towers: dict[Modality, Tower] = {"text": task.text, "image": task.image}
        write_fusion(partial, kind, towers, self._model["network"], (self._sizes, scales))
        record = {"identity": state.identity, "settings": self._settings.as_record()}
        record["result"] = asdict(trained)
        publish(partial, out, self._checkpoints, record)
        return trained

    def _step(self, rate: float) -> float:
        import torch

        settings, room, step = self._settings, self._room, self._state.step
        epoch, place = divmod(step, self._epoch)
        order = np.random.default_rng([settings.seed, epoch]).permutation(room.training)
        rows = order[place * settings.batch : (place + 1) * settings.batch]
        draw = np.random.default_rng([settings.seed, epoch, place, 1])
        lots, kinds = draw.random(len(rows)), np.array(KINDS)[draw.integers(len(KINDS), size=len(rows))]
        variant = draw.integers(room.variants, size=len(rows))
        hide = settings.hide
        items = room.items(rows, lots >= hide, (lots < hide) | (lots >= 2 * hide))
        queries = room.asking(rows, variant, kinds[:, 0], kinds[:, 1])
        matched = torch.from_numpy(room.matched(rows, variant, kinds[:, 0])).to(self._device)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._model.train()
        scale, network = self._model["loss"]["scale"], self._model["network"]
        with seeded(settings.seed, step):
            asked, found = (self._task.spec.fuse(network, Inputs.of(one, self._device)) for one in (queries, items))
            loss = softmax_loss(scale.exp() * asked @ found.T, matched)
            loss.backward()  # type: ignore[no-untyped-call]
        value = float(loss.detach())
        if not math.isfinite(value):
            came = f"{value} in step {step + 1}, at a rate of {rate:.2g}"
            raise InputError("a loss that is a number", came, "lower train_fusion.lr, or raise train_fusion.warmup")
        self._optimizer.step()
        self._optimizer.zero_grad()
        with torch.no_grad():
            scale.clamp_(max=_MOST_SCALE)
        return value

    def _measure(self) -> float | None:
        settings = self._settings
        if not len(self._room.held_out):
            return None
        return recall_at(settings.recall_k, self._live(), self._room, settings.hide, settings.seed)

    def _live(self) -> Live:
        return Live(self._task.spec, self._model["network"], self._sizes, Scales(), self._device)


def _sizes(task: FusionTask, lessons: FusionLessons) -> Sizes:
    settings = task.settings
    shared = task.text.identity == task.image.identity  # one model made both, in one space
    reads = task.spec.reads_states
    return Sizes(
        text_dim=task.text.dim,
        image_dim=task.image.dim,
        text_state_dim=lessons.text_states[0].shape[1] if reads else 0,
        image_state_dim=lessons.image_states[0].shape[1] if reads else 0,
        dim=task.text.dim if shared else settings.dim,
        width=settings.width,
        layers=settings.layers,
        heads=settings.heads,
        shared=shared,
    )
