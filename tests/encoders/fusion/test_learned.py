"""The networks of learned fusions against the formulas written out in numpy, row by row, without masks or padding."""

from __future__ import annotations

from math import erf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from encoders.fusion.base import States, StatesFusion, fusion_spec
from tests.support.tiny_fusions import loaded, random_fusion, states_of

DIM, WIDTH, HEADS, LAYERS = 12, 16, 2, 2  # of the fusions that `random_fusion` draws
Array = Any


def normed(rows: Array, w: dict[str, Array], name: str) -> Array:
    """Layer normalisation."""
    centred = rows - rows.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(rows: Array, w: dict[str, Array], name: str) -> Array:
    return rows @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0)


def gelu(rows: Array) -> Array:
    return rows * 0.5 * (1 + np.vectorize(erf)(rows / 2**0.5))


def attention(queries: Array, keys: Array, w: dict[str, Array], name: str) -> Array:
    """Multi-head attention of (n, WIDTH) over (m, WIDTH), values of the same rows (Vaswani et al. 2017, 3.2)."""
    wq, wk, wv = np.split(w[f"{name}.in_proj_weight"], 3)
    bq, bk, bv = np.split(w[f"{name}.in_proj_bias"], 3)
    q, k, v = queries @ wq.T + bq, keys @ wk.T + bk, keys @ wv.T + bv
    heads = []
    for part in np.split(np.arange(WIDTH), HEADS):
        scores = q[:, part] @ k[:, part].T / len(part) ** 0.5
        weights = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        heads.append(weights @ v[:, part])
    return linear(np.concatenate(heads, axis=1), w, f"{name}.out_proj")


def result(read: Array, text: Array | None, image: Array | None, w: dict[str, Array]) -> Array:
    straight = sum(
        linear(vector, w, f"bypass.{side}") for side, vector in (("text", text), ("image", image)) if vector is not None
    )
    out = straight + linear(normed(read, w, "head.0"), w, "head.1")
    return out / np.linalg.norm(out)


def transformer(text: Array | None, image: Array | None, w: dict[str, Array]) -> Array:
    """Only the tokens that are there."""
    kinds = w["kinds.weight"]
    tokens = [kinds[0]]
    tokens += [] if text is None else [kinds[1] + linear(text, w, "text")]
    tokens += [] if image is None else [kinds[2] + linear(image, w, "image")]
    rows = np.stack(tokens)
    for layer in range(LAYERS):
        at = f"encoder.layers.{layer}"
        inner = normed(rows, w, f"{at}.norm1")
        rows = rows + attention(inner, inner, w, f"{at}.self_attn")
        inner = gelu(linear(normed(rows, w, f"{at}.norm2"), w, f"{at}.linear1"))
        rows = rows + linear(inner, w, f"{at}.linear2")
    return result(rows[0], text, image, w)


def cross_attention(text: Array | None, image: Array | None, w: dict[str, Array]) -> Array:
    """Streams of the states that are there, behind their first tokens."""
    streams = {}
    for number, (side, vector, length) in enumerate((("text", text, 2), ("image", image, 3))):
        first = w["firsts.weight"][number][None]
        streams[side] = first
        if vector is not None:
            states = normed(states_of(vector[None], length)[0], w, f"{side}.0")
            streams[side] = np.concatenate([first, linear(states, w, f"{side}.1")])
    for layer in range(LAYERS):
        after = {}
        for side, other in (("text", "image"), ("image", "text")):
            at = f"layers.{layer}.{side}"
            asks, keys = normed(streams[side], w, f"{at}.asks"), normed(streams[other], w, f"{at}.answers")
            rows = streams[side] + attention(asks, keys, w, f"{at}.attention")
            inner = gelu(linear(normed(rows, w, f"{at}.mlp.0"), w, f"{at}.mlp.1"))
            after[side] = rows + linear(inner, w, f"{at}.mlp.3")
        streams = after
    return result(np.concatenate([streams["text"].mean(0), streams["image"].mean(0)]), text, image, w)


@pytest.mark.parametrize(("kind", "reference"), [("transformer", transformer), ("cross_attention", cross_attention)])
def test_items_and_queries_are_the_formula(kind: str, reference: Any, tmp_path: Path) -> None:
    """Rows of both modalities and of either, in one batch, are what numpy makes of each row alone; an item is scaled by
    what it has.
    """
    folder = random_fusion(tmp_path / kind, kind, DIM)
    w = {name: tensor.astype(np.float64) for name, tensor in load_file(folder / "model.safetensors").items()}
    rng = np.random.default_rng(2)
    text, image = (rng.standard_normal((9, DIM)).astype(np.float32) for _ in range(2))
    text, image = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (text, image))
    has_text, has_image = np.arange(9) % 3 != 1, np.arange(9) % 3 != 2
    fusion = loaded(fusion_spec({"type": kind, "model": str(folder)}), DIM, DIM)
    items = fusion.items(text, image, has_text, has_image)
    expected = np.stack(
        [reference(text[i] if has_text[i] else None, image[i] if has_image[i] else None, w) for i in range(9)]
    )
    scales = np.array([1, 0.7, 0.8])[np.arange(9) % 3]  # of both, of a photo alone, of a text alone
    np.testing.assert_allclose(items[:, :24], expected * scales[:, None], atol=1e-5)
    np.testing.assert_allclose(items[:, 24], np.sqrt(1 - scales**2), atol=1e-6)
    assert not items[:, 25:].any()
    for asked in ({"text": text}, {"image": image}, {"text": text, "image": image}):
        found = fusion.queries(**asked)
        given = [[asked[side][i] if side in asked else None for side in ("text", "image")] for i in range(9)]
        rows = [reference(*row, w) for row in given]
        np.testing.assert_allclose(found[:, :24], np.stack(rows), atol=1e-5)
        assert not found[:, 24:].any()


def test_rows_of_any_lengths_do_not_touch_one_another(tmp_path: Path) -> None:
    """States of a row that is longer than its neighbours leave no trace in these."""
    folder = random_fusion(tmp_path / "fusion", "cross_attention", DIM)
    fusion = fusion_spec({"type": "cross_attention", "model": str(folder)}).load(DIM, DIM)
    assert isinstance(fusion, StatesFusion)
    rng = np.random.default_rng(3)
    text, image = (rng.standard_normal((4, DIM)).astype(np.float32) for _ in range(2))
    lengths = (1, 7, 3, 2)
    states = States(*([rng.standard_normal((n, DIM)).astype(np.float32) for n in lengths] for _ in range(2)))
    there = np.ones(4, bool)
    whole = fusion.items(text, image, there, there, states)
    for i in range(4):
        own = States([states.text[i]], [states.image[i]])
        row = slice(i, i + 1)
        alone = fusion.items(text[row], image[row], there[row], there[row], own)
        np.testing.assert_allclose(alone, whole[row], atol=1e-6)
