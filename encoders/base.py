"""What every encoder is: a spec (data) that loads a live encoder, and micro-batches around one short method.

To add an encoder, add `encoders/types/<type>.py` with a class `Spec(EncoderSpec)`; `type: <type>` in a config names the
file, and all that is to be known of the type stands there, also a small example of it for tests.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self, TypeVar

import numpy as np
import PIL
from pydantic import BaseModel, ConfigDict

import encoders.types
from encoders.models.folders import changed_model, pins_of
from encoders.photos.decode import PhotoLimits, decode
from encoders.photos.golden import pixel_digests
from foundation.arrays import Photo, Vectors
from foundation.errors import InputError, VitrineError
from foundation.identity import identity_of, parts_of
from foundation.liveness import beat
from foundation.machine import machine_fault
from foundation.named_types import spec_class, types_in

_COMPUTE = ("torch", "torchcodec", "transformers", "tokenizers", "timm")  # whose versions are told of networks
Modality = Literal["text", "image"]
Role = Literal["item", "query"]


class Encoded(NamedTuple):
    """Rows of one tower: (n, dim) float32 unit rows, and the states that they were pooled from, where asked for.

    The states of a row are (length, state_dim) float32: one of each token of a text, padding left out, or of each patch
    of a photo, as the model's last layer gives them. Equal rows may share one array: do not write into it.
    """

    vectors: Vectors
    states: list[Vectors]  # n arrays, or none


class RowText(NamedTuple):
    """The text of a product: all of it, and what single columns say; None: nothing."""

    whole: str
    fields: Mapping[str, str | None]


class EncoderSpec(BaseModel):
    """What makes two encoders the same: frozen, its fields are its YAML keys, pickled, hashed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    modalities: ClassVar[frozenset[Modality]]
    version: ClassVar[int] = 1  # raised when the code computes other numbers from the same fields
    places: ClassVar[frozenset[str]] = frozenset()  # fields that say where files lie: their content decides, not these
    network: ClassVar[bool] = False  # whether its encoders take all cores of a CPU, and much memory, by themselves
    cpu_only: ClassVar[bool] = False  # whether it computes on no other device
    gives_states: ClassVar[bool] = False  # whether its encoders have `forward_states`, which some fusions read
    package: ClassVar[str | None] = None  # what its encoders import that an extra of its own installs

    type: str

    if TYPE_CHECKING:
        # A field or a property of the subclass. Declared for the reader only: pydantic cannot make a field of a name
        # that a base class defines (it warns, and the field reads None).
        @property
        def dim(self) -> int:
            """Length of the vectors, known without loading anything."""

    @classmethod
    def examples(cls, tiny: Callable[[str], str]) -> Sequence[Self]:
        """Small specs, one for each way in which its code differs, which tests put to their proofs; by default one of
        the defaults. `tiny` gives the folder of a small model of drawn weights, by the name of its family.
        """
        return [cls.model_validate({})]

    def provenance(self) -> dict[str, str]:
        """What else decides the numbers: digests of weights."""
        return {}

    def photo_provenance(self) -> dict[str, str]:
        """What decides the pixels that photos become: the names of decoder and resizer. Texts do not depend on it."""
        return {}

    def reads_tokens(self) -> tuple[Path, int] | None:
        """The folder of the tokenizer, and how many tokens of a text are read; None where a text has no end."""
        return None

    @property
    def members(self) -> tuple[EncoderSpec, ...]:
        """The encoders that have weights of their own: itself, or those that it joins."""
        return (self,)

    @property
    def joined(self) -> tuple[EncoderSpec, ...]:
        """The encoders whose vectors stand side by side in its own; none: it joins nothing."""
        return ()

    @property
    def text_fields(self) -> tuple[str, ...]:
        """The columns of a product's text that it reads by themselves; none: it reads the whole text."""
        return ()

    @property
    def reads_whole(self) -> bool:
        """Whether something of it reads the whole text of a product."""
        return True

    @property
    def identity(self) -> str:
        """64 hex digits: equal exactly when two encoders give the same vectors for the same input."""
        others = {**self.provenance(), **self.photo_provenance()}
        return identity_of({"fields": self._fields(), "version": self.version, **others})

    @property
    def parts(self) -> dict[str, str]:
        """What `identity` is made of, by name: fields, version, files and pixels. Equal exactly when identities are."""
        return self.parts_for("image" if "image" in self.modalities else "text")

    def parts_for(self, modality: Modality) -> dict[str, str]:
        """The parts that decide the vectors of one modality."""
        pixels = pixel_digests() if modality == "image" else {}
        return parts_of(self._fields(), self.version, {**self.provenance(), **pixels})

    def about(self) -> dict[str, str]:
        """What stands beside the parts, for people: where the model lies, and the versions of what computes. Vectors
        may be equal where these are not.
        """
        model = getattr(self, "model", None)
        where = {"model": str(model)} if model is not None else {}
        pillow = {"Pillow": PIL.__version__} if "image" in self.modalities else {}
        return {**where, **pillow, **{name: version(name) for name in (_COMPUTE if self.network else ())}}

    def _fields(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude=set(self.places))

    @abstractmethod
    def load(self, device: str) -> Encoder:
        """The live encoder on `device` (`cpu`, `cuda`, `cuda:1`); the only place that may import torch."""

    def light_text(self, device: str) -> TextEncoder | None:
        """The text tower without torch, for queries: the vectors of `load`, to rounding. None where there is none."""
        return None


class Encoder(ABC):
    """A loaded encoder. `dim` is the length of its vectors, `state_dim` that of its states, 0 where it has none; it is
    called from several threads.
    """

    dim: int
    state_dim: int = 0


class TextEncoder(Encoder):
    """Texts -> (n, dim) float32, unit rows."""

    micro_batch: int = 1024

    @abstractmethod
    def forward(self, texts: Sequence[str], role: Role) -> Vectors:
        """(n, dim) float32, unit rows, of at most `micro_batch` non-empty cleaned texts."""

    def encode(self, texts: Sequence[str], role: Role = "item") -> Vectors:
        """(n, dim) float32, unit rows. The result does not depend on how texts are grouped."""
        out = np.empty((len(texts), self.dim), dtype=np.float32)
        for start in range(0, len(texts), self.micro_batch):
            chunk = texts[start : start + self.micro_batch]
            out[start : start + len(chunk)] = _checked(self.forward(chunk, role), len(chunk), self.dim)
        return out

    def encode_rows(self, rows: Sequence[RowText]) -> Vectors:
        """(n, dim) float32, unit rows, of products' texts; by an encoder that reads `text_fields`, each by itself."""
        return self.encode([row.whole for row in rows])

    def forward_states(self, texts: Sequence[str], role: Role) -> Encoded:
        """`forward` with the states of each text; offered by encoders whose spec `gives_states`."""
        raise _stateless(self)

    def encode_states(self, texts: Sequence[str], role: Role = "item") -> Encoded:
        """`encode` with the states of each text, (tokens, state_dim) float32. Memory holds the states of all of them:
        call it with a few hundred.
        """
        parts = (texts[start : start + self.micro_batch] for start in range(0, len(texts), self.micro_batch))
        return _joined([(self.forward_states(part, role), len(part)) for part in parts], self)


class ImageEncoder(Encoder):
    """Photos -> (n, dim) float32, unit rows."""

    micro_batch: int = 64

    def decode(self, raw: bytes, limits: PhotoLimits) -> Photo:
        """(h, w, 3) uint8 RGB of an image file, or PhotoError; runs in decoding threads.

        By Pillow. An encoder with a faster decoder overrides this, and names that one in its spec's `photo_provenance`.
        """
        return decode(raw, limits)

    @abstractmethod
    def prepare(self, photo: Photo) -> Any:
        """What `forward` needs of one (h, w, 3) uint8 RGB photo; runs in decoding threads: release the GIL."""

    @abstractmethod
    def forward(self, prepared: Sequence[Any]) -> Vectors:
        """(n, dim) float32, unit rows, of at most `micro_batch` prepared photos."""

    def encode(self, photos: Sequence[Photo]) -> Vectors:
        """(n, dim) float32, unit rows. The result does not depend on how photos are grouped."""
        return self.encode_prepared([self.prepare(photo) for photo in photos])

    def encode_prepared(self, prepared: Sequence[Any]) -> Vectors:
        """(n, dim) float32, unit rows, of what `prepare` returned."""
        out = np.empty((len(prepared), self.dim), dtype=np.float32)
        for start in range(0, len(prepared), self.micro_batch):
            chunk = prepared[start : start + self.micro_batch]
            out[start : start + len(chunk)] = _checked(self.forward(chunk), len(chunk), self.dim)
        return out

    def forward_states(self, prepared: Sequence[Any]) -> Encoded:
        """`forward` with the states of each photo; offered by encoders whose spec `gives_states`."""
        raise _stateless(self)

    def encode_prepared_states(self, prepared: Sequence[Any]) -> Encoded:
        """`encode_prepared` with the states of each photo, (patches, state_dim) float32."""
        parts = (prepared[start : start + self.micro_batch] for start in range(0, len(prepared), self.micro_batch))
        return _joined([(self.forward_states(part), len(part)) for part in parts], self)


class TwoTowers(Encoder):
    """A live model with both towers; `load_text` and `load_image` hand out the one that is wanted."""

    text: TextEncoder
    image: ImageEncoder


def encoder_types() -> list[str]:
    """The names that `type:` can have: every module of this package that defines a `Spec`."""
    return types_in(encoders.types.__path__)


def encoder_class(name: Any) -> type[EncoderSpec]:
    """The class `Spec` of the module that `name` names; InputError for an unknown one."""
    spec: type[EncoderSpec] = spec_class(encoders.types, name)
    return spec


def encoder_spec(fields: dict[str, Any]) -> EncoderSpec:
    """The spec that YAML `fields` describe; pydantic.ValidationError, or InputError for an unknown type."""
    return encoder_class(fields.get("type")).model_validate(fields)


def load(spec: EncoderSpec, device: str) -> Encoder:
    """The live encoder of `spec`, loaded once per process and device, shared by threads.

    InputError for a device that it does not compute on; VitrineError when the files that make its identity are others
    by the time that they are loaded.
    """
    if spec.cpu_only and device != "cpu":
        raise InputError(f"cpu, because {spec.type} runs on the CPU", device, "set encoders.device=cpu")
    with _loading:
        with _unchanged(spec):
            key = (spec.identity, device)
            live = _loaded[key] if key in _loaded else _live(spec, spec.load, device)
        _loaded[key] = live
    return live


def load_member(spec: EncoderSpec, device: str) -> Encoder:
    """The live encoder of `spec` for one that joins several, while that is loaded; errors are those of `load`."""
    with _unchanged(spec):
        return _live(spec, spec.load, device)


def load_text(spec: EncoderSpec, device: str) -> TextEncoder:
    """The live text tower of `spec`; equal specs of text and photos share one model."""
    encoder = load(spec, device)
    tower = encoder.text if isinstance(encoder, TwoTowers) else encoder
    if not isinstance(tower, TextEncoder):
        raise InputError("an encoder of texts", f"type: {spec.type!r}", "use it for photos, or name another type")
    return tower


def load_query_text(spec: EncoderSpec, device: str) -> TextEncoder:
    """The live text tower of `spec` for queries, loaded once per process: without torch where that is possible."""
    with _loading:
        with _unchanged(spec):
            key = (identity_of(spec.parts_for("text")), device)
            light = _light[key] if key in _light else _live(spec, spec.light_text, device)
        _light[key] = light
    return load_text(spec, device) if light is None else light


def load_image(spec: EncoderSpec, device: str) -> ImageEncoder:
    """The live image tower of `spec`; equal specs of text and photos share one model."""
    encoder = load(spec, device)
    tower = encoder.image if isinstance(encoder, TwoTowers) else encoder
    if not isinstance(tower, ImageEncoder):
        raise InputError("an encoder of photos", f"type: {spec.type!r}", "use it for texts, or name another type")
    return tower


Live = TypeVar("Live")


_loaded: dict[tuple[str, str], Encoder] = {}
_light: dict[tuple[str, str], TextEncoder | None] = {}  # None: there is none, and `_loaded` has the tower
_loading = threading.Lock()


@contextmanager
def _unchanged(spec: EncoderSpec) -> Iterator[None]:
    """The body tells an encoder's identity and loads it: of the same files, or VitrineError."""
    models = [str(getattr(spec, name)) for name in sorted(spec.places)]
    before = [pins_of(model) for model in models]
    yield
    for model, pins in zip(models, before, strict=True):
        if pins_of(model) != pins:
            raise changed_model(model)


def _live(spec: EncoderSpec, load: Callable[[str], Live], device: str) -> Live:
    """What `load` of `spec` gives; what a library says of a damaged folder becomes an InputError that names it."""
    try:
        return load(device)
    except Exception as err:
        fault = machine_fault(err)
        where = ", ".join(str(getattr(spec, name)) for name in sorted(spec.places))
        known = isinstance(err, VitrineError) or (isinstance(err, OSError) and err.errno is not None)
        if fault is None and (known or not where):
            raise
        said = (str(err).strip().splitlines() or [""])[0][:300]
        fix = "restore the files of that folder, or bring it anew: vitrine models pull, or vitrine models add"
        raise fault or InputError(
            f"a model that `type: {spec.type}` can load", f"{where}: {type(err).__name__}: {said}", fix
        ) from err


def _stateless(encoder: Encoder) -> InputError:
    fix = "choose another fusion, or an encoder whose spec has gives_states"
    return InputError("an encoder that gives the states of tokens or patches", type(encoder).__name__, fix)


def _checked(vectors: Vectors, n: int, dim: int) -> Vectors:
    beat()  # a micro-batch is done
    if vectors.shape != (n, dim) or vectors.dtype != np.float32:
        raise TypeError(f"forward() must return ({n}, {dim}) float32, it returned {vectors.shape} {vectors.dtype}")
    return vectors


def _joined(parts: list[tuple[Encoded, int]], encoder: Encoder) -> Encoded:
    """The micro-batches, each with its rows, as one; TypeError when one is not what was promised."""
    vectors = [_checked(found.vectors, n, encoder.dim) for found, n in parts]
    states = [row for found, _ in parts for row in found.states]
    wrong = [row for row in states if row.ndim != 2 or not len(row) or row.shape[1] != encoder.state_dim]
    if len(states) != sum(n for _, n in parts) or wrong:
        raise TypeError(
            f"forward_states() must return (length, {encoder.state_dim}) float32 of every row, length 1 or more; it "
            f"returned {len(states)}, of shapes {[row.shape for row in wrong[:3]]}"
        )
    return Encoded(np.concatenate(vectors) if vectors else np.empty((0, encoder.dim), np.float32), states)
