"""Folders of open_clip: both towers give what open_clip's own calls give, and nothing comes from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoders.base import ImageEncoder, TextEncoder, encoder_spec, load_image, load_text
from encoders.models.folders import OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS
from encoders.photos.decode import PhotoLimits, decode
from foundation.errors import InputError
from tests.support.odd_photos import FLOORS, TEXTS, files, on_white
from tests.support.tiny_models import clip, open_clip_model

open_clip = pytest.importorskip("open_clip", reason="needs the extra open-clip")

MODELS: dict[str, dict[str, Any]] = {
    "siglip": {},
    "siglip shortest": {"resize_mode": "shortest", "interpolation": "bilinear"},
    "pe": {},
}


@pytest.fixture(scope="module", params=MODELS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of each layout."""
    place = tmp_path_factory.mktemp("open_clip") / "model"
    return open_clip_model(place, request.param.split()[0], **MODELS[request.param])


def spec_of(folder: Path, precision: str = "fp32") -> Any:
    return encoder_spec({"type": "open_clip_dual", "model": str(folder), "precision": precision})


def towers(folder: Path, precision: str = "fp32") -> tuple[TextEncoder, ImageEncoder]:
    return load_text(spec_of(folder, precision), "cpu"), load_image(spec_of(folder, precision), "cpu")


@pytest.mark.parametrize("precision", FLOORS)
def test_both_towers_equal_the_reference(folder: Path, precision: str) -> None:
    """Texts and photos, together and one by one: the cosine to open_clip's tokenizer, transform and forward is above
    the bound.
    """
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    photos = [decode(raw, PhotoLimits()) for raw in files()]
    with torch.inference_mode():
        of_texts = model.eval().encode_text(tokenizer(TEXTS), normalize=True).numpy()
        pixels = torch.stack([transform(on_white(raw)) for raw in files()])
        of_photos = model.encode_image(pixels, normalize=True).numpy()
    text, image = towers(folder, precision)
    assert text.dim == image.dim == spec_of(folder).dim == of_texts.shape[1]
    for expected, grouped in (
        (of_texts, (text.encode(TEXTS), np.concatenate([text.encode([one]) for one in TEXTS]))),
        (of_photos, (image.encode(photos), np.concatenate([image.encode([one]) for one in photos]))),
    ):
        assert (expected @ expected.T).min() < 0.9  # else any vector would do
        for vectors in grouped:
            assert np.sum(vectors * expected, axis=1).min() >= FLOORS[precision]


def test_one_load_and_an_identity_of_content(tmp_path: Path) -> None:
    """Equal specs share one live model; a copy elsewhere is the same encoder, a changed byte another."""
    spec = spec_of(open_clip_model(tmp_path / "here"))
    text, image = load_text(spec, "cpu"), load_image(spec, "cpu")
    assert vars(text)["_model"] is vars(image)["_model"]
    identity = spec.identity
    (tmp_path / "here").rename(tmp_path / "there")
    assert spec_of(tmp_path / "there").identity == identity
    raw = bytearray((tmp_path / "there" / OPEN_CLIP_WEIGHTS).read_bytes())
    raw[-1] ^= 1
    (tmp_path / "there" / OPEN_CLIP_WEIGHTS).write_bytes(raw)
    assert spec_of(tmp_path / "there").identity != identity


def test_equal_texts_cost_one_forward(tmp_path: Path) -> None:
    """A text that comes four times is encoded once."""
    text, _ = towers(open_clip_model(tmp_path / "model"))
    model = vars(text)["_model"]
    rows: list[int] = []
    forward = model.encode_text
    model.encode_text = lambda tokens: rows.append(len(tokens)) or forward(tokens)
    text.encode(["red", "blue", "red", "red", "red"])
    assert sum(rows) == 2


def test_the_hub_is_never_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder whose config names a tokenizer of the hub loads without any connection."""
    import socket

    def never(*args: Any, **more: Any) -> None:
        pytest.fail("a connection was opened")

    folder = open_clip_model(tmp_path / "model")
    monkeypatch.setattr(socket.socket, "connect", never)
    towers(folder)[0].encode(["red dress"])


def model_cfg(**changes: Any) -> Callable[[Path], None]:
    """Changes of fields of one tower's settings."""

    def change(folder: Path) -> None:
        path = folder / OPEN_CLIP_CONFIG
        config = json.loads(path.read_text())
        for tower, fields in changes.items():
            config["model_cfg"][tower] = {**config["model_cfg"].get(tower, {}), **fields}
        path.write_text(json.dumps(config))

    return change


def preprocess(**changes: Any) -> Callable[[Path], None]:
    """Changes of the settings for photos."""

    def change(folder: Path) -> None:
        path = folder / OPEN_CLIP_CONFIG
        config = json.loads(path.read_text())
        path.write_text(json.dumps({**config, "preprocess_cfg": {**config["preprocess_cfg"], **changes}}))

    return change


def without_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "pickle": (lambda f: (f / OPEN_CLIP_WEIGHTS).rename(f / "open_clip_pytorch_model.bin"), "pickles"),
    "no weights": (lambda f: (f / OPEN_CLIP_WEIGHTS).unlink(), "no weights"),
    "code": (lambda f: (f / "config.json").write_text('{"auto_map": {}}'), "auto_map"),
    "text tower of the hub": (model_cfg(text_cfg={"hf_model_name": "org/x"}), "hf_model_name"),
    "photo tower of the hub": (model_cfg(vision_cfg={"timm_model_name": "hf-hub:org/x"}), "timm_model_name"),
    "third tower": (model_cfg(multimodal_cfg={"layers": 1}), "multimodal_cfg"),
    "tokenizer's code": (model_cfg(text_cfg={"tokenizer_kwargs": {"trust_remote_code": True}}), "trust_remote"),
    "tokenizer elsewhere": (without_tokenizer, "hf_tokenizer_name"),
    "no towers": (lambda f: (f / OPEN_CLIP_CONFIG).write_text('{"model_cfg": {"embed_dim": 8}}'), "text_cfg"),
    "other weights": (model_cfg(text_cfg={"layers": 3}), "Missing key"),
    "unknown field": (model_cfg(text_cfg={"depth": 3}), "depth"),
    "photos padded": (preprocess(resize_mode="longest"), "longest"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_not_whole_or_not_local_is_refused(tmp_path: Path, reason: str) -> None:
    """Each refusal is a message of three parts that names what it found."""
    folder = open_clip_model(tmp_path / "model")
    damage, came = REFUSED[reason]
    damage(folder)
    with pytest.raises(InputError, match=came):
        spec_of(folder).load("cpu")


def test_layouts_are_told_apart(tmp_path: Path) -> None:
    """A folder of the other library names the type that reads it."""
    with pytest.raises(InputError, match="type: open_clip_dual"):
        encoder_spec({"type": "dual", "model": str(open_clip_model(tmp_path / "a"))}).load("cpu")
    with pytest.raises(InputError, match="type: dual"):
        spec_of(clip(tmp_path / "b")).load("cpu")


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where open_clip is not installed, the message says what to install."""
    folder = open_clip_model(tmp_path / "model")
    monkeypatch.setattr("encoders.types.open_clip_dual.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"'vitrine-index\[open-clip\]'"):
        spec_of(folder).load("cpu")
