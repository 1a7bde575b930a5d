"""What survives a kill: checkpoints that appear by rename, and the loss curve cut back to the last of them.

A checkpoint is a folder of safetensors and JSON: weights, both moments of AdamW, the best weights so far, and the
numbers of the loop. No pickle.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.disk import replace_file, sync
from foundation.errors import InputError
from foundation.machine import machine_fault
from foundation.regular_files import SMALL_FILE, read_regular

if TYPE_CHECKING:
    import torch

CURVE = "training.jsonl"
_PREFIX, _PARTIAL = "checkpoint-", ".partial"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass
class State:
    """The numbers of the loop after `step` steps. `identity` says which training this is."""

    identity: str
    step: int = 0
    best_step: int = 0
    best_recall: float = -1.0  # below every measured one
    worse: int = 0  # evaluations since the best
    seconds: float = 0.0


class Checkpoints:
    """The working folder of one training; the newest whole checkpoint in it counts, older ones are deleted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def curve(self) -> Path:
        """JSON lines: the loss of each step, the recall of each evaluation."""
        return self._folder / CURVE

    @property
    def best(self) -> Path | None:
        """The best weights so far."""
        newest = self._newest()
        return newest / "best.safetensors" if newest else None

    def save(self, state: State, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Write a checkpoint; the one before it goes when the new one stands."""
        from safetensors.torch import save_file, save_model

        before = self._newest()
        final = self._folder / f"{_PREFIX}{state.step:09d}"
        partial = final.with_name(final.name + _PARTIAL)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        save_model(model, str(partial / "model.safetensors"))
        save_file(_moments(model, optimizer), partial / "moments.safetensors")
        if state.best_step == state.step or before is None:
            os.link(partial / "model.safetensors", partial / "best.safetensors")
        else:
            os.link(before / "best.safetensors", partial / "best.safetensors")
        (partial / "state.json").write_text(json.dumps(asdict(state), indent=1) + "\n", encoding="utf-8")
        for file in partial.iterdir():
            sync(file)
        sync(partial)
        os.rename(partial, final)
        sync(self._folder)
        if before is not None and before != final:
            shutil.rmtree(before)

    def restore(self, identity: str, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> State:
        """The state of the newest checkpoint, put into `model` and `optimizer`; a fresh one where there is none.

        InputError when the folder belongs to another training.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file, load_model

        newest = self._newest()
        if newest is None:
            self.curve.unlink(missing_ok=True)
            return State(identity)
        state = self._state(newest)
        if state.identity != identity:
            raise InputError(
                f"in {self._folder} a training with the same model, products and settings",
                f"another one, {state.step} steps done",
                f"delete {self._folder} to begin anew, or give the settings that it was begun with",
            )
        try:
            load_model(model, str(newest / "model.safetensors"))
            _set_moments(model, optimizer, load_file(newest / "moments.safetensors"))
            self._cut_curve(state.step)
        except (SafetensorError, FileNotFoundError, KeyError, ValueError, RuntimeError) as err:
            raise machine_fault(err) or self._damaged(newest, err) from err
        return state

    def _state(self, checkpoint: Path) -> State:
        try:
            return State(**json.loads(read_regular(checkpoint / "state.json", SMALL_FILE)))
        except (FileNotFoundError, ValueError, TypeError, RecursionError) as err:
            raise self._damaged(checkpoint, err) from err

    def _damaged(self, checkpoint: Path, err: Exception) -> InputError:
        came = f"{type(err).__name__}: {(str(err).splitlines() or [''])[0][:200]}"
        return InputError(f"the checkpoint {checkpoint}, whole", came, f"delete {self._folder} to begin anew")

    def _newest(self) -> Path | None:
        whole = (path for path in self._folder.glob(f"{_PREFIX}*") if path.suffix != _PARTIAL)
        return max(whole, default=None)

    def _cut_curve(self, step: int) -> None:
        """Drop what a killed training wrote after its last checkpoint: those steps come again."""
        lines = self.curve.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        replace_file(self.curve, "".join(kept).encode())


def _trained(model: torch.nn.Module) -> dict[str, Any]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _moments(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """AdamW's state by `<moment>/<parameter>`."""
    return {
        f"{moment}/{name}": optimizer.state[parameter][moment]
        for name, parameter in _trained(model).items()
        if parameter in optimizer.state
        for moment in _MOMENTS
    }


def _set_moments(model: torch.nn.Module, optimizer: torch.optim.Optimizer, saved: dict[str, torch.Tensor]) -> None:
    for name, parameter in _trained(model).items():
        if f"step/{name}" in saved:
            optimizer.state[parameter] = {
                moment: saved[f"{moment}/{name}"].to(parameter.device if moment != "step" else "cpu")
                for moment in _MOMENTS
            }
