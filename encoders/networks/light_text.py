"""The text tower of a SigLIP without torch: for queries, which come one by one, importing torch takes 20 times as long
as the answer.

The same folder, the same tokenizer file and the same weights; numpy does the arithmetic in float32. It gives the
vectors that the tower gives through torch, to rounding (the tests hold the cosine above 0.99999), so it has no identity
of its own. Of the towers that `dual` knows, those of type `siglip` have it, SigLIP2 of one resolution and the built-in
model included, where everything that their tokenizer does stands in `tokenizer.json`; `reason_against` says why others
have not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from encoders.base import Role, TextEncoder
from encoders.models.folders import WEIGHTS, ModelFolder
from foundation.arrays import Vectors
from foundation.errors import InputError

Weights = dict[str, Vectors]

TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
_PLAIN_TOKENIZERS = frozenset({"TokenizersBackend", "PreTrainedTokenizerFast"})  # others do more in code of their own
# Settings that change no token, and those that are read here. Any other may do what is not done here.
_SILENT = frozenset({"backend", "tokenizer_class", "clean_up_tokenization_spaces", "is_local", "added_tokens_decoder"})
_SILENT |= {"eos_token", "bos_token", "unk_token", "extra_special_tokens", "additional_special_tokens"}
_READ = frozenset({"model_input_names", "model_max_length", "pad_token", "padding_side", "truncation_side"})
_PREFIX = "text_model."
_STORED = frozenset({"F16", "F32"})  # numpy has no bfloat16


def reason_against(folder: ModelFolder) -> str | None:
    """Why the text tower of `folder` needs torch; None where it does not. Only settings are read, and a header."""
    settings = folder.config.get("text_config", {})
    if folder.config.get("model_type") != "siglip":
        return f"a text tower of type {folder.config.get('model_type')}"
    if settings.get("hidden_act", "gelu_pytorch_tanh") != "gelu_pytorch_tanh":
        return f"the activation {settings['hidden_act']}"
    if not (folder.path / WEIGHTS).is_file() or not (folder.path / TOKENIZER).is_file():
        return f"{WEIGHTS} in pieces, or no {TOKENIZER}"
    stored = {entry["dtype"] for name, entry in _header(folder).items() if name.startswith(_PREFIX)}
    if not stored or not stored <= _STORED:
        return f"weights of {', '.join(sorted(stored)) or 'other names'}"
    return _reason_of_tokenizer(_tokenizer_config(folder))


class LightText(TextEncoder):
    """The text tower, without torch. Texts are padded to the full length, as SigLIP was trained."""

    micro_batch = 64

    def __init__(self, folder: ModelFolder, dim: int) -> None:
        from tokenizers import Tokenizer

        settings = folder.config.get("text_config", {})
        self.dim = dim
        self._heads = int(settings.get("num_attention_heads", 12))  # the defaults are those of transformers
        self._eps = float(settings.get("layer_norm_eps", 1e-6))
        self._weights = _weights(folder)
        self._layers = len([name for name in self._weights if name.endswith(".layer_norm1.weight")])
        given = _tokenizer_config(folder)
        positions = len(self._weight("embeddings.position_embedding.weight"))
        length = min(positions, int(given.get("model_max_length", positions)))
        tokenizer: Any = Tokenizer.from_file(str(folder.path / TOKENIZER))
        pad = str(given["pad_token"])
        tokenizer.enable_truncation(length, direction=given.get("truncation_side", "right"))
        tokenizer.enable_padding(
            length=length,
            pad_id=tokenizer.token_to_id(pad),
            pad_token=pad,
            direction=given.get("padding_side", "right"),
        )
        self._tokenizer = tokenizer
        if self._weight("head.bias").shape != (dim,):
            raise _damaged(folder, f"{_PREFIX}head.bias of shape {self._weight('head.bias').shape}, not ({dim},)")

    def forward(self, texts: Sequence[str], role: Role) -> Vectors:
        """(n, dim) float32, unit rows, of texts; products and queries alike."""
        ids = np.array([encoded.ids for encoded in self._tokenizer.encode_batch(list(texts))])
        states = self._weight("embeddings.token_embedding.weight")[ids]
        states = states + self._weight("embeddings.position_embedding.weight")[: ids.shape[1]]
        for layer in range(self._layers):
            states = self._layer(states, f"encoder.layers.{layer}.")
        pooled = self._linear(self._norm(states[:, -1], "final_layer_norm"), "head")
        lengths = np.linalg.norm(pooled, axis=1, keepdims=True)
        unit: Vectors = (pooled / np.maximum(lengths, 1e-12)).astype(np.float32)
        return unit

    def _layer(self, states: Vectors, name: str) -> Vectors:
        """(n, length, d) after one layer: attention, then the two linear maps, each beside a straight way."""
        states = states + self._attention(self._norm(states, f"{name}layer_norm1"), f"{name}self_attn.")
        wide = self._linear(self._norm(states, f"{name}layer_norm2"), f"{name}mlp.fc1")
        return states + self._linear(_gelu(wide), f"{name}mlp.fc2")

    def _attention(self, states: Vectors, name: str) -> Vectors:
        """(n, length, d): each place attends to all, padding too (Vaswani et al. 2017, section 3.2)."""
        n, length, width = states.shape
        shape = (n, length, self._heads, width // self._heads)
        q, k, v = (self._linear(states, f"{name}{one}_proj").reshape(shape).swapaxes(1, 2) for one in "qkv")
        scores = q @ k.swapaxes(2, 3) * np.float32(shape[3] ** -0.5)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (scores / scores.sum(axis=-1, keepdims=True)) @ v
        return self._linear(mixed.swapaxes(1, 2).reshape(n, length, width), f"{name}out_proj")

    def _norm(self, states: Vectors, name: str) -> Vectors:
        centred = states - states.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(self._eps))
        normed: Vectors = centred / deviation * self._weight(f"{name}.weight") + self._weight(f"{name}.bias")
        return normed

    def _linear(self, states: Vectors, name: str) -> Vectors:
        out: Vectors = states @ self._weight(f"{name}.weight").T + self._weight(f"{name}.bias")
        return out

    def _weight(self, name: str) -> Vectors:
        return self._weights[_PREFIX + name]


def _gelu(x: Vectors) -> Vectors:
    """GELU by tanh (Hendrycks and Gimpel 2016, arXiv 1606.08415, section 2)."""
    out: Vectors = (
        np.float32(0.5) * x * (1 + np.tanh(np.float32((2 / np.pi) ** 0.5) * (x + np.float32(0.044715) * x**3)))
    )
    return out


def _weights(folder: ModelFolder) -> Weights:
    """The tensors of the text tower, (...) float32; those of the photo tower are not read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder.path / WEIGHTS, framework="numpy") as file:
            names = [name for name in file.keys() if name.startswith(_PREFIX)]  # noqa: SIM118 - it is no mapping
            found = {name: np.asarray(file.get_tensor(name), dtype=np.float32) for name in names}
    except SafetensorError as err:
        raise _damaged(folder, str(err)) from err
    layers = int(folder.config.get("text_config", {}).get("num_hidden_layers", 12))
    lacking = sorted(set(_names(layers)) - found.keys())
    if lacking:
        raise _damaged(folder, f"none for {', '.join(lacking[:5])}")
    return found


def _names(layers: int) -> list[str]:
    """The tensors that a tower of so many layers has."""
    parts = [f"self_attn.{one}_proj" for one in ("q", "k", "v", "out")]
    parts += ["layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2"]
    modules = [f"encoder.layers.{layer}.{part}" for layer in range(layers) for part in parts]
    linear = [f"{one}.{kind}" for one in [*modules, "final_layer_norm", "head"] for kind in ("weight", "bias")]
    return [
        _PREFIX + name for name in [*linear, *(f"embeddings.{one}_embedding.weight" for one in ("token", "position"))]
    ]


def _header(folder: ModelFolder) -> dict[str, Any]:
    """What safetensors says of each tensor: 8 bytes of its length, then JSON."""
    try:
        with (folder.path / WEIGHTS).open("rb") as file:
            header: dict[str, Any] = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    except (ValueError, OverflowError, MemoryError) as err:
        raise _damaged(folder, str(err)) from err
    header.pop("__metadata__", None)
    return header


def _tokenizer_config(folder: ModelFolder) -> dict[str, Any]:
    path = folder.path / TOKENIZER_CONFIG
    try:
        found = json.loads(path.read_bytes()) if path.is_file() else {}
    except ValueError as err:
        raise InputError(f"JSON in {path}", str(err), "restore the file, or pull the model again") from err
    return found if isinstance(found, dict) else {}


def _reason_of_tokenizer(settings: dict[str, Any]) -> str | None:
    kind = settings.get("tokenizer_class")
    if kind not in _PLAIN_TOKENIZERS:
        return f"a tokenizer of class {kind}"
    if settings.get("model_input_names") != ["input_ids"] or not isinstance(settings.get("pad_token"), str):
        return "a tokenizer that gives more than ids, or does not pad"
    strange = sorted(settings.keys() - _SILENT - _READ)
    return f"a tokenizer with {', '.join(strange)}" if strange else None


def _damaged(folder: ModelFolder, came: str) -> InputError:
    return InputError(
        "weights for every layer that config.json names",
        f"{folder.path}: {came}",
        "pull the model again, or choose the one that these weights belong to",
    )
