"""The models that snapshots were made with, beside the folders of this host: a query needs the very same weights."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from encoders.models.folders import DECIDING, digest_of, located
from foundation.errors import InputError
from lookup.store.manifest import Manifest

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ModelFiles:
    """The folder of a model, as `snapshots` snapshots name it, compared with the digests that these have of its files.
    `detail` says what differs, or why there is no such folder here.
    """

    model: str
    snapshots: int
    state: Literal["whole", "differs", "not here"]
    detail: str = ""


def model_files(manifests: Iterable[Manifest]) -> list[ModelFiles]:
    """Every model of these snapshots that is a folder, each of its files read and compared. Models of which a manifest,
    of an earlier version, has no digests are left out, and so are encoders without weights.
    """
    used = Counter(one for manifest in manifests for one in set(_models(manifest)))
    return [_compared(model, count) for model, count in sorted(used.items())]


class _Model(NamedTuple):
    name: str  # as settings have it
    fusion: bool
    files: tuple[tuple[str, str], ...]  # (name, digest)


def _models(manifest: Manifest) -> Iterator[_Model]:
    towers = [(one.fields, False, one.parts) for one in (manifest.text, manifest.image) if one is not None]
    for fields, fusion, parts in (*towers, (manifest.fusion, True, manifest.fusion_parts)):
        files = {name: one for name, one in parts.items() if Path(name).suffix in DECIDING and _DIGEST.fullmatch(one)}
        for key, before in (("model", ""), ("text_head", "text_head"), ("image_head", "image_head")):
            # A fusion's parts name a head's key before the names of its files.
            mine = [(name.rpartition(" ")[2], one) for name, one in files.items() if name.rpartition(" ")[0] == before]
            if fields.get(key) and mine:
                yield _Model(str(fields[key]), fusion, tuple(sorted(mine)))
        for number, tower in enumerate(fields.get("towers", ()), start=1):  # of an encoder that joins several
            mine = [
                (name.rpartition(" ")[2], one) for name, one in files.items() if name.startswith(f"tower {number} ")
            ]
            if tower.get("model") and mine:
                yield _Model(str(tower["model"]), False, tuple(sorted(mine)))


def _compared(model: _Model, snapshots: int) -> ModelFiles:
    folder = Path(model.name).expanduser()  # of a fusion, however it is written
    try:
        folder = folder if model.fusion and folder.is_dir() else located(model.name)
    except InputError as err:
        return ModelFiles(model.name, snapshots, "not here", err.came)
    wrong = [said for name, digest in model.files if (said := _problem(folder / name, digest))]
    return ModelFiles(model.name, snapshots, "differs" if wrong else "whole", "; ".join(wrong))


def _problem(path: Path, digest: str) -> str:
    """What is wrong with a file; empty where nothing is."""
    if not path.is_file():
        return f"{path}: no such file"
    found = digest_of(path)
    return "" if found == digest else f"{path} with blake3 {found[:16]} instead of {digest[:16]}"
