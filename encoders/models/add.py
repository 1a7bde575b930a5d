"""`vitrine models add`: the weights of an installed package become a model folder, without a network.

The same package gives the same bytes. They are pinned in `models.lock` with the package's version.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.models.folders import WEIGHTS, models_folder, open_model
from encoders.models.lock import LOCK, Lock, LockedFile, PackagedModel
from encoders.models.packages import PACKAGED, SETS, Packaged, command_for
from encoders.models.put import held, put
from encoders.models.weights import tensors_of, write_weights
from foundation.errors import InputError

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)
CARD = "README.md"

# EfficientNet-Lite0 as TensorFlow's authors published it: photos of 224 pixels, cut from the centre after resizing to
# 256, bicubic, with values from -1 to 1 (github.com/tensorflow/tpu, models/official/efficientnet/lite). Written out,
# so that another timm writes the same file.
_ARCHITECTURE = "tf_efficientnet_lite0"
_LITE0: dict[str, Any] = {
    "architecture": _ARCHITECTURE,
    "num_classes": 1000,
    "num_features": 1280,
    "pretrained_cfg": {
        "tag": "in1k",
        "custom_load": False,
        "input_size": [3, 224, 224],
        "fixed_input_size": False,
        "interpolation": "bicubic",
        "crop_pct": 0.875,
        "crop_mode": "center",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "num_classes": 1000,
        "pool_size": [7, 7],
        "first_conv": "conv_stem",
        "classifier": "classifier",
        "license": "apache-2.0",
    },
}


@dataclass(frozen=True)
class Added:
    """One model as it is in the models folder now."""

    name: str
    entry: PackagedModel
    new: bool  # False: it was there, whole and as the lock has it


def add(name: str, folder: Path | None = None) -> list[Added]:
    """Write the models that `name` stands for into `folder` (else the models folder) and pin them in its lock.

    `name` is a key of `PACKAGED` or of `SETS`. What is there already, whole and of the same package, stays as it is.
    InputError where the package is not installed or carries other weights, and where something else has the name.
    """
    if name not in PACKAGED and name not in SETS:
        known = ", ".join((*SETS, *PACKAGED))
        raise InputError(f"one of {known}", repr(name), f"name one of these, or `{command_for(name)}`")
    folder = folder or models_folder()
    return [_add(one, folder) for one in SETS.get(name, (name,))]


def _add(name: str, folder: Path) -> Added:
    packaged = PACKAGED[name]
    version, paths = packaged.installed()
    with held(folder) as lock:
        before = _before(lock, folder, name, packaged)
        same = before is not None and before.version == version
        if before is not None and same and _whole(folder / name):
            return Added(name, before, new=False)

        def fill(target: Path) -> None:
            target.mkdir()
            _FILLS[name](paths, target)
            card = (Path(__file__).parent / "cards" / f"{name}.md").read_text(encoding="utf-8")
            (target / CARD).write_text(card.replace("VERSION", version), encoding="utf-8")

        def entry_of(files: dict[str, LockedFile]) -> PackagedModel:
            entry = PackagedModel(package=packaged.distribution, version=version, files=files)
            if before is not None and same and before != entry:
                raise _differs(name, folder, before, entry)
            return entry

        return Added(name, put(folder, lock, name, fill, entry_of), new=True)


def _before(lock: Lock, folder: Path, name: str, packaged: Packaged) -> PackagedModel | None:
    """The line of the lock, of any version of the package; InputError where the name is another model's."""
    before = lock.models.get(name)
    if isinstance(before, PackagedModel) and before.package == packaged.distribution:
        return before
    if before is None and not (folder / name).exists():
        return None
    came = f"a folder that {LOCK} does not have" if before is None else f"{before.origin}, by {LOCK}"
    fix = f"move {folder / name} away, or add to another --folder"
    raise InputError(f"nothing but {packaged.distribution} under the name {name!r} in {folder}", came, fix)


def _whole(path: Path) -> bool:
    """Whether a folder is there with its card, and every byte is as the lock has it."""
    try:
        open_model(str(path.resolve())).verify()
    except InputError as err:
        _log.warning("%s is written anew: %s", path, err.came)
        return False
    return (path / CARD).is_file()


def _differs(name: str, folder: Path, before: PackagedModel, entry: PackagedModel) -> InputError:
    files = sorted(file for file in before.files | entry.files if before.files.get(file) != entry.files.get(file))
    return InputError(
        f"the files that {folder / LOCK} has of {before.origin}",
        f"others: {', '.join(files)}",
        f"install {before.package} anew; or take {name!r} out of {LOCK}, and every snapshot with it is encoded anew",
    )


def _fill_lite0(paths: Sequence[Path], target: Path) -> None:
    [path] = paths
    write_weights(_as_timm_names(tensors_of(path), path), target / WEIGHTS)
    (target / "config.json").write_text(json.dumps(_LITE0, indent=2) + "\n", encoding="utf-8")


def _as_timm_names(weights: dict[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    """The tensors under timm's names: it has the same ones in the same order. InputError where one is another."""
    import timm

    expected = timm.create_model(_ARCHITECTURE, pretrained=False).state_dict()
    if len(weights) != len(expected):
        raise _other_tensors(path, f"{len(weights)} tensors, not {len(expected)}")
    for (theirs, tensor), (ours, like) in zip(weights.items(), expected.items(), strict=True):
        came, wanted = (_described(one, of) for one, of in ((theirs, tensor), (ours, like)))
        if came != wanted:
            raise _other_tensors(
                path, f"{theirs}: {' '.join(map(str, came))}, not {' '.join(map(str, wanted))} ({ours})"
            )
    return dict(zip(expected, weights.values(), strict=True))


def _described(name: str, tensor: torch.Tensor) -> tuple[str, str, tuple[int, ...]]:
    """(weight, bias, running_mean, ...; dtype; shape): all of a tensor that the two namings share."""
    return name.rpartition(".")[2], str(tensor.dtype), tuple(tensor.shape)


def _other_tensors(path: Path, came: str) -> InputError:
    fix = "install the version that the locks of Vitrine have: `vitrine models add` was made for it"
    return InputError(f"the tensors of timm's {_ARCHITECTURE}, in its order, in {path.name}", came, fix)


def _fill_minilm(paths: Sequence[Path], target: Path) -> None:
    """Copies; `put` looks whether its weights are whole."""
    for path in paths:
        shutil.copyfile(path, target / path.name)


_FILLS = {"efficientnet-lite0": _fill_lite0, "minilm": _fill_minilm}
