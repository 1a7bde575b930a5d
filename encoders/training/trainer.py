"""Fine-tuning a two-tower model on a catalog's own (text, photo) pairs: contrastive, seeded, resumable after a kill.

The result is a model folder that `dual` loads like any other. Everything that a step does follows from the settings
and its number, so a training that was killed and called again ends in the same weights as one that was not: on a CPU
with the same number of threads to the last bit.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field

from encoders.errors import InputError, LockedError
from encoders.identity import identity_of
from encoders.networks.device import device_of
from encoders.networks.folders import open_model
from encoders.training.losses import matches, sigmoid_loss, softmax_loss
from encoders.training.pairs import Augmentation, Pair, batch_of, digest, seeded, split, steps_per_epoch
from encoders.training.state import CURVE, Checkpoints, State, sync
from encoders.training.towers import Towers, recall_at

if TYPE_CHECKING:
    import torch

VERSION = 1  # raised when the same settings train other weights
RECORD = "training.json"
_MOST_SCALE = math.log(100)  # CLIP's bound on the logits' scale, against instability (Radford et al. 2021, 2.5)

Progress = Callable[[str, int, int], None]  # (step, done, total)


class TrainSettings(BaseModel):
    """How a model is trained; the fields are keys of `train:` in a config."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: Literal["sigmoid", "softmax"] = Field("sigmoid", description="SigLIP's or CLIP's contrastive loss")
    epochs: float = Field(10.0, gt=0, description="how often each product is seen")
    batch: int = Field(256, ge=2, description="products in a step; each is compared with all others of its step")
    micro_batch: int = Field(
        0, ge=0, description="products in memory at once, 0: the whole batch; changes no gradient, costs a forward"
    )
    lr: float = Field(1e-4, gt=0, description="highest learning rate")
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the steps in which the rate rises; then a cosine")
    weight_decay: float = Field(0.1, ge=0, description="AdamW's; not on norms, biases and the scale")
    beta2: float = Field(0.95, gt=0, lt=1, description="AdamW's; 0.95 is SigLIP's choice for stability")
    freeze: Literal["none", "text", "image"] = Field("none", description="a tower that stays as it is")
    low_rank: int = Field(
        0,
        ge=0,
        le=1024,
        description="rank of the adapters that learn instead of the weights, merged in the end; 0: none",
    )
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of the towers' arithmetic; weights stay fp32")
    seed: int = Field(0, ge=0, lt=2**32, description="decides batches, augmentation and fresh weights")
    held_out: float = Field(0.05, ge=0, lt=1, description="share of the products that is measured, never learned from")
    held_out_most: int = Field(2000, ge=1, description="at most so many held-out products are measured")
    recall_k: int = Field(10, ge=1, description="k of the held-out text-to-photo recall@k")
    evaluate_every: int = Field(200, ge=1, description="steps between evaluations; each writes a checkpoint")
    patience: int = Field(0, ge=0, description="stop after so many evaluations without a better recall; 0: never")
    crop: float = Field(0.7, gt=0, le=1, description="augmentation: least share of a photo that is kept")
    flip: float = Field(0.5, ge=0, le=1, description="augmentation: how often a photo is mirrored")
    colour: float = Field(0.0, ge=0, le=1, description="augmentation: how far brightness, contrast, saturation vary")
    erase: float = Field(0.0, ge=0, le=1, description="augmentation: how often a part of a photo is erased")
    auto_augment: str | None = Field(None, description="augmentation: a policy of timm, such as rand-m9-mstd0.5")
    weights: Literal["float32", "float16", "bfloat16"] = Field("float32", description="as the result is stored")

    def told(self) -> dict[str, Any]:
        """What decides the weights, as JSON. Keys that came later are left out while they change nothing, so that a
        training begun before them goes on.
        """
        return self.model_dump(mode="json", exclude=None if self.low_rank else {"low_rank"})


@dataclass(frozen=True)
class Trained:
    """What came of a training. `recall` is that of the weights that were kept; None where nothing was held out."""

    folder: Path
    steps: int
    best_step: int
    recall: float | None
    seconds: float
    pairs: int
    held_out: int


def train(
    pairs: Sequence[Pair],
    model: str,
    out: Path,
    settings: TrainSettings,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Trained:
    """Train the model folder `model` on `pairs` and write the result to `out`, by rename when it is done.

    While it runs, checkpoints and the curve are in `<out>.training`; called again after a kill, it goes on from there.
    Nothing is done where `out` already holds this very training. InputError for what cannot be trained, LockedError
    when another process trains the same `out`.
    """
    folder = open_model(model)
    identity = _identity(pairs, folder.digests(), settings)
    done = _done(out, identity)
    if done:
        return done
    work = Path(f"{out}.training")
    work.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work / "lock")
    try:
        with lock.acquire(timeout=0):
            run = _Run(pairs, Towers(folder, device_of(device), settings.precision), settings, work, identity)
            run.steps(progress)
            trained = run.finish(out)
    except Timeout as err:
        fix = "wait for it to end, or choose another --out"
        raise LockedError(f"{work} to be free", "another process trains there", fix) from err
    shutil.rmtree(work)
    return trained


def learning_rate(step: int, total: int, settings: TrainSettings) -> float:
    """Of step `step`, counted from 0: a straight rise, then half a cosine to zero (Loshchilov, Hutter 2017)."""
    rise = math.ceil(settings.warmup * total)
    if step < rise:
        return settings.lr * (step + 1) / rise
    return settings.lr * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise))) / 2


def _identity(pairs: Sequence[Pair], model: dict[str, str], settings: TrainSettings) -> str:
    parts = {"version": VERSION, "pairs": digest(pairs), "model": model, "settings": settings.told()}
    return identity_of(parts)


def _done(out: Path, identity: str) -> Trained | None:
    """The training that `out` holds if it is this one; InputError when something else is there."""
    if not out.exists():
        return None
    record = out / RECORD
    came = "a folder without one"
    if record.is_file():
        told = json.loads(record.read_text(encoding="utf-8"))
        if told["identity"] == identity:
            return Trained(folder=out, **told["result"])
        came = "another training's result"
    raise InputError(f"no folder, or the result of this very training, at {out}", came, "choose another --out")


class _Run:
    """One training: its model, optimizer and state, advanced step by step."""

    def __init__(
        self, pairs: Sequence[Pair], towers: Towers, settings: TrainSettings, work: Path, identity: str
    ) -> None:
        import torch

        self._settings, self._towers = settings, towers
        self._split = split(pairs, settings.held_out, settings.held_out_most)
        how = Augmentation(settings.crop, settings.flip, settings.colour, settings.erase, settings.auto_augment)
        self._augment = towers.augmenting(how)
        model = towers.model
        if settings.loss == "sigmoid" and not hasattr(model, "logit_bias"):
            came = f"{type(model).__name__}, which has no logit_bias"
            raise InputError("a SigLIP model for the sigmoid loss", came, "set train.loss=softmax")
        towers.freeze(settings.freeze)
        if settings.low_rank:
            towers.adapt(settings.low_rank, settings.seed)
        groups = _parameter_groups(model, settings.weight_decay)
        self._optimizer = torch.optim.AdamW(groups, lr=settings.lr, betas=(0.9, settings.beta2))
        self._checkpoints = Checkpoints(work)
        self._state: State = self._checkpoints.restore(identity, model, self._optimizer)
        self.total = math.ceil(settings.epochs * steps_per_epoch(len(self._split.training), settings.batch))

    def steps(self, progress: Progress | None) -> None:
        """Step until the end, or until the held-out recall no longer grows."""
        settings, state = self._settings, self._state
        before = state.seconds
        began = time.monotonic()
        with open(self._checkpoints.curve, "a", buffering=1, encoding="utf-8") as curve:
            while state.step < self.total and not (settings.patience and state.worse >= settings.patience):
                rate = learning_rate(state.step, self.total, settings)
                loss = self._step(rate)
                state.step += 1
                _tell(curve, {"step": state.step, "loss": loss, "lr": rate})
                if state.step % settings.evaluate_every == 0 or state.step == self.total:
                    self._evaluate(curve)
                    state.seconds = before + time.monotonic() - began
                    os.fsync(curve.fileno())
                    self._checkpoints.save(state, self._towers.model, self._optimizer)
                if progress is not None:
                    progress("train", state.step, self.total)

    def finish(self, out: Path) -> Trained:
        """Write the best weights as a model folder."""
        from safetensors.torch import load_model

        state, settings = self._state, self._settings
        best = self._checkpoints.best
        if best is None:
            raise RuntimeError("a training of no steps has no checkpoint")
        load_model(self._towers.model, str(best))
        recall = state.best_recall if self._split.held_out else None
        counts = len(self._split.training), len(self._split.held_out)
        trained = Trained(out, state.step, state.best_step, recall, round(state.seconds, 1), *counts)
        partial = out.with_name(f".{out.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        self._towers.save(partial, settings.weights)
        shutil.copyfile(self._checkpoints.curve, partial / CURVE)
        told = {name: value for name, value in asdict(trained).items() if name != "folder"}
        record = {"identity": state.identity, "settings": settings.told(), "result": told}
        (partial / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        for file in partial.iterdir():
            sync(file)
        sync(partial)
        os.rename(partial, out)
        sync(out.parent)
        return trained

    def _step(self, rate: float) -> float:
        import torch

        settings, state = self._settings, self._state
        pairs, texts = batch_of(self._split.training, state.step, settings.batch, settings.seed)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        with seeded(settings.seed, state.step) as number:
            photos = torch.stack([self._augment(pair.photo()) for pair in pairs])
            loss = self._towers.backward(photos, texts, self._loss(texts), settings.micro_batch, number)
        if not math.isfinite(loss):
            came = f"{loss} in step {state.step + 1}, at a rate of {rate:.2g}"
            raise InputError("a loss that is a number", came, "lower train.lr, or raise train.warmup")
        self._optimizer.step()
        self._optimizer.zero_grad()
        with torch.no_grad():
            self._towers.model.logit_scale.clamp_(max=_MOST_SCALE)
        return loss

    def _loss(self, texts: Sequence[str]) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """The loss of (n, d) text and photo vectors, unit rows."""
        import torch

        model = self._towers.model
        matched = torch.from_numpy(matches(texts)).to(self._towers.device)
        if self._settings.loss == "sigmoid":
            return lambda text, photo: sigmoid_loss(
                model.logit_scale.exp() * text @ photo.T + model.logit_bias, matched
            )
        return lambda text, photo: softmax_loss(model.logit_scale.exp() * text @ photo.T, matched)

    def _evaluate(self, curve: Any) -> None:
        """Measure the held-out pairs; without any, the newest weights are the best."""
        state, held, k = self._state, self._split.held_out, self._settings.recall_k
        if not held:
            state.best_step = state.step
            return
        recall = recall_at(k, self._towers, held)
        _tell(curve, {"step": state.step, f"recall_at_{k}": recall})
        state.worse = 0 if recall > state.best_recall else state.worse + 1
        if recall >= state.best_recall:  # of equals the later: it learned at a lower rate
            state.best_step, state.best_recall = state.step, recall


def _parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay on matrices only; vectors and scalars are norms, biases and the logits' scale."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]


def _tell(curve: Any, line: dict[str, float]) -> None:
    curve.write(json.dumps(line) + "\n")
