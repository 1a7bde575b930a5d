"""Fine-tuning a two-tower model on a catalog's own (text, photo) pairs: contrastive, seeded, resumable after a kill.

The result is a model folder that `dual` loads like any other. Everything that a step does follows from the settings
and its number, so a training that was killed and called again ends in the same weights as one that was not: on a CPU
with the same number of threads to the last bit.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from encoders.models.folders import open_model
from encoders.networks.device import device_of
from encoders.training.clicks import Answered, ClickFigures, ClickLessons, answered, chosen_recall, compare
from encoders.training.loop import Course, Progress, finished, parameter_groups, publish, take_steps, working
from encoders.training.losses import answers, sigmoid_loss, softmax_loss
from encoders.training.pairs import Augmentation, Pair, batch_of, digest, negatives_of, seeded, split, steps_per_epoch
from encoders.training.state import Checkpoints, State
from encoders.training.text_variation import TextVariation
from encoders.training.towers import Towers, recall_at
from foundation.errors import InputError
from foundation.identity import identity_of
from foundation.liveness import beat, computing

if TYPE_CHECKING:
    import torch

VERSION = 2  # raised when the same settings train other weights
_MOST_STEPS = 200  # between evaluations
_TITLE_SCALE = 20.0  # of cosines of queries and titles: SimCSE's temperature of 0.05 (Gao et al. 2021, 2104.08821)
_MOST_SCALE = math.log(100)  # CLIP's bound on the logits' scale, against instability (Radford et al. 2021, 2.5)


class TrainSettings(BaseModel):
    """How a model is trained; the fields are keys of `train:` in a config."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

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
    evaluate_every: int = Field(
        0,
        ge=0,
        description="steps between evaluations; each writes a checkpoint; 0: a tenth of all steps, at most 200, so "
        "that short trainings stop early too",
    )
    checkpoint_minutes: float = Field(
        5.0, gt=0, description="minutes after which a checkpoint is written, also without an evaluation"
    )
    patience: int = Field(
        5,
        ge=0,
        description="stop after so many evaluations without a better recall, for the best weights are kept; 0: never",
    )
    crop: float = Field(0.7, gt=0, le=1, description="augmentation: least share of a photo that is kept")
    flip: float = Field(0.5, ge=0, le=1, description="augmentation: how often a photo is mirrored")
    colour: float = Field(0.0, ge=0, le=1, description="augmentation: how far brightness, contrast, saturation vary")
    erase: float = Field(0.0, ge=0, le=1, description="augmentation: how often a part of a photo is erased")
    auto_augment: str | None = Field(None, description="augmentation: a policy of timm, such as rand-m9-mstd0.5")
    drop_words: float = Field(0.0, ge=0, lt=1, description="augmentation: how often a word of a text is left out")
    swap_words: float = Field(0.0, ge=0, le=1, description="augmentation: how often two neighbouring words swap")
    synonym_words: float = Field(
        0.3, ge=0, le=1, description="augmentation: how often words that `synonyms` has are replaced by what finds them"
    )
    synonyms: str | None = Field(
        None,
        description="augmentation: file of words that mean the same, as `lexical.synonyms`, relative to the current "
        "directory; null: none",
    )
    held_out_days: int = Field(
        7,
        ge=1,
        description="--clicks: so many last days are measured, never learned from; at most half of the log's days",
    )
    hard_negatives: int = Field(
        1, ge=0, description="--clicks: products that were found but never chosen, beside each click of a step; 0: none"
    )
    title_weight: float = Field(
        1.0, ge=0, description="--clicks: weight of the loss by which a query is near its product's title; photo: 1"
    )
    weights: Literal["float32", "float16", "bfloat16"] = Field("float32", description="as the result is stored")

    def as_record(self) -> dict[str, Any]:
        """What decides the weights, as JSON, but for the content of files. Keys that came later are left out while they
        change nothing, so that a training begun before them goes on.
        """
        idle = {"checkpoint_minutes", "synonyms"} | ({"low_rank"} if not self.low_rank else set())
        return self.model_dump(mode="json", exclude=idle)


@dataclass(frozen=True)
class Trained:
    """What came of a training. `recall` is that of the weights that were kept, `clicks` the comparison on held-out
    days; None where nothing was held out.
    """

    folder: Path
    steps: int
    best_step: int
    recall: float | None
    seconds: float
    pairs: int
    held_out: int
    clicks: ClickFigures | None = None


@dataclass(frozen=True)
class Lessons:
    """What is learned from: a catalog's pairs, a click log where there is one, rules of synonyms."""

    pairs: Sequence[Pair]
    clicks: ClickLessons | None = None
    synonyms: Sequence[tuple[str, Sequence[str]]] = ()

    def digest(self) -> str:
        """Of all of it."""
        more = "" if self.clicks is None else self.clicks.digest()
        return f"{digest(self.pairs)}{more}{list(self.synonyms) or ''}"


def train(
    lessons: Lessons,
    model: str,
    out: Path,
    settings: TrainSettings,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Trained:
    """Train the model folder `model` on `lessons` and write the result to `out`, by rename when it is done.

    While it runs, checkpoints and the curve are in `<out>.training`; called again after a kill, it goes on from there.
    Nothing is done where `out` already holds this very training. InputError for what cannot be trained, LockedError
    when another process trains the same `out`.
    """
    folder = open_model(model)
    parts = {"version": VERSION, "pairs": lessons.digest(), "model": folder.digests(), "settings": settings.as_record()}
    identity = identity_of(parts)
    done = finished(out, identity)
    if done:
        return Trained(folder=out, **{**done, "clicks": ClickFigures.read(done.get("clicks"))})
    with working(out) as work:
        with computing():
            towers = Towers(folder, device_of(device), settings.precision)
        run = _Run(lessons, towers, settings, work, identity)
        run.steps(progress)
        return run.finish(out)


class _Run:
    """One training: its model, optimizer and state, advanced step by step."""

    def __init__(self, lessons: Lessons, towers: Towers, settings: TrainSettings, work: Path, identity: str) -> None:
        import torch

        self._settings, self._towers, self._clicks = settings, towers, lessons.clicks
        self._split = split(lessons.pairs, settings.held_out, settings.held_out_most)
        self._training = [*self._split.training, *(lessons.clicks.pairs if lessons.clicks else ())]
        self._words = TextVariation(settings.drop_words, settings.swap_words, settings.synonym_words, lessons.synonyms)
        self._started_with = self._answered()  # before anything is learned or restored
        how = Augmentation(settings.crop, settings.flip, settings.colour, settings.erase, settings.auto_augment)
        self._augment = towers.augmenting(how)
        model = towers.model
        if settings.loss == "sigmoid" and not hasattr(model, "logit_bias"):
            came = f"{type(model).__name__}, which has no logit_bias"
            raise InputError("a SigLIP model for the sigmoid loss", came, "set train.loss=softmax")
        towers.freeze(settings.freeze)
        if settings.low_rank:
            towers.adapt(settings.low_rank, settings.seed)
        groups = parameter_groups(model, settings.weight_decay)
        self._optimizer = torch.optim.AdamW(groups, lr=settings.lr, betas=(0.9, settings.beta2))
        self._checkpoints = Checkpoints(work)
        self._state: State = self._checkpoints.restore(identity, model, self._optimizer)
        self.total = math.ceil(settings.epochs * steps_per_epoch(len(self._training), settings.batch))

    def steps(self, progress: Progress | None) -> None:
        """Step until the end, or until the held-out recall no longer grows."""
        said = self._settings
        rows = min(said.batch, len(self._training))
        every = said.evaluate_every or min(_MOST_STEPS, math.ceil(self.total / 10))
        shares = every, said.patience, said.lr, said.warmup, said.recall_k, rows
        course = Course("train", self.total, *shares, 60 * said.checkpoint_minutes, self._step, self._measure)
        take_steps(course, self._state, self._checkpoints, (self._towers.model, self._optimizer), progress)

    def finish(self, out: Path) -> Trained:
        """Write the best weights as a model folder."""
        from safetensors.torch import load_model

        state, settings = self._state, self._settings
        best = self._checkpoints.best
        if best is None:
            raise RuntimeError("a training of no steps has no checkpoint")
        load_model(self._towers.model, str(best))
        recall = state.best_recall if self._split.held_out or self._started_with else None
        counts = len(self._training), len(self._split.held_out)
        compared, answers_now = None, self._answered()
        if self._clicks is not None and self._started_with is not None and answers_now is not None:
            compared = compare(self._started_with, answers_now, self._clicks)
        trained = Trained(out, state.step, state.best_step, recall, round(state.seconds, 1), *counts, compared)
        partial = out.with_name(f".{out.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        self._towers.save(partial, settings.weights)
        record = {"identity": state.identity, "settings": settings.as_record(), "result": asdict(trained)}
        publish(partial, out, self._checkpoints, record)
        return trained

    def _step(self, rate: float) -> float:
        import torch

        settings, state = self._settings, self._state
        pairs, texts = batch_of(self._training, state.step, settings.batch, settings.seed)
        shown = [*pairs, *negatives_of(pairs, state.step, settings.hard_negatives, settings.seed)]
        read = self._words.vary(texts, settings.seed, state.step) + self._titles(pairs, shown)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        with seeded(settings.seed, state.step) as number:
            photos = torch.stack([self._varied(pair) for pair in shown])
            loss = self._towers.backward(photos, read, self._loss(pairs, texts, shown), settings.micro_batch, number)
        if not math.isfinite(loss):
            came = f"{loss} in step {state.step + 1}, at a rate of {rate:.2g}"
            raise InputError("a loss that is a number", came, "lower train.lr, or raise train.warmup")
        self._optimizer.step()
        self._optimizer.zero_grad()
        with torch.no_grad():
            self._towers.model.logit_scale.clamp_(max=_MOST_SCALE)
        return loss

    def _varied(self, pair: Pair) -> torch.Tensor:
        """(3, height, width) float32, another one in each epoch."""
        beat()
        return self._augment(pair.photo())

    def _titles(self, pairs: Sequence[Pair], shown: Sequence[Pair]) -> list[str]:
        """The titles of what is shown, where clicks are among the pairs."""
        if not self._settings.title_weight or not any(pair.title for pair in pairs):
            return []
        return [pair.title or pair.texts[0] for pair in shown]

    def _loss(
        self, pairs: Sequence[Pair], texts: Sequence[str], shown: Sequence[Pair]
    ) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """The loss of (n, d) or, with titles, (n + m, d) text vectors and (m, d) photo vectors, unit rows.

        Titles count for clicks alone: a catalog's text is its own product's title.
        """
        import torch

        model, n, weight = self._towers.model, len(pairs), self._settings.title_weight
        right = answers(pairs, texts, shown)
        matched = torch.from_numpy(right).to(self._towers.device)
        asking = torch.tensor([place for place, pair in enumerate(pairs) if pair.title], dtype=torch.long).to(
            self._towers.device
        )

        def of_photos(text: torch.Tensor, photo: torch.Tensor) -> torch.Tensor:
            if self._settings.loss == "sigmoid":
                return sigmoid_loss(model.logit_scale.exp() * text @ photo.T + model.logit_bias, matched)
            return softmax_loss(model.logit_scale.exp() * text @ photo.T, matched)

        def total(text: torch.Tensor, photo: torch.Tensor) -> torch.Tensor:
            found = of_photos(text[:n], photo)
            if len(text) == n:
                return found
            similar = _TITLE_SCALE * text[:n][asking] @ text[n:].T
            return found + weight * softmax_loss(similar, matched[asking])

        return total

    def _answered(self) -> Answered | None:
        """How the model as it is answers the queries of held-out days; None where there are none."""
        if self._clicks is None or not self._clicks.held_out:
            return None
        return answered(self._towers, self._clicks, self._settings.recall_k)

    def _measure(self) -> float | None:
        found, held = self._answered(), self._split.held_out
        if self._clicks is not None and found is not None:
            return chosen_recall(found, self._clicks, self._settings.recall_k)
        return recall_at(self._settings.recall_k, self._towers, held) if held else None
