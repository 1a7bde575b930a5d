"""The folder of a head: `config.json`, which says what it was learned on and how well it finds what it did not see, and
`model.safetensors`, with a matrix and an offset for each tower that it is for.

It is opened as encoders/models/learned.py says, and names the towers that it was learned on. Read without torch.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from encoders.base import Modality
from encoders.heads.base import Map
from encoders.models.folders import WEIGHTS
from encoders.models.learned import CONFIG, LearnedFolder, Naming, write_settings
from encoders.towers import Tower, refuse_other_tower
from foundation.arrays import Vectors
from foundation.errors import InputError
from foundation.identity import identity_of

_FIX = "train it: vitrine train head -c CONFIG --out FOLDER; then set the key to FOLDER"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Groups(_Part):
    """What was learned from: rows, and groups of them by what `by` says, of which `shared` have two rows or more."""

    by: str
    rows: int
    groups: int
    shared: int


class Figure(_Part):
    """Of held-out groups, with vectors of `dim` numbers (`ridge` None: as the towers gave them): how often the nearest
    other row is of the same group, and what share of its group is among as many rows that are nearest; `won` is that
    share less the towers' own, query by query, and `error` the standard error of it.
    """

    dim: int
    ridge: float | None
    precision_at_1: float
    recall: float
    won: float | None = None
    error: float | None = None


class HeldOut(_Part):
    """What was measured: rows that asked, and rows among which they looked. `before` is None of towers that do not
    compare.
    """

    queries: int
    rows: int
    before: Figure | None
    after: tuple[Figure, ...]


class Settings(_Part):
    """`config.json`. `towers` are identities of encoders, `tower_parts` what they are made of, `shapes` (length of the
    tower's vectors, of the head's), `chosen` what it does for held-out groups, `weights` is the blake3 of the weights.
    """

    vitrine: Literal["head"] = "head"
    type: str
    version: int
    ridge: float
    towers: dict[Modality, str] = Field(min_length=1)
    tower_parts: dict[Modality, dict[str, str]]
    shapes: dict[Modality, tuple[int, int]]
    groups: Groups
    chosen: Figure
    held_out: HeldOut
    weights: str


class HeadFolder:
    """A folder that was looked at and not refused; its weights were not read yet. `key` is that of the config."""

    def __init__(self, head: str, key: str) -> None:
        self._folder = LearnedFolder.open(head, Naming("head", key, _FIX), Settings)
        self.path, self.settings = self._folder.path, self._folder.settings

    def digests(self) -> dict[str, str]:
        """See `LearnedFolder`."""
        return self._folder.digests()

    def tower(self, modality: Modality, tower: Tower | None) -> Tower:
        """What a fusion sees in the place of `tower`; InputError when that is not the one that the head is for."""
        found = self.settings
        if modality not in found.towers:
            came = f"{self.path}: a head for {' and '.join(found.towers)}"
            raise InputError(f"{self._folder.naming.key}: a head for the {modality} tower", came, _FIX)
        trained = found.towers[modality], found.tower_parts.get(modality, {})
        fix = "train the head again: vitrine train head; or use the encoder that it was trained on"
        refuse_other_tower(f"the {modality} encoder that the head {self.path} was trained on", trained, tower, fix)
        digests = {f"head {name}": digest for name, digest in self.digests().items()}
        parts = {**(tower.parts if tower else {}), **digests}
        return Tower(found.shapes[modality][1], identity_of({"tower": trained[0], **digests}), parts)

    def load(self, modality: Modality) -> Map:
        """The map of a tower that it is for; InputError when a byte of the weights changed, or they do not fit."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        raw = self._folder.read_weights(self.settings.weights)
        shape = self.settings.shapes[modality]
        try:
            tensors = load(raw)
            matrix, offset = (tensors[f"{modality}.{name}"] for name in ("matrix", "offset"))
        except (SafetensorError, KeyError) as err:
            raise InputError(f"weights of a head for {modality}", f"{self.path / WEIGHTS}: {err}", _FIX) from err
        if (matrix.shape, offset.shape) != (shape, shape[1:]):
            came = f"{self.path / WEIGHTS}: {matrix.shape} and {offset.shape}"
            raise InputError(f"weights of the shapes in {CONFIG}: {shape} and {shape[1:]}", came, _FIX)
        return Map(matrix.astype(np.float64), offset.astype(np.float64))


class Head:
    """A head of one tower, its weights read when they are first needed, once for all threads."""

    def __init__(self, folder: HeadFolder, modality: Modality) -> None:
        self._folder, self._modality = folder, modality
        self._map: Map | None = None
        self._lock = threading.Lock()

    def rows(self, vectors: Vectors) -> Vectors:
        """(n, d_out) float32, unit rows, of (n, d_in) float32 unit rows of the tower."""
        with self._lock:
            if self._map is None:
                self._map = self._folder.load(self._modality)
        return self._map.rows(vectors)


def write_head(folder: Path, settings: Settings, maps: Mapping[Modality, Map]) -> None:
    """Write the two files of a head into `folder`, which is there; `settings` without the digest of the weights."""
    from safetensors.numpy import save_file

    tensors = dict[str, Vectors]()
    for modality, one in maps.items():
        for name, array in (("matrix", one.matrix), ("offset", one.offset)):
            tensors[f"{modality}.{name}"] = np.ascontiguousarray(array, np.float32)
    save_file(tensors, folder / WEIGHTS)
    write_settings(folder, settings)
