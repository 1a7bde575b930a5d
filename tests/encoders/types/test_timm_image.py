"""timm backbones give what timm's own transform and forward give, and state their length without timm."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from encoders.base import ImageEncoder, encoder_spec, load_image
from foundation.errors import InputError
from tests.support.tiny_models import timm_model

# A convolutional net, one whose head widens its features, a transformer without a classifier; each framing that timm
# has and `timm_image` takes. In a drawn net photos come out alike unless its crop is small.
SMALL = {"input_size": [3, 64, 64]}
CASES: dict[str, tuple[str, dict[str, Any], int]] = {
    "resnet": ("resnet10t", {**SMALL, "crop_pct": 0.875, "interpolation": "bilinear"}, 512),
    "widened": ("mobilenetv3_small_050", {**SMALL, "crop_pct": 0.9, "crop_mode": "squash"}, 1024),
    "vit": (
        "vit_tiny_patch16_224",
        {"num_classes": 0, "model_args": {"img_size": 64}, "crop_pct": 1.0, "interpolation": "bicubic"},
        192,
    ),
    "branches": ("crossvit_tiny_240", {"num_classes": 0, "crop_pct": 0.875, "interpolation": "bicubic"}, 288),
}
FLOORS = {"fp32": 0.9999, "bf16": 0.999}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """(folder, length of its vectors)."""
    architecture, settings, dim = CASES[request.param]
    return timm_model(tmp_path_factory.mktemp("timm") / request.param, architecture, **settings), dim


def photos() -> list[Image.Image]:
    """Photos with structure, of many shapes; one smaller than the crop."""
    rng = np.random.default_rng(4)
    sizes = [(400, 300), (150, 333), (64, 64), (30, 20), (257, 256)]
    coarse = [Image.fromarray(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)) for _ in sizes]
    drawn = [one.resize(size, Image.Resampling.BICUBIC) for one, size in zip(coarse, sizes, strict=True)]
    return [*drawn, Image.fromarray(rng.integers(0, 256, (90, 100, 3), dtype=np.uint8))]


def reference(folder: Path, images: list[Image.Image]) -> Any:
    """timm's transform for evaluation, on Pillow, and its forward."""
    import timm
    from timm.data import create_transform, resolve_model_data_config

    model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    with torch.no_grad():
        features = model(torch.stack([transform(image) for image in images]))
    return torch.nn.functional.normalize(features, dim=1).numpy()


def tower(folder: Path, precision: str = "fp32") -> ImageEncoder:
    return load_image(encoder_spec({"type": "timm_image", "model": str(folder), "precision": precision}), "cpu")


@pytest.mark.parametrize("precision", FLOORS)
def test_photos_equal_the_reference(case: tuple[Path, int], precision: str) -> None:
    """Photos of any shape, in a batch and alone: the cosine to timm's transform and forward is above the bound."""
    image, images = tower(case[0], precision), photos()
    arrays = [np.asarray(one) for one in images]
    expected = reference(case[0], images)
    assert (expected @ expected.T).min() < 0.99
    for vectors in (image.encode(arrays), np.concatenate([image.encode([one]) for one in arrays])):
        assert np.sum(vectors * expected, axis=1).min() >= FLOORS[precision]


def test_the_length_is_known_without_a_network_library(case: tuple[Path, int]) -> None:
    """`dim` and `identity` are read from the folder by a process that imports neither torch nor timm."""
    folder, dim = case
    code = (
        "import sys; from encoders.base import encoder_spec; "
        f"spec = encoder_spec({{'type': 'timm_image', 'model': {str(folder)!r}}}); "
        "print(spec.dim, len(spec.identity), bool({'torch', 'timm', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(dim), "64", "False"]
    assert tower(folder).encode([np.asarray(photos()[0])]).shape == (1, dim)


def test_framings_that_are_not_known_are_refused(tmp_path: Path) -> None:
    """A border, or a filter that torch has not: an error at load, not other pixels."""
    for name, settings in {"border": {"crop_mode": "border"}, "filter": {"interpolation": "lanczos"}}.items():
        folder = timm_model(tmp_path / name, "mobilenetv3_small_050", **SMALL, **settings)
        with pytest.raises(InputError, match="pretrained_cfg"):
            tower(folder)


def test_an_unknown_architecture_and_a_transformers_folder_are_refused(tmp_path: Path) -> None:
    """The message names what the folder says it is."""
    folder = timm_model(tmp_path / "timm", "mobilenetv3_small_050")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architecture": "resnet_of_tomorrow"}))
    with pytest.raises(InputError, match="resnet_of_tomorrow"):
        tower(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(InputError, match="model_type 'clip'"):
        tower(folder)


@pytest.mark.parametrize(
    ("architecture", "at_once", "last"), [("resnet10t", 8, True), ("convnext_atto", 8, True), ("test_vit", 32, False)]
)
def test_convolutional_networks_are_laid_out_channels_last(
    tmp_path: Path, architecture: str, at_once: int, last: bool
) -> None:
    """On a CPU they take 8 photos at once, channels last; transformers 32, as they are. Vectors do not depend on it:
    those of the layout that was loaded are the same to 1e-5, alone or in a batch.
    """
    folder = timm_model(tmp_path / architecture, architecture, **SMALL, crop_pct=0.875)
    image: Any = tower(folder)
    assert image.micro_batch == at_once
    weights = [one.weight for one in image._model.modules() if isinstance(one, torch.nn.Conv2d)]
    wide = [one for one in weights if min(one.shape[1:]) > 1]  # of others, both layouts are one
    assert {one.is_contiguous(memory_format=torch.channels_last) for one in wide} == {last}
    arrays = [np.asarray(one) for one in photos()]
    together, alone = image.encode(arrays * 2)[: len(arrays)], np.concatenate([image.encode([one]) for one in arrays])
    image._model.to(memory_format=torch.contiguous_format)
    loaded = image.encode(arrays)
    assert np.abs(together - alone).max() < 1e-5
    assert np.abs(together - loaded).max() < 1e-5
