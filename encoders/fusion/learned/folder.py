"""The folder of a learned fusion: `config.json`, which says what it was made for, and `model.safetensors`.

It is opened as encoders/models/learned.py says, and names the towers that it was trained on.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from encoders.base import Modality
from encoders.models.folders import WEIGHTS
from encoders.models.learned import CONFIG, LearnedFolder, Naming, write_settings
from encoders.towers import Tower, refuse_other_tower
from foundation.errors import InputError

if TYPE_CHECKING:
    import torch

_FIX = "train it: vitrine train fusion -c CONFIG --out FOLDER; then set fusion.model to FOLDER"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sizes(_Part):
    """The shape of a network: lengths of the towers' vectors and states (0: none read), of its own, and of the result.

    `shared`: both towers are of one model, so the network begins as their sum.
    """

    text_dim: int = Field(ge=1)
    image_dim: int = Field(ge=1)
    text_state_dim: int = Field(0, ge=0)
    image_state_dim: int = Field(0, ge=0)
    dim: int = Field(ge=1)
    width: int = Field(ge=1)
    layers: int = Field(ge=1, le=3)
    heads: int = Field(ge=1)
    shared: bool = False


class Scales(_Part):
    """The lengths, 0..1, of items that have both modalities, and of those that have one: found after training."""

    both: float = Field(1.0, gt=0, le=1)
    text: float = Field(1.0, ge=0, le=1)
    image: float = Field(1.0, ge=0, le=1)


class Settings(_Part):
    """`config.json`. `towers` are identities of encoders, `tower_parts` what they are made of (empty: of before that
    was kept), `weights` is the blake3 of the weights.
    """

    vitrine: Literal["fusion"] = "fusion"
    type: str
    version: int
    towers: dict[Modality, str]
    tower_parts: dict[Modality, dict[str, str]] = {}
    sizes: Sizes
    scales: Scales
    weights: str


class FusionFolder:
    """A folder that was looked at and not refused; its weights were not read yet."""

    def __init__(self, model: str | None, kind: str, version: int) -> None:
        if model is None:
            raise InputError(f"fusion.model: the folder of a {kind} that was trained", "null", _FIX)
        self._folder = LearnedFolder.open(model, Naming("fusion", "fusion.model", _FIX), Settings)
        self.path, self.settings = self._folder.path, self._folder.settings
        found = self.settings
        if (found.type, found.version) != (kind, version):
            came = f"{self.path}: {found.type}, version {found.version}"
            raise InputError(f"a fusion of type {kind}, version {version}", came, _FIX)

    def digests(self) -> dict[str, str]:
        """See `LearnedFolder`."""
        return self._folder.digests()

    def refuse_towers(self, text: Tower | None, image: Tower | None) -> None:
        """InputError when these are not the towers that it was trained on."""
        towers: dict[Modality, Tower | None] = {"text": text, "image": image}
        for modality, tower in towers.items():
            trained = self.settings.towers[modality], self.settings.tower_parts.get(modality, {})
            what = f"the {modality} encoder that {self.path} was trained on"
            fix = "train the fusion again: vitrine train fusion; or use the encoder that it was trained on"
            refuse_other_tower(what, trained, tower, fix)

    def refuse_dims(self, text_dim: int | None, image_dim: int | None) -> None:
        """InputError when the towers' vectors are not as long as those that it was trained on."""
        sizes = self.settings.sizes
        if (text_dim, image_dim) != (sizes.text_dim, sizes.image_dim):
            raise InputError(
                f"vectors as {self.path} was trained on: text {sizes.text_dim}, photo {sizes.image_dim}",
                f"text {text_dim}, photo {image_dim}",
                "use the encoders that it was trained on, or train it again",
            )

    def fill(self, network: torch.nn.Module) -> None:
        """Load the weights into `network`; InputError when a byte of them changed, or they do not fit."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        raw = self._folder.read_weights(self.settings.weights)
        try:
            network.load_state_dict(load(raw))
        except (RuntimeError, SafetensorError) as err:
            raise InputError(f"weights of the sizes in {CONFIG}", f"{self.path}: {err}", _FIX) from err


def write_fusion(
    folder: Path,
    kind: tuple[str, int],
    towers: dict[Modality, Tower],
    network: torch.nn.Module,
    shape: tuple[Sizes, Scales],
) -> None:
    """Write the two files of a fusion of type and version `kind` into `folder`, which is there."""
    from safetensors.torch import save_file

    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, folder / WEIGHTS)
    sizes, scales = shape
    settings = Settings(
        type=kind[0],
        version=kind[1],
        towers={modality: tower.identity for modality, tower in towers.items()},
        tower_parts={modality: tower.parts for modality, tower in towers.items()},
        sizes=sizes,
        scales=scales,
        weights="",
    )
    write_settings(folder, settings)
