"""Photos through any timm backbone (ResNet, VGG, ViT, DINOv2, ConvNeXt, ...), framed as its own folder says.

The folder is laid out as timm's on the hub: `config.json` with the architecture and its `pretrained_cfg`, and
`model.safetensors`. The vector is what the model gives without its classifier.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field

from encoders.base import Encoded, EncoderSpec, ImageEncoder, Modality
from encoders.models.folders import WEIGHTS, ModelFolder, open_model
from encoders.networks.device import Precision, Room, device_of, dtype_of, unit_rows
from encoders.networks.jpeg import decode_photo
from encoders.networks.pixels import (
    Filter,
    Frames,
    Framing,
    check_pixels_here,
    encode_photos,
    photo_keys,
    photos_at_once,
    pixel_provenance,
)
from encoders.networks.states import encode_with_states, ragged
from encoders.photos.decode import PhotoLimits
from foundation.arrays import Photo, Vectors
from foundation.errors import InputError

if TYPE_CHECKING:
    import torch

_FILTERS: dict[str, Filter] = {"bilinear": "bilinear", "bicubic": "bicubic"}


class Spec(EncoderSpec):
    """A timm backbone; see the module."""

    modalities: ClassVar[frozenset[Modality]] = frozenset({"image"})
    places: ClassVar[frozenset[str]] = frozenset({"model"})
    network: ClassVar[bool] = True
    gives_states: ClassVar[bool] = True

    type: Literal["timm_image"] = "timm_image"
    model: str = Field(
        min_length=1, description="a folder (with a / in it), or a name that `vitrine models pull` or `add` made"
    )
    precision: Precision = Field("fp32", description="of the weights; bf16 is about twice as fast where it is native")

    @classmethod
    def examples(cls, tiny: Callable[[str], str]) -> Sequence[Self]:
        """See EncoderSpec.examples."""
        return [cls(model=tiny("mobilenetv3_small_050"))]

    @property
    def dim(self) -> int:
        """What the classifier took, by the shape of its weights; without one, the features that config.json counts."""
        return _width(_folder(self))

    def provenance(self) -> dict[str, str]:
        """The digest of every file of the model."""
        return _folder(self).digests()

    def photo_provenance(self) -> dict[str, str]:
        """The decoder and the resizer."""
        return pixel_provenance()

    def load(self, device: str) -> TimmImage:
        """The backbone on `device`."""
        return TimmImage(self, device)


class TimmImage(ImageEncoder):
    """The backbone without its classifier."""

    def __init__(self, spec: Spec, device: str) -> None:
        import torch

        folder = _folder(spec)
        self.dim = _width(folder)
        self._device = device_of(device)
        self._dtype = dtype_of(spec.precision, self._device)
        folder.verify()
        model: Any = _backbone(folder)
        self._frames = Frames(_framing(model, folder))
        self._model = model.to(self._device, self._dtype).eval()
        check_pixels_here()
        self.micro_batch = photos_at_once(self._model, self._device)
        self._room = Room(self.micro_batch)
        with torch.inference_mode():
            sides = self._frames.framing.crop or (0, 0)
            features = self._model.forward_features(torch.zeros(1, 3, *sides, device=self._device, dtype=self._dtype))
            found = tuple(self._model.forward_head(features).shape)
        # Networks of several branches (CrossViT, CoaT) give a list: pooled vectors, but no states of one length.
        self.state_dim = int(self._states(features).shape[2]) if isinstance(features, torch.Tensor) else 0
        if found != (1, self.dim):
            came = f"{folder.path}: outputs of {found[1:]}"
            raise InputError(f"one vector of {self.dim} per photo", came, "choose a model with a pooled output")

    def decode(self, raw: bytes, limits: PhotoLimits) -> Photo:
        """(h, w, 3) uint8 RGB of an image file, or PhotoError."""
        return decode_photo(raw, limits)

    def prepare(self, photo: Photo) -> Photo:
        """(height, width, 3) uint8: resized and cropped as timm's transform for evaluation does."""
        return self._frames.prepare(photo)

    def forward(self, prepared: Sequence[Any]) -> Vectors:
        """(n, dim) float32, unit rows, of prepared photos; equal ones are encoded once."""
        return encode_photos(prepared, lambda photos: self._batch(photos)[0], self._room)

    def forward_states(self, prepared: Sequence[Any]) -> Encoded:
        """`forward` with the states of each photo's patches, or of the places of a convolutional network's last map."""
        if not self.state_dim:
            came = f"{self._model.__class__.__name__}, whose branches have states of their own"
            raise InputError("a network with one sequence of states", came, "choose another fusion, or another model")

        def batch(photos: Sequence[Photo]) -> Encoded:
            vectors, features = self._batch(photos)
            states = self._states(features)
            return Encoded(vectors, ragged(states, [states.shape[1]] * len(photos)))

        return encode_with_states(prepared, photo_keys(prepared), [1] * len(prepared), batch, self._room)

    def _batch(self, photos: Sequence[Photo]) -> tuple[Vectors, torch.Tensor]:
        """The vectors of photos, and what the model pools to get them."""
        import torch

        inputs = self._frames.inputs(photos, self._device, self._dtype)
        with torch.inference_mode():
            features = self._model.forward_features(inputs["pixel_values"])
            return unit_rows(self._model.forward_head(features)), features

    def _states(self, features: torch.Tensor) -> torch.Tensor:
        """(n, places, s) of what `forward_features` gives: that already, or maps whose channels come first, or last."""
        if features.ndim == 3:
            return features
        last = getattr(self._model, "output_fmt", "NCHW") == "NHWC"  # Swin and its like say so
        return features.flatten(1, 2) if last else features.flatten(2).transpose(1, 2)


def _folder(spec: Spec) -> ModelFolder:
    folder = open_model(spec.model)
    if not isinstance(folder.config.get("architecture"), str) or not (folder.path / WEIGHTS).is_file():
        raise InputError(
            f"a timm model: `architecture` in config.json, and {WEIGHTS}",
            f"{folder.path}: model_type {folder.config.get('model_type')!r}",
            "pull a timm model, or use another `type:` of encoder",
        )
    return folder


def _width(folder: ModelFolder) -> int:
    config = folder.config
    classifier = config.get("pretrained_cfg", config).get("classifier")
    name = classifier[0] if isinstance(classifier, list) else classifier
    shape = _shapes(folder).get(f"{name}.weight")
    width = shape[1] if shape else config.get("num_features")
    if not isinstance(width, int):
        came = f"{folder.path}: num_features {width!r}, no weights of a classifier {name!r}"
        raise InputError("the width of the features in config.json", came, "save the model with timm 1.0 or newer")
    return width


def _shapes(folder: ModelFolder) -> dict[str, list[int]]:
    """The shape of each tensor, from the header of the weights: 8 bytes of its length, then JSON."""
    with (folder.path / WEIGHTS).open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return {name: tensor["shape"] for name, tensor in header.items() if name != "__metadata__"}


def _backbone(folder: ModelFolder) -> torch.nn.Module:
    """The architecture with the folder's weights; timm refuses weights that do not fit."""
    import timm

    if not timm.is_model(folder.config["architecture"]):
        came = f"{folder.path}: architecture {folder.config['architecture']!r}"
        raise InputError(f"an architecture of timm {timm.__version__}", came, "upgrade timm, or choose another model")
    # The absolute path, or timm takes it for an id on the hub.
    model: torch.nn.Module = timm.create_model(f"local-dir:{folder.path.resolve()}", pretrained=True, num_classes=0)
    return model


def _framing(model: Any, folder: ModelFolder) -> Framing:
    """timm's transform for evaluation, as numbers (timm.data.transforms_imagenet_eval)."""
    import timm.data.config

    resolve: Any = timm.data.config.resolve_data_config
    settings = resolve(model=model)
    height, width = settings["input_size"][1:]
    scaled = tuple(math.floor(side / settings["crop_pct"]) for side in (height, width))
    if settings["interpolation"] not in _FILTERS or settings["input_size"][0] != 3:
        raise _unknown(folder, settings)
    if settings["crop_mode"] == "squash":
        size: tuple[int, int] | int = (scaled[0], scaled[1])
    elif settings["crop_mode"] == "center" and height == width:
        size = scaled[0]
    else:
        raise _unknown(folder, settings)
    mean, std = tuple(settings["mean"]), tuple(settings["std"])
    return Framing(size, (height, width), _FILTERS[settings["interpolation"]], mean, std, rounds=True)


def _unknown(folder: ModelFolder, settings: dict[str, Any]) -> InputError:
    return InputError(
        "RGB photos resized (bilinear or bicubic) and cropped at the centre to a square",
        f"pretrained_cfg of {folder.path}: {settings}",
        "choose another model",
    )
