"""What every training shares, whatever it trains: its folders and their lock, its steps and their rate, what decays."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from encoders.training.state import CURVE, Checkpoints, State
from foundation.disk import sync
from foundation.errors import GateError, InputError, LockedError
from foundation.liveness import beat
from foundation.regular_files import SMALL_FILE, read_regular

if TYPE_CHECKING:
    import torch

RECORD = "training.json"
_TOLD_EVERY = 10.0  # seconds
_log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]  # (step, done, total)


@dataclass(frozen=True)
class Course:
    """A training as it goes: what it changes, and for how long.

    `measure` gives the recall on what was held out, None where nothing was.
    """

    name: str
    total: int
    evaluate_every: int
    patience: int  # evaluations without a better recall after which to stop; 0: never
    lr: float
    warmup: float
    recall_k: int
    rows: int  # of a step
    checkpoint_seconds: float  # after which a checkpoint is written, also without an evaluation
    step: Callable[[float], float]  # learning rate -> loss
    measure: Callable[[], float | None]


def take_steps(
    course: Course,
    state: State,
    checkpoints: Checkpoints,
    learning: tuple[torch.nn.Module, torch.optim.Optimizer],
    progress: Progress | None,
) -> None:
    """Step until the end, or until the held-out recall no longer grows; the curve and checkpoints tell how it went."""
    before, began = state.seconds, time.monotonic()
    first, saved, logged = state.step, began, began
    with open(checkpoints.curve, "a", buffering=1, encoding="utf-8") as curve:
        while state.step < course.total and not (course.patience and state.worse >= course.patience):
            rate = learning_rate(state.step, course.total, course.lr, course.warmup)
            loss = course.step(rate)
            beat()
            state.step += 1
            curve.write(json.dumps({"step": state.step, "loss": loss, "lr": rate}) + "\n")
            evaluated, recall = state.step % course.evaluate_every == 0 or state.step == course.total, None
            if evaluated:
                recall = course.measure()
                if recall is not None:
                    curve.write(json.dumps({"step": state.step, f"recall_at_{course.recall_k}": recall}) + "\n")
                _keep_best(state, recall)
            now = time.monotonic()
            if evaluated or now - saved >= course.checkpoint_seconds:
                state.seconds = before + now - began
                os.fsync(curve.fileno())
                checkpoints.save(state, *learning)
                saved = now
            if evaluated or now - logged >= _TOLD_EVERY:
                _tell(course, state, loss, recall, (state.step - first) / max(now - began, 1e-9))
                logged = now
            if progress is not None:
                progress(course.name, state.step, course.total)


def _tell(course: Course, state: State, loss: float, recall: float | None, rate: float) -> None:
    """How the training goes; `rate` is steps a second."""
    left = (course.total - state.step) / rate / 60
    measured = f", held-out recall@{course.recall_k} {recall:.3f}" if recall is not None else ""
    best = f" (best {state.best_recall:.3f} at step {state.best_step:,})" if recall is not None else ""
    _log.info(
        "%s: step %s of %s, loss %.4f%s%s, %s rows seen, %.1f rows a second, %.1f minutes left at most",
        course.name, f"{state.step:,}", f"{course.total:,}", loss, measured, best,
        f"{state.step * course.rows:,}", rate * course.rows, left,
    )  # fmt: skip


def _keep_best(state: State, recall: float | None) -> None:
    """Without a recall the newest weights are the best; of equals the later are, which learned at a lower rate."""
    if recall is not None:
        state.worse = 0 if recall > state.best_recall else state.worse + 1
    if recall is None or recall >= state.best_recall:
        state.best_step = state.step
        state.best_recall = state.best_recall if recall is None else recall


def finished(out: Path, identity: str) -> dict[str, Any] | None:
    """The result that `out` tells if it holds the training `identity`; InputError when something else is there.

    A working folder that outlived it, because of a kill after `out` had appeared, is removed.
    """
    if not out.exists():
        return None
    record = _read_record(out / RECORD)
    if record.get("identity") != identity:
        came = "another training's result" if record else "a folder without one"
        raise InputError(f"no folder, or the result of this very training, at {out}", came, "choose another --out")
    if _work(out).exists():
        with suppress(LockedError), working(out):  # locked: whoever trained it is about to remove the folder
            pass
    result: dict[str, Any] = record["result"]
    return result


@contextmanager
def working(out: Path) -> Iterator[Path]:
    """The folder `<out>.training`, made and locked; it is removed when the block ends well, else kept to go on from.
    Where it is refused (InputError, GateError) before there is a checkpoint, there is nothing to go on from.

    LockedError when another process has it.
    """
    work = _work(out)
    work.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work / "lock")
    try:
        held = lock.acquire(timeout=0)
    except Timeout as err:
        fix = "wait for it to end, or choose another --out"
        raise LockedError(f"{work} to be free", "another process trains there", fix) from err
    with held:
        try:
            yield work
        except (InputError, GateError):
            if Checkpoints(work).best is None:
                shutil.rmtree(work)
            else:
                _log.warning("%s stays: it has a checkpoint, from which the same training goes on", work)
            raise
        shutil.rmtree(work)


def publish(partial: Path, out: Path, checkpoints: Checkpoints, record: dict[str, Any]) -> None:
    """Let the files of the folder `partial` appear as `out`, with curve and record, whole also after a power cut.

    `record` has the `identity`, the `settings`, and the `result`, whose folder is left out: it may move.
    """
    shutil.copyfile(checkpoints.curve, partial / CURVE)
    result = {name: value for name, value in record["result"].items() if name != "folder"}
    (partial / RECORD).write_text(json.dumps(record | {"result": result}, indent=1) + "\n", encoding="utf-8")
    for file in partial.iterdir():
        sync(file)
    sync(partial)
    os.rename(partial, out)
    sync(out.parent)


def learning_rate(step: int, total: int, highest: float, warmup: float) -> float:
    """Of step `step`, counted from 0: a straight rise in the share `warmup` of the steps, then half a cosine to zero
    (Loshchilov, Hutter 2017).
    """
    rise = math.ceil(warmup * total)
    if step < rise:
        return highest * (step + 1) / rise
    return highest * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise))) / 2


def parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay on matrices only, of those that learn; vectors and scalars are norms, biases and the logits' scale."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]


def _read_record(record: Path) -> dict[str, Any]:
    """What a training says of itself; nothing where there is none, or a damaged one."""
    try:
        found = json.loads(read_regular(record, SMALL_FILE))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("result"), dict) else {}


def _work(out: Path) -> Path:
    return Path(f"{out}.training")
