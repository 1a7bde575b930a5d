"""Queries into vectors: with the encoders and the fusion that the snapshot's products went through."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from encoders.base import EncoderSpec, ImageEncoder, TextEncoder, encoder_spec, load_image, load_text
from encoders.fusion.base import Fusion, fusion_spec
from encoders.photo import PhotoError, PhotoLimits
from encoders.text import clean_text
from lookup.errors import InputError
from lookup.manifest import EncoderEntry, Manifest

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class QueryEncoder:
    """The query side of a snapshot. Encoders are loaded when first asked, once per process."""

    text: EncoderEntry | None
    image: EncoderEntry | None
    fusion: Fusion
    max_chars: int  # a query is cut where no product's text goes on either
    limits: PhotoLimits
    device: str = "cpu"

    @classmethod
    def of(cls, manifest: Manifest, device: str = "cpu") -> QueryEncoder:
        """The query side of `manifest`."""
        dims = (entry.dim if entry else None for entry in (manifest.text, manifest.image))
        fusion = fusion_spec(dict(manifest.fusion)).load(*dims)
        catalog = manifest.config["catalog"]
        limits = PhotoLimits(catalog["max_photo_bytes"], catalog["max_photo_pixels"])
        return cls(manifest.text, manifest.image, fusion, catalog["max_text_chars"], limits, device)

    def embed(self, text: str | None = None, image: bytes | None = None) -> Vectors:
        """(1, dim) float32 of a text, a photo file's bytes, or both; InputError when neither can be asked for."""
        if text is None and image is None:
            raise InputError("a text, a photo or both", "neither", "give --text, --image or both")
        text_vector, image_vector = self.towers(text, image)
        return self.fusion.queries(text=text_vector, image=image_vector)

    def towers(self, text: str | None = None, image: bytes | None = None) -> tuple[Vectors | None, Vectors | None]:
        """The vectors before fusion: (1, dt) and (1, di) float32, unit rows; None for what is not given."""
        return (
            self._text(text) if text is not None else None,
            self._image(image) if image is not None else None,
        )

    # Once for all queries: an identity may be the digest of a network's weights.
    @cached_property
    def _text_encoder(self) -> TextEncoder:
        return load_text(_spec(self.text, "text"), self.device)

    @cached_property
    def _image_encoder(self) -> ImageEncoder:
        return load_image(_spec(self.image, "image"), self.device)

    def _text(self, text: str) -> Vectors:
        encoder = self._text_encoder
        cleaned = clean_text(text, self.max_chars)
        if not cleaned:
            raise InputError("a text with at least one visible character", repr(text[:80]), "ask for something")
        return encoder.encode([cleaned], "query")

    def _image(self, raw: bytes) -> Vectors:
        encoder = self._image_encoder
        try:
            photo = encoder.decode(raw, self.limits)
        except PhotoError as err:
            raise InputError("a photo: JPEG, PNG, WebP, GIF, AVIF, BMP or TIFF", str(err), "give another file") from err
        return encoder.encode([photo])


def read_photo(path: str) -> bytes:
    """The bytes of a query photo; InputError when there is no such file."""
    if "://" in path:
        raise InputError("the file of a query photo", f"{path}, a URL: nothing is fetched", "save the photo to a file")
    try:
        return Path(path).read_bytes()
    except OSError as err:
        raise InputError("the file of a query photo", f"{path}: {err.strerror}", "correct the path") from err


def _spec(entry: EncoderEntry | None, modality: str) -> EncoderSpec:
    if entry is None:
        raise InputError(
            f"a snapshot with {modality} vectors",
            "one that was published without",
            f"set encoders.{modality} and run again",
        )
    try:
        spec = encoder_spec(dict(entry.fields))
    except ValidationError as err:
        raise InputError(
            f"the {modality} encoder of the snapshot, {entry.fields}",
            f"this version of vitrine does not know it: {err}",
            "install the version of the run (`vitrine inspect STORE` shows it), or run again with this one",
        ) from err
    if spec.identity != entry.identity:
        raise InputError(
            f"the {modality} encoder {spec.type}, identity {entry.identity[:16]}, that encoded the products",
            f"identity {spec.identity[:16]}: other weights, or another version of vitrine or of the photo decoder",
            "install the versions of the run (`vitrine inspect STORE` shows them), or run again with these",
        )
    return spec
