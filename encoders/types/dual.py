"""Two towers of one transformers model: CLIP, SigLIP, SigLIP2, Chinese-CLIP and their like. One load serves both.

Text is padded as each family was trained and proved:
- causal (CLIP): the vector is read at the end token, which sees nothing after it. So texts end there: sorted by
  length, and padded to the longest of their batch: equal to rounding, and several times as fast.
- masked (Chinese-CLIP, AltCLIP): padding is masked out, so it is kept short in the same way.
- fixed (SigLIP, SigLIP2): the model attends to its padding. Every text is padded to the full length, as in training.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field

from encoders.base import Encoded, EncoderSpec, ImageEncoder, Modality, Role, TextEncoder, TwoTowers
from encoders.models.folders import ModelFolder, open_model, refuse_model_type
from encoders.networks.device import Precision, Room, device_of, distinct, dtype_of, to_device, unit_rows
from encoders.networks.jpeg import decode_photo
from encoders.networks.light_text import LightText, reason_against
from encoders.networks.patches import Patches
from encoders.networks.pixels import (
    PHOTOS,
    Frames,
    check_pixels_here,
    encode_photos,
    framing_of,
    photo_keys,
    pixel_provenance,
    processor_framing,
)
from encoders.networks.states import encode_with_states, ragged
from encoders.networks.token_batches import Tokenizer, Tokens, encode_by_length, pad, token_room
from encoders.networks.token_counts import most_tokens
from encoders.photos.decode import PhotoLimits
from encoders.types.hf_text import load_transformer
from foundation.arrays import Photo, Vectors

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Family:
    """How text is padded, where config.json has the length of vectors, and the defaults that it need not spell out."""

    padding: Literal["causal", "masked", "fixed"]
    dim_key: tuple[str, ...]
    dim_default: int
    positions_default: int


# The defaults are those of transformers' configuration classes.
FAMILIES = {
    "altclip": _Family("masked", ("projection_dim",), 768, 514),
    "chinese_clip": _Family("masked", ("projection_dim",), 512, 512),
    "clip": _Family("causal", ("projection_dim",), 512, 77),
    "metaclip_2": _Family("causal", ("projection_dim",), 512, 77),
    "siglip": _Family("fixed", ("vision_config", "hidden_size"), 768, 64),
    "siglip2": _Family("fixed", ("vision_config", "hidden_size"), 768, 64),
}


class Spec(EncoderSpec):
    """A two-tower model of transformers; see the module. The same spec for text and photos is loaded once."""

    modalities: ClassVar[frozenset[Modality]] = frozenset({"text", "image"})
    places: ClassVar[frozenset[str]] = frozenset({"model"})
    network: ClassVar[bool] = True
    gives_states: ClassVar[bool] = True

    type: Literal["dual"] = "dual"
    model: str = Field(
        min_length=1, description="a folder (with a / in it), or a name that `vitrine models pull` or `add` made"
    )
    precision: Precision = Field("fp32", description="of the weights; bf16 is about twice as fast where it is native")

    @classmethod
    def examples(cls, tiny: Callable[[str], str]) -> Sequence[Self]:
        """See EncoderSpec.examples."""
        return [cls(model=tiny("clip"))]

    @property
    def dim(self) -> int:
        """The length of the vectors of both towers."""
        folder, family = _folder(self)
        value: Any = folder.config
        for key in family.dim_key:
            value = value.get(key, {} if key != family.dim_key[-1] else family.dim_default)
        return int(value)

    def provenance(self) -> dict[str, str]:
        """The digest of every file of the model."""
        return _folder(self)[0].digests()

    def photo_provenance(self) -> dict[str, str]:
        """The decoder and the resizer."""
        return pixel_provenance()

    def reads_tokens(self) -> tuple[Path, int]:
        """See EncoderSpec.reads_tokens."""
        folder, family = _folder(self)
        settings = folder.config.get("text_config")
        said = settings.get("max_position_embeddings") if isinstance(settings, dict) else None
        return folder.path, most_tokens(folder.path, said if isinstance(said, int) else family.positions_default)

    def load(self, device: str) -> Dual:
        """Both towers on `device`."""
        return Dual(self, device)

    def light_text(self, device: str) -> TextEncoder | None:
        """The text tower without torch, of a SigLIP in fp32 on a CPU."""
        folder, _ = _folder(self)
        against = f"the device {device}" if device != "cpu" else None
        against = against or (f"{self.precision} weights" if self.precision != "fp32" else reason_against(folder))
        if against:
            _log.info("queries by text go through torch: %s", against)
            return None
        folder.verify()
        return LightText(folder, self.dim)


class Dual(TwoTowers):
    """One model, two towers."""

    def __init__(self, spec: Spec, device: str) -> None:
        folder, family = _folder(spec)
        self.dim = spec.dim
        folder.verify()
        on = device_of(device)
        model = load_transformer(folder, on, spec.precision, ())
        self.text = DualText(model, folder, family, self.dim)
        self.image = DualImage(model, folder, self.dim, dtype_of(spec.precision, on))


class DualText(TextEncoder):
    """The text tower."""

    micro_batch = 16_384  # texts that are sorted together; a forward takes far fewer of them

    def __init__(self, model: Any, folder: ModelFolder, family: _Family, dim: int) -> None:
        self.dim = dim
        self._model = model
        self._padding = family.padding
        settings = model.config.text_config
        # AltCLIP's states are projected before they are pooled.
        self.state_dim = dim if folder.config["model_type"] == "altclip" else int(settings.hidden_size)
        self._positions = int(getattr(settings, "max_position_embeddings", family.positions_default))
        if folder.config["model_type"] == "altclip":  # XLM-R: its positions begin after the padding's
            self._positions -= int(settings.pad_token_id) + 1
        self._tokenizer = Tokenizer(folder.path, self._positions)
        self._end = settings.eos_token_id
        self._room = token_room(model.device)

    def forward(self, texts: Sequence[str], role: Role) -> Vectors:
        """(n, dim) float32, unit rows, of texts that have at least one token; products and queries alike."""
        if self._padding == "fixed":
            return self._fixed(texts)
        rows = self._tokenizer.ragged(texts)
        return encode_by_length(rows, lambda some: unit_rows(self._batch(some).pooler_output), self._room)

    def forward_states(self, texts: Sequence[str], role: Role) -> Encoded:
        """`forward` with the states of each text's tokens, its start and end included; padding is left out, also where
        the model attends to it.
        """
        rows = self._tokenizer.ragged(texts)
        lengths = [self._tokenizer.max_tokens if self._padding == "fixed" else len(row) for row in rows]
        numbered = list(zip(texts, rows, strict=True))

        def batch(some: Sequence[tuple[str, Tokens]]) -> Encoded:
            if self._padding == "fixed":
                output = self._output(**self._tokenizer.padded([text for text, _ in some]))
            else:
                output = self._batch([row for _, row in some])
            states = ragged(output.last_hidden_state, [len(row) for _, row in some])
            return Encoded(unit_rows(output.pooler_output), states)

        return encode_with_states(numbered, texts, lengths, batch, self._room)

    def _batch(self, rows: Sequence[Tokens]) -> Any:
        # transformers reads a causal row at its largest id if the config says that the end is 2 (old ones), else at
        # its first end token. 0 is neither, so it may stand after the end, unless it is the end.
        pad_id = self._tokenizer.pad_id if self._padding == "masked" else int(self._end == 0)
        ids, mask = pad(rows, pad_id)
        return self._output(input_ids=ids, attention_mask=mask)

    def _fixed(self, texts: Sequence[str]) -> Vectors:
        firsts, inverse = distinct(texts)
        padded = self._tokenizer.padded([texts[i] for i in firsts])
        rows = range(len(firsts))

        def batch(some: Sequence[int]) -> Vectors:
            output = self._output(**{name: array[some[0] : some[-1] + 1] for name, array in padded.items()})
            return unit_rows(output.pooler_output)

        vectors: Vectors = self._room.encode(batch, rows, [self._tokenizer.max_tokens] * len(rows))[inverse]
        return vectors

    def _output(self, **arrays: Tokens) -> Any:
        import torch

        inputs = {name: to_device(array, self._model.device) for name, array in arrays.items()}
        with torch.inference_mode():
            return self._model.get_text_features(**inputs)


class DualImage(ImageEncoder):
    """The image tower."""

    def __init__(self, model: Any, folder: ModelFolder, dim: int, dtype: torch.dtype) -> None:
        self.dim, self.state_dim = dim, int(model.config.vision_config.hidden_size)
        self._model, self._dtype = model, dtype
        self._pixels = _pixels(folder)
        check_pixels_here()
        self.micro_batch = PHOTOS[model.device.type]
        self._room = Room(self.micro_batch)

    def decode(self, raw: bytes, limits: PhotoLimits) -> Photo:
        """(h, w, 3) uint8 RGB of an image file, or PhotoError."""
        return decode_photo(raw, limits)

    def prepare(self, photo: Photo) -> Photo:
        """(height, width, 3) uint8: resized and cropped as the model's own image processor does."""
        return self._pixels.prepare(photo)

    def forward(self, prepared: Sequence[Any]) -> Vectors:
        """(n, dim) float32, unit rows, of prepared photos; equal ones are encoded once."""
        return encode_photos(prepared, lambda photos: self._batch(photos).vectors, self._room)

    def forward_states(self, prepared: Sequence[Any]) -> Encoded:
        """`forward` with the states of each photo's patches, and of a class token where the model has one."""
        return encode_with_states(
            prepared, photo_keys(prepared), [1] * len(prepared), lambda photos: self._batch(photos, True), self._room
        )

    def _batch(self, photos: Sequence[Photo], states: bool = False) -> Encoded:
        import torch

        inputs = self._pixels.inputs(photos, self._model.device, self._dtype)
        with torch.inference_mode():
            output = self._model.get_image_features(**inputs)
        vectors = unit_rows(output.pooler_output)
        if not states:
            return Encoded(vectors, [])
        found = output.last_hidden_state
        mask = inputs.get("pixel_attention_mask")  # of SigLIP2's NaFlex, which pads to one number of patches
        lengths = [found.shape[1]] * len(photos) if mask is None else mask.sum(1).tolist()
        return Encoded(vectors, ragged(found, lengths))


def _folder(spec: Spec) -> tuple[ModelFolder, _Family]:
    folder = open_model(spec.model)
    return folder, FAMILIES[refuse_model_type(folder, FAMILIES)]


def _pixels(folder: ModelFolder) -> Frames | Patches:
    """The settings of the folder's own image processor."""
    from transformers import AutoImageProcessor

    from_pretrained: Any = AutoImageProcessor.from_pretrained
    processor = from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
    if folder.config["model_type"] == "siglip2":  # NaFlex; SigLIP2 of one resolution calls itself siglip
        side = int(processor.patch_size)
        framing = framing_of(processor, folder.path, (side, side), None)
        return Patches(framing, side, int(processor.max_num_patches))
    return Frames(processor_framing(processor, folder.path))
