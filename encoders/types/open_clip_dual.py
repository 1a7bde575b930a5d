"""Two towers of an open_clip model: Marqo-Ecommerce, PE-Core and their like. One load serves both.

The folder is laid out as open_clip's on the hub: `open_clip_config.json`, `open_clip_model.safetensors`, and the
tokenizer's files unless the config names none (then it is the one inside open_clip). open_clip itself builds the model
and the tokenizer from that folder; parts that it would fetch from the hub are refused. Every text is padded to the full
length, as in training. Needs the extra `open-clip`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field

from encoders.base import EncoderSpec, ImageEncoder, Modality, Role, TextEncoder, TwoTowers
from encoders.models.folders import OPEN_CLIP_CONFIG, ModelFolder, open_model, refuse_old_transformers
from encoders.networks.device import Precision, Room, device_of, distinct, dtype_of, unit_rows
from encoders.networks.jpeg import decode_photo
from encoders.networks.pixels import (
    Filter,
    Frames,
    Framing,
    check_pixels_here,
    encode_photos,
    photos_at_once,
    pixel_provenance,
)
from encoders.networks.token_batches import token_room
from encoders.photos.decode import PhotoLimits
from foundation.arrays import Photo, Vectors
from foundation.errors import InputError
from foundation.extras import install
from foundation.machine import machine_fault

if TYPE_CHECKING:
    import torch

_FILTERS: dict[str, Filter] = {"bilinear": "bilinear", "bicubic": "bicubic", "random": "bicubic"}
_TOKENIZER_KEYS = frozenset({"clean", "strip_sep_token"})  # how text is cleaned; others choose files and code


class Spec(EncoderSpec):
    """A two-tower model of open_clip; see the module. The same spec for text and photos is loaded once."""

    modalities: ClassVar[frozenset[Modality]] = frozenset({"text", "image"})
    places: ClassVar[frozenset[str]] = frozenset({"model"})
    network: ClassVar[bool] = True
    package: ClassVar[str | None] = "open_clip"

    type: Literal["open_clip_dual"] = "open_clip_dual"
    model: str = Field(
        min_length=1, description="a folder (with a / in it), or a name that `vitrine models pull` or `add` made"
    )
    precision: Precision = Field("fp32", description="of the weights; bf16 is about twice as fast where it is native")

    @classmethod
    def examples(cls, tiny: Callable[[str], str]) -> Sequence[Self]:
        """See EncoderSpec.examples."""
        return [cls(model=tiny("open_clip"))]

    @property
    def dim(self) -> int:
        """The length of the vectors of both towers."""
        return int(_model_config(_folder(self))["embed_dim"])

    def provenance(self) -> dict[str, str]:
        """The digest of every file of the model; open_clip's version has its tokenizer."""
        folder = _folder(self)
        inside = {} if _named_tokenizer(folder) else {"tokenizer": f"open_clip {_installed()}"}
        return {**folder.digests(), **inside}

    def photo_provenance(self) -> dict[str, str]:
        """The decoder and the resizer."""
        return pixel_provenance()

    def load(self, device: str) -> OpenClipDual:
        """Both towers on `device`."""
        return OpenClipDual(self, device)


class OpenClipDual(TwoTowers):
    """One model, two towers."""

    def __init__(self, spec: Spec, device: str) -> None:
        folder = _folder(spec)
        _installed()
        refuse_old_transformers()
        self.dim = spec.dim
        on = device_of(device)
        folder.verify()
        model = _model(folder, on, spec.precision)
        self.text = OpenClipText(model, folder, self.dim, on)
        self.image = OpenClipImage(model, folder, self.dim, on, dtype_of(spec.precision, on))


class OpenClipText(TextEncoder):
    """The text tower."""

    micro_batch = 16_384  # texts of which equal ones are found; a forward takes far fewer of them

    def __init__(self, model: Any, folder: ModelFolder, dim: int, device: torch.device) -> None:
        import open_clip

        self.dim = dim
        self._model, self._device = model, device
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        self._tokenizer: Any = open_clip.get_tokenizer(_local(folder), **(local if _named_tokenizer(folder) else {}))
        self._length = int(self._tokenizer.context_length)
        self._room = token_room(device)
        self._one_at_a_time = Lock()  # the tokenizer's truncation is set in each call

    def forward(self, texts: Sequence[str], role: Role) -> Vectors:
        """(n, dim) float32, unit rows, of texts that have at least one token; products and queries alike."""
        firsts, inverse = distinct(texts)
        with self._one_at_a_time:
            tokens = self._tokenizer([texts[i] for i in firsts])

        def batch(rows: Sequence[int]) -> Vectors:
            import torch

            with torch.inference_mode():
                return unit_rows(self._model.encode_text(tokens[rows[0] : rows[-1] + 1].to(self._device)))

        rows = range(len(firsts))
        vectors: Vectors = self._room.encode(batch, rows, [self._length] * len(rows))[inverse]
        return vectors


class OpenClipImage(ImageEncoder):
    """The photo tower."""

    def __init__(self, model: Any, folder: ModelFolder, dim: int, device: torch.device, dtype: torch.dtype) -> None:
        self.dim = dim
        self._model, self._device, self._dtype = model, device, dtype
        self._frames = Frames(_framing(model.visual.preprocess_cfg, folder))
        check_pixels_here()
        self.micro_batch = photos_at_once(model.visual, device)
        self._room = Room(self.micro_batch)

    def decode(self, raw: bytes, limits: PhotoLimits) -> Photo:
        """(h, w, 3) uint8 RGB of an image file, or PhotoError."""
        return decode_photo(raw, limits)

    def prepare(self, photo: Photo) -> Photo:
        """(height, width, 3) uint8: resized and cropped as open_clip's transform for inference does."""
        return self._frames.prepare(photo)

    def forward(self, prepared: Sequence[Any]) -> Vectors:
        """(n, dim) float32, unit rows, of prepared photos; equal ones are encoded once."""
        return encode_photos(prepared, self._batch, self._room)

    def _batch(self, photos: Sequence[Photo]) -> Vectors:
        import torch

        inputs = self._frames.inputs(photos, self._device, self._dtype)
        with torch.inference_mode():
            return unit_rows(self._model.encode_image(inputs["pixel_values"]))


def _folder(spec: Spec) -> ModelFolder:
    """The checked folder; InputError for parts that would come from elsewhere, or have not two towers."""
    folder = open_model(spec.model, OPEN_CLIP_CONFIG)
    config = _model_config(folder)
    text, vision = config["text_cfg"], config["vision_cfg"]
    if text.get("hf_model_name"):
        raise _refused(folder, f"text_cfg.hf_model_name {text['hf_model_name']!r}")
    if set("/:") & set(str(vision.get("timm_model_name", ""))):
        raise _refused(folder, f"vision_cfg.timm_model_name {vision['timm_model_name']!r}")
    if "multimodal_cfg" in config:
        raise _refused(folder, "multimodal_cfg, a third tower")
    strange = sorted(text.get("tokenizer_kwargs", {}).keys() - _TOKENIZER_KEYS)
    if strange:
        raise _refused(folder, f"text_cfg.tokenizer_kwargs {', '.join(strange)}")
    if _named_tokenizer(folder) and not list(folder.path.glob("tokenizer*.json")):
        came = f"{folder.path}: none, and hf_tokenizer_name {text['hf_tokenizer_name']!r} is elsewhere"
        raise InputError("the tokenizer's files in the folder", came, "pull the model again, or add its tokenizer")
    return folder


def _model_config(folder: ModelFolder) -> dict[str, Any]:
    config: Any = folder.config.get("model_cfg")
    whole = isinstance(config, dict) and isinstance(config.get("embed_dim"), int)
    if not whole or not all(isinstance(config.get(tower), dict) for tower in ("text_cfg", "vision_cfg")):
        came = f"{folder.path / OPEN_CLIP_CONFIG}: model_cfg {str(config)[:80]}"
        raise InputError("model_cfg with embed_dim, text_cfg and vision_cfg", came, "pull the model again")
    return dict(config)


def _named_tokenizer(folder: ModelFolder) -> bool:
    """Whether the tokenizer is one of transformers; its files are then in the folder, whatever name the config has."""
    return bool(_model_config(folder)["text_cfg"].get("hf_tokenizer_name"))


def _refused(folder: ModelFolder, came: str) -> InputError:
    return InputError(
        "an open_clip model of two towers, all of it in its folder",
        f"{folder.path / OPEN_CLIP_CONFIG}: {came}",
        "choose another model",
    )


def _installed() -> str:
    """The version of open_clip; InputError where it is absent."""
    try:
        if find_spec("open_clip") is None:
            raise PackageNotFoundError
        return version("open_clip_torch")
    except PackageNotFoundError as err:
        raise InputError(
            "the package open_clip_torch for `type: open_clip_dual`", "not installed", install("open-clip")
        ) from err


def _local(folder: ModelFolder) -> str:
    return f"local-dir:{folder.path.resolve()}"


def _model(folder: ModelFolder, device: torch.device, precision: Precision) -> Any:
    """open_clip loads strictly: weights that are missing or too many are an error."""
    import open_clip

    pure: Any = {"fp32": "fp32", "bf16": "pure_bf16"}[precision]
    dtype_of(precision, device)  # warns where bf16 is slow
    try:
        model = open_clip.create_model(_local(folder), precision=pure, device="cpu", require_pretrained=True)
    except (RuntimeError, TypeError, ValueError) as err:
        came = f"{folder.path}: {str(err)[:300]}"
        fix = "pull the model again, or upgrade open_clip_torch"
        raise machine_fault(err) or InputError(
            f"a model that open_clip {_installed()} builds from its folder", came, fix
        ) from err
    return model.to(device).eval()


def _framing(settings: dict[str, Any], folder: ModelFolder) -> Framing:
    """open_clip's transform for inference, as numbers (open_clip.transform.image_transform)."""
    size = settings["size"]
    height, width = (size, size) if isinstance(size, int) else tuple(size)
    filter_name = _FILTERS.get(settings["interpolation"])
    mean, std = tuple(settings["mean"]), tuple(settings["std"])
    if filter_name and settings["resize_mode"] == "squash":
        return Framing((height, width), None, filter_name, mean, std)
    if filter_name and settings["resize_mode"] == "shortest" and height == width:
        return Framing(height, (height, width), filter_name, mean, std, rounds=True)
    raise InputError(
        "photos squashed, or resized by the shorter side and cropped to a square (bilinear or bicubic)",
        f"preprocess_cfg of {folder.path}: {settings}",
        "choose another model",
    )
