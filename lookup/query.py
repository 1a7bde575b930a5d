"""Queries into vectors: with the encoders and the fusion that the snapshot's products went through."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, update_wrapper
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np
from pydantic import ValidationError

from encoders.base import (
    Encoded,
    EncoderSpec,
    ImageEncoder,
    Modality,
    TextEncoder,
    encoder_spec,
    load_image,
    load_query_text,
    load_text,
)
from encoders.fusion.base import Fusion, FusionSpec, StatesFusion, fused_queries, fusion_spec
from encoders.fusion.load import load_fusion
from encoders.photos.decode import PhotoError, PhotoLimits
from encoders.photos.foreign import naming
from encoders.text import TextError, clean_text
from encoders.towers import Tower
from foundation.arrays import Photo, Vectors
from foundation.errors import InputError
from foundation.machine import machine_fault
from foundation.regular_files import OversizedFileError, read_regular
from lookup.filters.where import Where, parsed
from lookup.identities import refuse_other_encoder, refuse_other_fusion
from lookup.personal.wishes import MIX, checked_ids, checked_mix, checked_weights
from lookup.store.manifest import EncoderEntry, Manifest
from lookup.understood.meaning import Boost

_P = ParamSpec("_P")
_Self = TypeVar("_Self")
_Found = TypeVar("_Found")
_OTHER_VERSION = "install the version of the run (`vitrine inspect STORE` shows it), or run again with this one"


@dataclass(frozen=True)
class Query:
    """What a search takes, see `Reader.search`: a text, a photo (a file's bytes) or both, products beside them or in
    their place, and what is searched.
    """

    text: str | None = None
    image: bytes | None = None
    category: str | None = None
    k: int = 10
    nprobe: int | None = None
    where: Where = ()
    explain: bool = False  # whether hits say why they are there, see lookup/why
    like: Sequence[str] = ()  # ids of products
    rated_like: bool = False  # only what is rated as well as those of `like`, or better
    history: Sequence[str] = ()  # ids of products, the newest last
    weights: Sequence[float] | None = None  # of `history`; None: it fades
    mix: float = MIX
    rerank: bool = True  # by the snapshot's model, where it has one
    understand: bool | None = None  # what the text says beside what it looks for, see lookup/understood; None: as the
    # snapshot's config has it
    lexical_weight: float | None = None  # share of words in a score, 0..1; 0: vectors alone; None: the snapshot's
    collapse: bool | str | None = None  # see lookup/collapse.py
    all_categories: bool = False  # also where the snapshot's config leaves unlikely ones out
    boosts: tuple[Boost, ...] = ()  # what products gain that meet a condition; added to scores

    def checked(self) -> Query:
        """It, with its conditions parsed and plain whole numbers; InputError for what cannot be asked."""
        if self.by_words or not (self.like or self.history):
            check_question(self.text, self.image, self.k)
        elif self.explain:
            raise InputError("a text or a photo, whose words and parts are told", "products alone", "leave out explain")
        if self.rated_like and not self.like:
            raise InputError("products to be like, whose rating is meant", "rated_like alone", "give like, --like ID")
        like, history = checked_ids(self.like, "like"), checked_ids(self.history, "history")
        weights, mix = checked_weights(self.weights, history), checked_mix(self.mix)
        check_share(self.lexical_weight)
        return replace(self, like=like, history=history, weights=weights, mix=mix).parsed()

    @property
    def by_words(self) -> bool:
        """Whether it asks by a text or a photo."""
        return self.text is not None or self.image is not None

    def parsed(self) -> Query:
        """As `checked`, of what is asked by a vector."""
        nprobe = None if self.nprobe is None else whole(self.nprobe, "nprobe", "leave it out for the tuned one")
        return replace(self, k=check_k(self.k), nprobe=nprobe, where=parsed(self.where))


def by_keywords(
    make: Callable[_P, Query],
) -> Callable[[Callable[[_Self, Query], _Found]], Callable[Concatenate[_Self, _P], _Found]]:
    """For a method that takes a query: it takes what `make` makes one of, so that `Query` alone lists that."""

    def decorate(method: Callable[[_Self, Query], _Found]) -> Callable[Concatenate[_Self, _P], _Found]:
        def search(self: _Self, /, *args: _P.args, **kwargs: _P.kwargs) -> _Found:
            return method(self, make(*args, **kwargs))

        owner, *_ = inspect.signature(method).parameters.values()
        given = [owner, *inspect.signature(make).parameters.values()]
        update_wrapper(search, method)
        search.__dict__["__signature__"] = inspect.signature(method).replace(parameters=given)  # as `help` has it
        return search

    return decorate


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
        fusion = load_fusion(_fusion(manifest), _tower(manifest.text), _tower(manifest.image), device)
        most_chars = manifest.config["catalog"]["max_text_chars"]
        return cls(manifest.text, manifest.image, fusion, most_chars, photo_limits(manifest), device)

    def embed(self, text: str | None = None, image: bytes | None = None) -> Vectors:
        """(1, dim) float32 of a text, a photo file's bytes, or both; InputError when neither can be asked for."""
        check_question(text, image)
        return fused_queries(self.fusion, *self._encoded(text, image))

    def towers(self, text: str | None = None, image: bytes | None = None) -> tuple[Vectors | None, Vectors | None]:
        """The vectors before fusion: (1, dt) and (1, di) float32, unit rows; None for what is not given."""
        asked_text, asked_image = self._encoded(text, image)
        return asked_text and asked_text.vectors, asked_image and asked_image.vectors

    def _encoded(self, text: str | None, image: bytes | None) -> tuple[Encoded | None, Encoded | None]:
        """What the towers say, with states if the fusion reads them; None for what is not given."""
        return (
            self._text(text) if text is not None else None,
            self._image(image) if image is not None else None,
        )

    # Once for all queries: an identity may be the digest of a network's weights.
    @cached_property
    def _text_encoder(self) -> TextEncoder:
        spec = _spec(self.text, "text")
        # A fusion that reads states needs the network itself.
        load = load_text if isinstance(self.fusion, StatesFusion) else load_query_text
        return load(spec, self.device)

    @cached_property
    def _image_encoder(self) -> ImageEncoder:
        return load_image(_spec(self.image, "image"), self.device)

    def clean(self, text: str) -> str:
        """The text as the encoder reads it; InputError where nothing is left of it."""
        try:
            cleaned = clean_text(text, self.max_chars)
        except TextError as err:
            raise InputError("a text", str(err), "ask in plain words") from err
        if not cleaned:
            raise InputError("a text with at least one visible character", repr(text[:80]), "ask for something")
        return cleaned

    def decode(self, image: bytes) -> Photo:
        """(h, w, 3) uint8 RGB of a photo file's bytes; InputError where it is none, or beyond the limits."""
        try:
            with naming("of the query", None):
                return self._image_encoder.decode(image, self.limits)
        except PhotoError as err:
            raise InputError("a photo: JPEG, PNG, WebP, GIF, AVIF, BMP or TIFF", str(err), "give another file") from err

    def embed_each(self, texts: Sequence[str], photos: Sequence[Photo]) -> Vectors:
        """(n, dim) float32 of n clean texts, of n photos as `decode` gives them, or of n pairs; one may be empty."""
        return fused_queries(
            self.fusion, self._texts(texts) if texts else None, self._images(photos) if photos else None
        )

    def _text(self, text: str) -> Encoded:
        return self._texts([self.clean(text)])

    def _texts(self, cleaned: Sequence[str]) -> Encoded:
        if isinstance(self.fusion, StatesFusion):
            return self._text_encoder.encode_states(cleaned, "query")
        return Encoded(self._text_encoder.encode(cleaned, "query"), [])

    def _image(self, raw: bytes) -> Encoded:
        return self._images([self.decode(raw)])

    def _images(self, photos: Sequence[Photo]) -> Encoded:
        encoder = self._image_encoder
        prepared = [encoder.prepare(photo) for photo in photos]
        if isinstance(self.fusion, StatesFusion):
            return encoder.encode_prepared_states(prepared)
        return Encoded(encoder.encode_prepared(prepared), [])


def photo_limits(manifest: Manifest) -> PhotoLimits:
    """The limits that the run had: a query photo, or one that a page shows, may be what a product's may."""
    catalog = manifest.config["catalog"]
    seconds = catalog.get("max_photo_seconds", PhotoLimits.max_seconds)  # none: of a run before there was the key
    return PhotoLimits(catalog["max_photo_bytes"], catalog["max_photo_pixels"], seconds)


def check_question(text: str | None, image: bytes | None, k: int = 1) -> None:
    """InputError unless a query asks for a text, a photo or both, and for one hit or more."""
    if text is None and image is None:
        fix = "give --text, --image or both, or products: --like, --history"
        raise InputError("a text, a photo or both", "neither", fix)
    if text is not None and not isinstance(text, str):
        raise InputError("a text as str", f"{text!r}, {_type(text)}", "give a str")
    if image is not None and not isinstance(image, bytes):
        raise InputError("a photo as the bytes of its file", _type(image), "read the file: Path(...).read_bytes()")
    check_k(k)


def check_share(weight: float | None) -> None:
    """InputError unless the share of words is a number from 0 to 1, or None."""
    is_number = isinstance(weight, int | float | np.integer | np.floating) and not isinstance(weight, bool)
    if weight is not None and not (is_number and 0 <= weight <= 1):
        raise InputError("lexical_weight from 0 to 1", repr(weight), "leave it out for the snapshot's own")


def check_k(k: int) -> int:
    """`k` as an int; InputError unless it is a whole number, and one hit or more is asked for."""
    return whole(k, "k", "ask for one hit or more, as in k=10")


def whole(number: int, name: str, fix: str) -> int:
    """A whole number of Python's or numpy's that is at least 1, as an int; InputError where it is none."""
    if isinstance(number, bool) or not isinstance(number, int | np.integer):
        raise InputError(f"{name} as a whole number", f"{number!r}, {_type(number)}", fix)
    if number < 1:
        raise InputError(f"{name} of at least 1", str(number), fix)
    return int(number)


def _type(value: object) -> str:
    return f"of type {type(value).__name__}"


def read_photo(path: str, most_bytes: int) -> bytes:
    """The bytes of a query photo; InputError when there is no such file, or one of more than `most_bytes`."""
    if "://" in path:
        raise InputError("the file of a query photo", f"{path}, a URL: nothing is fetched", "save the photo to a file")
    try:
        return read_regular(path, most_bytes)
    except OversizedFileError as err:
        fix = "give a smaller photo, or run with a larger catalog.max_photo_bytes"
        raise InputError(f"a query photo of at most {most_bytes:,} bytes", str(err), fix) from err
    except (OSError, ValueError) as err:  # ValueError: a NUL in the path
        came = f"{path}: {err.strerror if isinstance(err, OSError) else err}"
        raise machine_fault(err) or InputError("the file of a query photo", came, "correct the path") from err


def _tower(entry: EncoderEntry | None) -> Tower | None:
    return Tower(entry.dim, entry.identity, entry.parts, entry.members, entry.by_field) if entry else None


def _fusion(manifest: Manifest) -> FusionSpec:
    """The spec of the fusion that made the products' embeddings; InputError when this is not it."""
    try:
        spec = fusion_spec(dict(manifest.fusion))
    except ValidationError as err:
        raise InputError(
            f"the fusion of the snapshot, {manifest.fusion}", f"this version does not know it: {err}", _OTHER_VERSION
        ) from err
    refuse_other_fusion(manifest, spec)
    return spec


def _spec(entry: EncoderEntry | None, modality: Modality) -> EncoderSpec:
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
            _OTHER_VERSION,
        ) from err
    refuse_other_encoder(entry, spec, modality)
    return spec
