"""The states of tokens and patches: what the model's own call gives, and what its vectors are pooled from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoders.base import Encoded, Encoder, ImageEncoder, TextEncoder, encoder_class, encoder_spec, encoder_types
from encoders.networks.device import Room
from encoders.networks.states import encode_with_states
from encoders.types import dual, hf_text, timm_image
from encoders.types.hashed_text import Spec as Hashed
from foundation.errors import InputError
from tests.support.tiny_models import DUALS, TEXTS, text_model, timm_model

WORDS = ["red dress", "a", "blue striped shirt of cotton", "a", "7"]
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "resnet10t": {"input_size": [3, 64, 64]},
    "vit_tiny_patch16_224": {"model_args": {"img_size": 64}, "input_size": [3, 64, 64]},
    "swin_tiny_patch4_window7_224": {"model_args": {"img_size": 64, "depths": (1, 1, 1, 1)}, "input_size": [3, 64, 64]},
}


def photos() -> list[Any]:
    """Photos of several shapes, two of them equal."""
    rng = np.random.default_rng(1)
    made = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in ((40, 60), (64, 64), (90, 50))]
    return [*made, made[0]]


def checked(found: Encoded, encoder: Encoder, n: int) -> Encoded:
    """`found`, after a look at its shapes."""
    assert found.vectors.shape == (n, encoder.dim)
    assert len(found.states) == n
    assert {(states.dtype, states.shape[1]) for states in found.states} == {(np.dtype(np.float32), encoder.state_dim)}
    return found


def unit(vectors: Any) -> Any:
    return np.asarray(vectors) / np.linalg.norm(vectors)


def of_texts(encoder: TextEncoder) -> list[Any]:
    """The states of `WORDS`, after a look at vectors, and at other micro-batches."""
    found = checked(encoder.encode_states(WORDS, "query"), encoder, len(WORDS))
    np.testing.assert_allclose(found.vectors, encoder.encode(WORDS, "query"), atol=1e-6)
    encoder.micro_batch = 2
    for one, other in zip(encoder.encode_states(WORDS, "query").states, found.states, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    return found.states


def of_photos(encoder: ImageEncoder) -> list[Any]:
    """The states of `photos`, after a look at vectors, and at other micro-batches."""
    prepared = [encoder.prepare(photo) for photo in photos()]
    found = checked(encoder.encode_prepared_states(prepared), encoder, len(prepared))
    np.testing.assert_allclose(found.vectors, encoder.encode_prepared(prepared), atol=1e-6)
    encoder.micro_batch = 3
    for one, other in zip(encoder.encode_prepared_states(prepared).states, found.states, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert encoder.encode_prepared_states([]).vectors.shape == (0, encoder.dim)
    return found.states


def test_each_encoder_says_whether_it_has_states() -> None:
    """The three made of networks have states; the others raise when they are asked."""
    specs = {name: encoder_class(name) for name in encoder_types()}
    assert {name for name, spec in specs.items() if spec.gives_states} == {"dual", "hf_text", "timm_image"}
    with pytest.raises(InputError, match="gives the states"):
        Hashed().load("cpu").encode_states(["a"])


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_text_states_are_what_the_vector_is_pooled_from(pooling: str, tmp_path: Path) -> None:
    """One state of each token of the text and none of padding: pooled by numpy, they are the vector."""
    model = str(text_model(tmp_path / "bert", "bert"))
    fields = {"model": model, "pooling": pooling, "query_prefix": "query: ", "max_tokens": 60}
    spec = hf_text.Spec.model_validate(fields)
    encoder = spec.load("cpu")
    pool: dict[str, Callable[[Any], Any]] = {
        "mean": lambda s: s.mean(0),
        "cls": lambda s: s[0],
        "last": lambda s: s[-1],
    }
    lengths = [len(ids) for ids in encoder._tokenizer.ragged(["query: " + text for text in WORDS])]
    states = of_texts(encoder)
    assert [len(one) for one in states] == lengths
    for one, vector in zip(states, encoder.encode(WORDS, "query"), strict=True):
        np.testing.assert_allclose(unit(pool[pooling](one)), vector, atol=1e-5)


@pytest.mark.parametrize("kind", TEXTS)
def test_every_family_of_texts_has_states(kind: str, tmp_path: Path) -> None:
    """Shapes and vectors are as promised for each model type."""
    of_texts(hf_text.Spec(model=str(text_model(tmp_path / kind, kind)), max_tokens=24).load("cpu"))


@pytest.mark.parametrize("family", DUALS)
def test_both_towers_of_a_model_have_the_states_of_its_own_call(family: str, tmp_path: Path) -> None:
    """They are `last_hidden_state` of the model's own call on one row, without its padding, for every family."""
    folder = DUALS[family](tmp_path / family)
    encoder = dual.Spec(model=str(folder)).load("cpu")
    texts, images = of_texts(encoder.text), of_photos(encoder.image)
    model: Any = encoder.text._model
    tokenizer: Any = encoder.text._tokenizer._tokenizer
    fixed = family.startswith("siglip")
    for text, states in zip(WORDS, texts, strict=True):
        most = encoder.text._tokenizer.max_tokens
        length = len(tokenizer(text, truncation=True, max_length=most)["input_ids"])
        padding = "max_length" if fixed else False
        inputs = tokenizer(text, return_tensors="pt", padding=padding, truncation=True, max_length=most)
        with torch.inference_mode():
            own = model.get_text_features(**inputs).last_hidden_state[0, :length]
        np.testing.assert_allclose(states, own.numpy(), atol=1e-4)
    for photo, states in zip(photos(), images, strict=True):
        inputs = encoder.image._pixels.inputs([encoder.image.prepare(photo)], model.device, torch.float32)
        with torch.inference_mode():
            own = model.get_image_features(**inputs).last_hidden_state[0]
        there = inputs["pixel_attention_mask"][0].bool() if family == "siglip2" else slice(None)
        np.testing.assert_allclose(states, own[there].numpy(), atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_photo_states_are_places_of_the_photo(architecture: str, tmp_path: Path) -> None:
    """Maps with channels first or last, and patches, are (places, channels); pooled, they are the vector."""
    settings = dict(ARCHITECTURES[architecture])
    encoder = timm_image.Spec(model=str(timm_model(tmp_path / "m", architecture, **settings))).load("cpu")
    states = of_photos(encoder)
    assert {len(one) for one in states} == {4 if architecture.startswith(("resnet", "swin")) else 17}
    vectors = encoder.encode(photos())
    for one, vector in zip(states, vectors, strict=True):
        pooled = one[0] if architecture.startswith("vit") else one.mean(0)
        np.testing.assert_allclose(unit(pooled), vector, atol=1e-5)


def test_a_device_without_room_leaves_no_states_twice() -> None:
    """When a batch does not fit it is tried in halves, and each row still has its own states, in its own place."""

    def forward(rows: Any) -> Encoded:
        if len(rows) > 2:
            raise torch.OutOfMemoryError("full")
        vectors = np.array([[row] for row in rows], np.float32)
        return Encoded(vectors, [np.full((int(row), 1), row, np.float32) for row in rows])

    rows = [5, 1, 3, 1, 4]
    found = encode_with_states(rows, rows, rows, forward, Room(100))
    assert found.vectors[:, 0].tolist() == rows
    assert [states[:, 0].tolist() for states in found.states] == [[row] * row for row in rows]


def test_an_encoder_that_breaks_its_promise_is_told() -> None:
    """States of fewer rows, of another width, or of no length are a TypeError, not a wrong embedding."""

    class Wrong(type(Hashed().load("cpu"))):  # type: ignore[misc]
        state_dim = 3
        given: Any = None

        def forward_states(self, texts: Any, role: Any) -> Encoded:
            return Encoded(self.forward(texts, role), self.given)

    encoder = Wrong(Hashed())
    for given in ([], [np.zeros((1, 2), np.float32)], [np.zeros((0, 3), np.float32)]):
        encoder.given = given
        with pytest.raises(TypeError, match="forward_states"):
            encoder.encode_states(["a"])
    assert encoder_spec({"type": "hashed_text"}).gives_states is False
