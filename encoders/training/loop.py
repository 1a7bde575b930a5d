"""What every training shares, whatever it trains: its folders and their lock, the rate of a step, what decays."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from encoders.errors import InputError, LockedError
from encoders.training.state import sync

if TYPE_CHECKING:
    import torch

RECORD = "training.json"


def finished(out: Path, identity: str) -> dict[str, Any] | None:
    """The result that `out` tells if it holds the training `identity`; InputError when something else is there.

    A working folder that outlived it, because of a kill after `out` had appeared, is removed.
    """
    if not out.exists():
        return None
    record = out / RECORD
    told = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    if told.get("identity") != identity:
        came = "another training's result" if told else "a folder without one"
        raise InputError(f"no folder, or the result of this very training, at {out}", came, "choose another --out")
    if _work(out).exists():
        with suppress(LockedError), working(out):  # locked: whoever trained it is about to remove the folder
            pass
    result: dict[str, Any] = told["result"]
    return result


@contextmanager
def working(out: Path) -> Iterator[Path]:
    """The folder `<out>.training`, made and locked; it is removed when the block ends well, else kept to go on from.

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
        yield work
        shutil.rmtree(work)


def publish(partial: Path, out: Path) -> None:
    """Let the files of the folder `partial` appear as `out`, whole also after a power cut."""
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


def _work(out: Path) -> Path:
    return Path(f"{out}.training")
