"""Both towers give what the model's own processor and forward give, for every family that `dual` lists."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from encoders.base import ImageEncoder, TextEncoder, encoder_spec, load, load_image, load_text
from encoders.networks.device import Room
from encoders.networks.pixels import Frames
from encoders.photos.decode import PhotoLimits, decode
from encoders.types.dual import FAMILIES
from foundation.errors import InputError
from tests.support.odd_photos import FLOORS, TEXTS, files, on_white
from tests.support.tiny_models import DUALS, clip


@pytest.fixture(scope="module", params=DUALS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of each family."""
    return DUALS[request.param](tmp_path_factory.mktemp("dual") / request.param)


def reference(folder: Path) -> tuple[Any, Any, Any]:
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(folder), AutoImageProcessor.from_pretrained(folder)


def reference_texts(folder: Path, texts: list[str]) -> Any:
    """One text at a time, padded to the full length, as every family's card does it."""
    model, tokenizer, _ = reference(folder)
    longest = tokenizer.model_max_length
    with torch.no_grad():
        rows = [
            model.get_text_features(
                **tokenizer([text], padding="max_length", truncation=True, max_length=longest, return_tensors="pt")
            ).pooler_output
            for text in texts
        ]
    return torch.nn.functional.normalize(torch.cat(rows), dim=1).numpy()


def reference_photos(folder: Path, photos: list[Image.Image]) -> Any:
    """All photos at once, by the model's own image processor."""
    model, _, processor = reference(folder)
    with torch.no_grad():
        features = model.get_image_features(**processor(images=photos, return_tensors="pt")).pooler_output
    return torch.nn.functional.normalize(features, dim=1).numpy()


def towers(folder: Path, precision: str = "fp32") -> tuple[TextEncoder, ImageEncoder]:
    spec = encoder_spec({"type": "dual", "model": str(folder), "precision": precision})
    return load_text(spec, "cpu"), load_image(spec, "cpu")


@pytest.mark.parametrize("precision", FLOORS)
def test_texts_equal_the_reference(folder: Path, precision: str) -> None:
    """Ragged batches, single rows, empty and cut text: the cosine to tokenizer and forward is above the bound."""
    text, _ = towers(folder, precision)
    expected = reference_texts(folder, TEXTS)
    assert np.abs(expected @ expected.T).min() < 0.9  # the texts are told apart, else any vector would do
    for vectors in (text.encode(TEXTS), np.concatenate([text.encode([one]) for one in TEXTS])):
        assert np.sum(vectors * expected, axis=1).min() >= FLOORS[precision]


@pytest.mark.parametrize("precision", FLOORS)
def test_photos_equal_the_reference(folder: Path, precision: str) -> None:
    """Photos of any shape, grey and with alpha: the cosine to processor and forward is above the bound."""
    _, image = towers(folder, precision)
    photos = [decode(raw, PhotoLimits()) for raw in files()]
    expected = reference_photos(folder, [on_white(raw) for raw in files()])
    assert (expected @ expected.T).min() < 0.9
    for vectors in (image.encode(photos), np.concatenate([image.encode([one]) for one in photos])):
        assert np.sum(vectors * expected, axis=1).min() >= FLOORS[precision]


def test_the_list_of_families_is_the_list_that_is_proved(folder: Path) -> None:
    """Each model type that `dual` accepts is one of those that are made here, and has the length that it states."""
    spec = encoder_spec({"type": "dual", "model": str(folder)})
    assert load_text(spec, "cpu").encode(["a"]).shape == (1, spec.dim)
    assert {name.removesuffix("_end") for name in DUALS} == set(FAMILIES)


def test_both_towers_come_from_one_load(tmp_path: Path) -> None:
    """Equal specs for text and photos share one live model; the same files elsewhere are the same encoder."""
    spec = encoder_spec({"type": "dual", "model": str(clip(tmp_path / "here"))})
    identity = spec.identity
    text, image = load_text(spec, "cpu"), load_image(spec, "cpu")
    assert vars(text)["_model"] is vars(image)["_model"]
    (tmp_path / "here").rename(tmp_path / "there")
    moved = encoder_spec({"type": "dual", "model": str(tmp_path / "there")})
    assert moved.identity == identity
    assert load_text(moved, "cpu") is text


def test_causal_texts_are_cut_and_equal_ones_encoded_once(tmp_path: Path) -> None:
    """A CLIP's forward sees rows as short as their texts, and each text once."""
    text, _ = towers(clip(tmp_path / "clip"))
    seen: list[tuple[int, ...]] = []
    model = vars(text)["_model"]
    features = model.get_text_features
    model.get_text_features = lambda **inputs: seen.append(tuple(inputs["input_ids"].shape)) or features(**inputs)
    text.encode(["red", "red", "a", "red"])
    assert seen == [(2, 5)]  # start, r, e, d, end


def test_equal_photos_are_encoded_once(tmp_path: Path) -> None:
    """Of equal photos in one call the forward sees one."""
    _, image = towers(clip(tmp_path / "clip"))
    photos = [decode(raw, PhotoLimits()) for raw in files()[:2]]
    seen: list[int] = []
    model = vars(image)["_model"]
    features = model.get_image_features
    model.get_image_features = lambda **inputs: seen.append(len(inputs["pixel_values"])) or features(**inputs)
    image.encode([photos[0], photos[1], photos[0], photos[1].copy()])
    assert seen == [2]


def test_photos_are_decoded_by_what_the_identity_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchcodec decodes JPEG; the pixels are part of the identity, and its version is not."""
    import encoders.networks.jpeg

    folder = clip(tmp_path / "clip")
    _, image = towers(folder)
    raw = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(raw, "JPEG")
    asked: list[int] = []
    decoder = encoders.networks.jpeg._faster()
    assert decoder is encoders.networks.jpeg._decode_jpeg
    monkeypatch.setattr("encoders.networks.jpeg._faster", lambda: lambda raw: asked.append(1) or decoder(raw))
    assert image.decode(raw.getvalue(), PhotoLimits()).shape == (8, 8, 3)
    assert asked == [1]
    spec = encoder_spec({"type": "dual", "model": str(folder)})
    before = spec.identity
    monkeypatch.setattr("encoders.networks.jpeg.version", lambda name: "0.99")
    assert spec.identity == before


def test_pixels_equal_those_of_the_model_s_own_processor(tmp_path: Path) -> None:
    """Against the processor on Pillow's resizer: a mean difference under 0.01 of 255; on torch's: none at all."""
    from transformers import AutoImageProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    folder = clip(tmp_path / "clip")
    _, image = towers(folder)
    raw = AutoImageProcessor.from_pretrained(folder)
    settings = {"size": raw.size, "crop_size": raw.crop_size, "do_normalize": False, "do_rescale": False}
    rng = np.random.default_rng(2)
    coarse = [Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)) for _ in range(8)]
    photos = [one.resize((400, 300), Image.Resampling.BICUBIC) for one in coarse]
    ours = np.stack([image.prepare(np.asarray(photo)) for photo in photos]).astype(float)
    for processor, bound in ((CLIPImageProcessorPil(**settings), 0.01), (type(raw)(**settings), 0.0)):
        theirs = np.stack(processor(images=photos)["pixel_values"]).astype(float).transpose(0, 2, 3, 1)
        assert np.abs(ours - theirs).mean() <= bound


def test_a_line_of_pixels_does_not_fill_the_memory(tmp_path: Path) -> None:
    """A photo of 1 x 50,000 is framed by its middle, not resized to millions of columns first."""
    _, image = towers(clip(tmp_path / "clip"))
    frames = vars(image)["_pixels"]
    assert isinstance(frames, Frames)
    line = np.zeros((1, 50_000, 3), np.uint8)
    line[:, 24_990:25_010] = 200
    assert frames.prepare(line).shape == (32, 32, 3)
    assert frames.prepare(line).mean() == 200


def test_out_of_memory_halves_and_is_remembered() -> None:
    """A device that holds 6 rows: 32 are halved to 8, then 4, rows keep their order, and the next call starts at 4."""
    room, sizes = Room(32), []

    def forward(rows: Any) -> Any:
        sizes.append(len(rows))
        if len(rows) > 6:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return np.asarray(rows, np.float32)[:, None]

    rows = list(range(20))
    assert room.encode(forward, rows, [1] * 20)[:, 0].tolist() == rows
    assert (room.size, room.halvings) == (5, 2)
    assert sizes == [20, 10, 5, 5, 5, 5]
    sizes.clear()
    room.encode(forward, rows[:10], [1] * 10)
    assert sizes == [5, 5]


@pytest.mark.parametrize(
    "message", ["CUDA error: CUBLAS_STATUS_ALLOC_FAILED", "DefaultCPUAllocator: can't allocate memory"]
)
def test_memory_that_torch_does_not_count_halves_too(message: str) -> None:
    """Libraries that take memory themselves fail with a message; any other failure is passed on at once."""
    room = Room(4)

    def forward(rows: Any) -> Any:
        if len(rows) > 2:
            raise RuntimeError(message)
        return np.zeros((len(rows), 1), np.float32)

    assert len(room.encode(forward, "abcd", [1] * 4)) == 4
    assert room.size == 2
    message = "shapes do not match"
    room.size = 4
    with pytest.raises(RuntimeError, match="shapes"):
        room.encode(forward, "abcd", [1] * 4)
    assert room.size == 4


def test_a_row_that_does_not_fit_alone_is_a_runtime_error() -> None:
    """The caller gets an error that it can turn into a reject, not torch's."""

    def forward(rows: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(RuntimeError, match="length 7") as caught:
        Room(64).encode(forward, ["a", "b"], [7, 7])
    assert type(caught.value) is RuntimeError


def test_padded_pieces_fit_the_room() -> None:
    """No piece takes more than the room when padded to its longest row, unless it is one row."""
    lengths = [1, 2, 3, 3, 9, 40, 41]
    pieces: list[list[int]] = []
    Room(20).encode(lambda rows: pieces.append(list(rows)) or np.zeros((len(rows), 1), np.float32), lengths, lengths)
    assert [length for piece in pieces for length in piece] == lengths
    assert all(len(piece) == 1 or len(piece) * piece[-1] <= 20 for piece in pieces)
    assert len(pieces) < len(lengths)


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a device that this machine has")
def test_an_absent_device_is_an_error(tmp_path: Path) -> None:
    """A GPU that is not there is never replaced by the CPU."""
    spec = encoder_spec({"type": "dual", "model": str(clip(tmp_path / "clip"))})
    with pytest.raises(InputError, match="cuda:1"):
        load(spec, "cuda:1")
    with pytest.raises(InputError, match="'gpu'"):
        load(spec, "gpu")
