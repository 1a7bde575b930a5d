"""Texts through a transformers encoder: BERT, XLM-R (bge-m3, E5), ModernBERT, Qwen3-Embedding and their like.

The folder's own tokenizer and weights; what the folder does not say, or says in files that only another library reads,
is a field: the pooling, the longest text, and the words that some models want before products and queries (E5:
`passage: ` and `query: `).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

from pydantic import Field

from encoders.base import Encoded, EncoderSpec, Modality, Role, TextEncoder
from encoders.models.folders import ModelFolder, open_model, refuse_model_type, refuse_old_transformers
from encoders.networks.device import Precision, device_of, dtype_of, to_device, unit_rows
from encoders.networks.states import encode_with_states, ragged
from encoders.networks.token_batches import Tokenizer, Tokens, encode_by_length, pad, token_room
from foundation.arrays import Vectors
from foundation.errors import InputError

if TYPE_CHECKING:
    import torch

# Proved against their own reference calls; the tests make one of each.
MODEL_TYPES = frozenset(
    {"bert", "distilbert", "electra", "modernbert", "mpnet", "qwen2", "qwen3", "roberta", "xlm-roberta"}
)
# Their positions begin after the padding's: of 514, 512 are for tokens.
_OFFSET_POSITIONS = frozenset({"mpnet", "roberta", "xlm-roberta"})
_UNUSED = ("pooler.",)  # a layer over the first token for pretraining tasks, absent from many checkpoints


class Spec(EncoderSpec):
    """A text model of transformers; see the module."""

    modalities: ClassVar[frozenset[Modality]] = frozenset({"text"})
    places: ClassVar[frozenset[str]] = frozenset({"model"})
    network: ClassVar[bool] = True
    gives_states: ClassVar[bool] = True

    type: Literal["hf_text"] = "hf_text"
    model: str = Field(
        min_length=1, description="a folder (with a / in it), or a name that `vitrine models pull` or `add` made"
    )
    precision: Precision = Field("fp32", description="of the weights; bf16 is about twice as fast where it is native")
    pooling: Literal["mean", "cls", "last"] = Field("mean", description="see the model's card; E5 mean, bge cls")
    max_tokens: int = Field(128, ge=1, le=32_768, description="longer texts are cut")
    item_prefix: str = Field("", description="put before products: `passage: ` for E5")
    query_prefix: str = Field("", description="put before queries: `query: ` for E5")

    @classmethod
    def examples(cls, tiny: Callable[[str], str]) -> Sequence[Self]:
        """See EncoderSpec.examples."""
        return [cls(model=tiny("bert"), max_tokens=24)]

    @property
    def dim(self) -> int:
        """The width of the last layer."""
        return _width(_folder(self))

    def provenance(self) -> dict[str, str]:
        """The digest of every file of the model."""
        return _folder(self).digests()

    def reads_tokens(self) -> tuple[Path, int]:
        """See EncoderSpec.reads_tokens."""
        return _folder(self).path, self.max_tokens

    def load(self, device: str) -> HfText:
        """The model on `device`."""
        return HfText(self, device)


class HfText(TextEncoder):
    """Texts of about one length share a batch."""

    micro_batch = 16_384  # texts that are sorted together; a forward takes far fewer of them

    def __init__(self, spec: Spec, device: str) -> None:
        folder = _folder(spec)
        self.dim = self.state_dim = _width(folder)
        self._spec = spec
        self._device = device_of(device)
        folder.verify()
        self._model = load_transformer(folder, self._device, spec.precision, _UNUSED)
        self._tokenizer = Tokenizer(folder.path, spec.max_tokens)
        self._room = token_room(self._device)
        _refuse_too_long(folder, spec.max_tokens, self._tokenizer)

    def forward(self, texts: Sequence[str], role: Role) -> Vectors:
        """(n, dim) float32, unit rows, of texts that have at least one token."""
        return encode_by_length(self._rows(texts, role), lambda rows: self._batch(rows)[0], self._room)

    def forward_states(self, texts: Sequence[str], role: Role) -> Encoded:
        """`forward` with the states of each text's tokens, those that the tokenizer adds included."""
        rows = self._rows(texts, role)

        def batch(some: Sequence[Tokens]) -> Encoded:
            vectors, states = self._batch(some)
            return Encoded(vectors, ragged(states, [len(row) for row in some]))

        return encode_with_states(rows, [row.tobytes() for row in rows], [len(row) for row in rows], batch, self._room)

    def _rows(self, texts: Sequence[str], role: Role) -> list[Tokens]:
        prefix = self._spec.item_prefix if role == "item" else self._spec.query_prefix
        return self._tokenizer.ragged([prefix + text for text in texts])

    def _batch(self, rows: Sequence[Tokens]) -> tuple[Vectors, torch.Tensor]:
        """The vectors of rows, and their states, (n, longest, d)."""
        import torch

        ids, mask = (to_device(array, self._device) for array in pad(rows, self._tokenizer.pad_id))
        with torch.inference_mode():
            states = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
            return unit_rows(_pooled(states.float(), mask, self._spec.pooling)), states


def load_transformer(folder: ModelFolder, device: torch.device, precision: Precision, unused: tuple[str, ...]) -> Any:
    """The model of a checked folder; InputError when its weights leave a layer as it was drawn at random.

    `unused` are beginnings of the names of layers whose output is not read.
    """
    refuse_old_transformers()
    from transformers import AutoModel
    from transformers.utils import logging as notices

    # A bar in the log of a nightly run is noise, and so are warnings of the library's own defaults. What would matter,
    # a layer without weights, is looked for below.
    for silence in (notices.disable_progress_bar, notices.set_verbosity_error):
        cast(Any, silence)()
    model, loading = AutoModel.from_pretrained(
        folder.path,
        dtype=dtype_of(precision, device),
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
    )
    drawn = sorted(name for name in loading["missing_keys"] if not name.startswith(unused))
    if drawn or loading["mismatched_keys"]:
        raise InputError(
            "weights for every layer that config.json names",
            f"{folder.path}: none for {', '.join(drawn[:5]) or loading['mismatched_keys']}",
            "pull the model again, or choose the one that these weights belong to",
        )
    return model.to(device).eval()


def _folder(spec: Spec) -> ModelFolder:
    folder = open_model(spec.model)
    refuse_model_type(folder, MODEL_TYPES)
    return folder


def _width(folder: ModelFolder) -> int:
    width = folder.config.get("hidden_size", folder.config.get("dim"))  # distilbert says `dim`
    if not isinstance(width, int):
        raise InputError("hidden_size in config.json", f"{folder.path}: {width!r}", "pull the model again")
    return width


def _refuse_too_long(folder: ModelFolder, max_tokens: int, tokenizer: Tokenizer) -> None:
    places = int(folder.config.get("max_position_embeddings", tokenizer.limit))
    if folder.config["model_type"] in _OFFSET_POSITIONS:
        places -= tokenizer.pad_id + 1
    longest = min(places, tokenizer.limit)
    if max_tokens > longest:
        raise InputError(f"max_tokens: at most {longest} for {folder.path}", str(max_tokens), "lower it")


def _pooled(states: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """(n, d) of (n, length, d) states and their (n, length) mask; padding stands at the ends of rows."""
    import torch

    if pooling == "cls":
        return states[:, 0]
    if pooling == "last":
        return states[torch.arange(len(states), device=states.device), mask.sum(1) - 1]
    weights = mask[..., None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)
