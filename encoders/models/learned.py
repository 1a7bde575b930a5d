"""Folders of what `vitrine train` learned: `config.json`, which says what it was made for and has the digest of the
weights, so that a changed byte is refused, and `model.safetensors`.

They are opened like the folder of any model: no pickles, no remote code, a lock if there is one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from blake3 import blake3
from pydantic import BaseModel, ValidationError

from encoders.models.folders import WEIGHTS, ModelFolder, digest_of, models_folder, open_model
from foundation.errors import InputError

CONFIG = "config.json"


_Settings = TypeVar("_Settings", bound=BaseModel)


@dataclass(frozen=True)
class Naming:
    """How messages speak of such a folder: its `kind` (as `vitrine` of its config has it), the key of the config that
    names it, and how one is made.
    """

    kind: str
    key: str
    fix: str


@dataclass(frozen=True)
class LearnedFolder(Generic[_Settings]):
    """A folder that was looked at and not refused; its weights were not read yet."""

    path: Path
    settings: _Settings
    naming: Naming
    _folder: ModelFolder

    @classmethod
    def open(cls, model: str, naming: Naming, settings: type[_Settings]) -> LearnedFolder[_Settings]:
        """The folder of that path, else the one of that name among the pulled models; InputError where it is none."""
        folder = open_model(str(_located(model, naming)))
        expected = f"a {naming.kind}, as {CONFIG} tells it"
        if folder.config.get("vitrine") != naming.kind:
            raise InputError(expected, f"{folder.path}: the folder of another model", naming.fix)
        try:
            return cls(folder.path, settings.model_validate(folder.config), naming, folder)
        except ValidationError as err:
            raise InputError(expected, f"{folder.path}: {err}", naming.fix) from err

    def digests(self) -> dict[str, str]:
        """File name -> blake3 of what decides the vectors. What training tells beside it does not."""
        return {name: digest for name, digest in self._folder.digests().items() if name in (CONFIG, WEIGHTS)}

    def read_weights(self, expected: str) -> bytes:
        """The file of weights whose blake3 is `expected`, as the settings have it; InputError when a byte changed."""
        self._folder.verify()
        raw = (self.path / WEIGHTS).read_bytes()  # once: what is loaded is what was compared
        found = blake3(raw).hexdigest()
        if found != expected:
            came = f"blake3 {found[:16]}: the file was changed after training"
            said = f"{self.path / WEIGHTS} as {CONFIG} has it, blake3 {expected[:16]}"
            raise InputError(said, came, self.naming.fix)
        return raw


def write_settings(folder: Path, settings: BaseModel) -> None:
    """Write `config.json` beside the weights of `folder`: `settings`, with the digest of these."""
    whole = settings.model_copy(update={"weights": digest_of(folder / WEIGHTS)})
    told = json.dumps(whole.model_dump(mode="json"), indent=1)
    (folder / CONFIG).write_text(told + "\n", encoding="utf-8")


def _located(model: str, naming: Naming) -> Path:
    """The absolute path of the folder that `model` is, else of the one of that name among the pulled models."""
    for path in (Path(model).expanduser(), models_folder() / model):
        if path.is_dir():
            return path.absolute()
    expected = f"{naming.key}: the folder of a {naming.kind} that was trained"
    raise InputError(expected, f"{model!r}: no such folder", naming.fix)
