"""Weights as they come and as they are kept: pickles, which could run code, become safetensors."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError  # the error only: nothing here unpickles
from stat import S_IMODE
from typing import TYPE_CHECKING

from foundation.errors import InputError

if TYPE_CHECKING:
    import torch

_FIX = "fetch the file anew, or choose another model"


def tensors_of(path: Path) -> dict[str, torch.Tensor]:
    """Name -> tensor, in the order of a pickled file; InputError where it holds anything else, which is not run.

    Tied weights share memory, which safetensors refuses: each name gets its own.
    """
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError) as err:  # code; cut; empty
        raise InputError(f"tensors and nothing else in {path.name}", str(err), _FIX) from err
    if not isinstance(loaded, dict):
        raise InputError(f"tensors by name in {path.name}", type(loaded).__name__, _FIX)
    for key, value in loaded.items():
        if not isinstance(value, torch.Tensor):
            raise InputError(f"a tensor under each key of {path.name}", f"{key}: {type(value)}", _FIX)
    return {key: value.clone().contiguous() for key, value in loaded.items()}


def write_weights(weights: dict[str, torch.Tensor], path: Path) -> None:
    """`weights` as safetensors: the same bytes for the same tensors, readable as other files are."""
    from safetensors.torch import save_file

    path.touch()
    mode = S_IMODE(path.stat().st_mode)
    save_file(weights, path, metadata={"format": "pt"})  # transformers asks for the format
    path.chmod(mode)  # safetensors leaves a file that only its owner can read
