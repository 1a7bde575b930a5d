"""What indexes are tuned for: queries by text and by photo, encoded anew as a reader encodes them.

They are made of held-out products: the text as a query, the photo as a shopper might have taken it. Vectors from the
shards would be those that the index holds, to the last bit, and find what no user finds. So the sampled rows are read
from the catalog once more. Or they are the queries of a file, `index.queries`. A photo that cannot be had is left out
and counted in the log.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from encoders.base import Encoded, EncoderSpec, ImageEncoder, TextEncoder, load_image, load_text
from encoders.fusion.base import Fusion, StatesFusion, fused_queries
from encoders.photos.decode import PhotoError, claimed_pixels
from encoders.photos.foreign import heard
from foundation.arrays import Positions, Vectors
from foundation.errors import InputError, VitrineError
from foundation.identity import identity_of
from index_builders.measure.queries import BOTH, PHOTO, TEXT, Embed, inside
from index_builders.rows.shards import SegmentRef, read_places
from lookup.query import QueryEncoder, read_photo
from lookup.store.manifest import EncoderEntry
from pipeline.build.photo_views import as_taken
from pipeline.catalog import stage_columns
from pipeline.catalog.questions import Question, read_questions
from pipeline.catalog.rows import read_some
from pipeline.config.encoding import fusion_of, photo_limits
from pipeline.config.sections import Indexing
from pipeline.embed.encode import encode_each
from pipeline.embed.pixel_room import PIXELS
from pipeline.photos.photos import fetch
from pipeline.photos.root import image_root, photo_root

_log = logging.getLogger(__name__)
_VERSION = 1  # raised when other queries are made of the same products
_PHOTOS = 200  # of a partition: each is decoded, changed and encoded, up to 0.1 CPU s with a large model
_AT_ONCE = 256  # texts encoded at a time


def tower_queries(indexing: Indexing) -> Embed | None:
    """What makes queries of products; None where the config wants none."""
    kinds = query_kinds(indexing)
    if not kinds:
        return None
    asking = Asking.of(indexing)
    if indexing.index.queries is not None:
        listed = _listed(indexing, kinds)
        return {kind: _Listed(asking, tuple(some)).vectors for kind, some in listed.items()}
    made = {TEXT: asking.by_text, PHOTO: asking.by_photo}
    return {kind: made[kind] for kind in kinds}


def tower_queries_identity(indexing: Indexing) -> str | None:
    """64 hex digits of what the queries of `tower_queries` are made by; None where it makes none."""
    kinds = query_kinds(indexing)
    if not kinds:
        return None
    specs = {TEXT: indexing.embedding.encoders.text, PHOTO: indexing.embedding.encoders.image}
    towers = {kind: spec.identity for kind, spec in specs.items() if spec is not None and kind in kinds}
    queries = {"queries": _file_digest(indexing), "version": _VERSION}
    return identity_of({**towers, "fusion": indexing.embedding.fusion.identity, **queries})


def query_kinds(indexing: Indexing) -> list[str]:
    """By what products are found, and asked: `text`, `photo`."""
    encoders, index, uses = indexing.embedding.encoders, indexing.index, fusion_of(indexing.embedding).uses
    wanted = (
        (TEXT, index.text_queries and encoders.text is not None and "text" in uses),
        (PHOTO, index.photo_queries and encoders.image is not None and "image" in uses),
    )
    return [kind for kind, asked in wanted if asked]


@dataclass(frozen=True)
class Asking:
    """The encoders and the fusion of an indexing, on the side of queries."""

    indexing: Indexing
    fusion: Fusion

    @classmethod
    def of(cls, indexing: Indexing) -> Asking:
        """What `indexing` asks by; the encoders are loaded when they are first needed."""
        return cls(indexing, fusion_of(indexing.embedding))

    @property
    def encoder(self) -> QueryEncoder:
        """What a reader asks by."""
        encoders, catalog = self.indexing.embedding.encoders, self.indexing.embedding.catalog
        towers = (_entry(encoders.text), _entry(encoders.image))
        return QueryEncoder(*towers, self.fusion, catalog.max_text_chars, photo_limits(catalog), encoders.device)

    # Once for all: an identity may be the digest of a network's weights.
    @cached_property
    def _text(self) -> TextEncoder:
        assert self.indexing.embedding.encoders.text is not None  # query_kinds saw to it
        return load_text(self.indexing.embedding.encoders.text, self.indexing.embedding.encoders.device)

    @cached_property
    def _image(self) -> ImageEncoder:
        assert self.indexing.embedding.encoders.image is not None
        return load_image(self.indexing.embedding.encoders.image, self.indexing.embedding.encoders.device)

    def by_text(self, segments: Sequence[SegmentRef], positions: Positions) -> Vectors:
        """(m, d) float32 queries by the texts of rows that have one."""
        return self.texts([text for rows in self._read(segments, positions, TEXT) for text in rows if text])

    def by_photo(self, segments: Sequence[SegmentRef], positions: Positions) -> Vectors:
        """(m, d) float32 queries by a view of the first photo of rows that have one, of some of them."""
        some = positions[np.unique(np.linspace(0, len(positions) - 1, min(_PHOTOS, len(positions))).astype(np.int64))]
        photos = [photos[0] for rows in self._read(segments, some, PHOTO) for photos in rows if photos]
        return self.photos([self._view(photo, number) for number, photo in enumerate(photos)])

    def own(self, kind: str, segments: Sequence[SegmentRef], positions: Positions) -> tuple[Positions, Vectors]:
        """Those of the rows at rising `positions` that can be asked for by their own text or first photo, (m,) int64,
        and (m, d) float32 queries by it, as it is.
        """
        there = [one for rows in self._read(segments, positions, kind) for one in rows]
        if kind == PHOTO:
            there = [photos and self._photo(photos[0], lambda pixels: pixels) for photos in there]
        at = positions[[number for number, one in enumerate(there) if one is not None]]
        items = [one for one in there if one is not None]
        size = _AT_ONCE if kind == TEXT else self._image.micro_batch if items else 1
        encode = self._encode_texts if kind == TEXT else self._encode_photos
        parts, kept = [np.empty((0, self.fusion.dim), np.float32)], [np.empty(0, np.int64)]
        for start in range(0, len(items), size):
            fused, good = encode(items[start : start + size])
            parts.append(fused)
            kept.append(at[start : start + size][good])
        return np.concatenate(kept), np.concatenate(parts)

    def texts(self, texts: Sequence[str]) -> Vectors:
        """(n, d) float32 queries by texts."""
        parts = [self._encode_texts(texts[start : start + _AT_ONCE])[0] for start in range(0, len(texts), _AT_ONCE)]
        return np.concatenate([np.empty((0, self.fusion.dim), np.float32), *parts])

    def photos(self, prepared: Sequence[Any]) -> Vectors:
        """(m, d) float32 queries by prepared photos, None for one that could not be had."""
        good = [one for one in prepared if one is not None]
        if len(good) < len(prepared):
            lost = len(prepared) - len(good)
            _log.warning("%d of %d photos to ask by could not be read: tuned without them", lost, len(prepared))
        size = self._image.micro_batch if good else 1
        parts = [self._encode_photos(good[start : start + size])[0] for start in range(0, len(good), size)]
        return np.concatenate([np.empty((0, self.fusion.dim), np.float32), *parts])

    def prepared(self, raw: bytes, change: Callable[[Any], Any]) -> Any:
        """What the image tower is given of a photo's bytes once decoded and changed; None where it is no photo."""
        limits = photo_limits(self.indexing.embedding.catalog)
        try:
            # What its reader warns of was told when it was encoded.
            with heard(), PIXELS.hold(claimed_pixels(raw, limits), limits.max_pixels):
                return self._image.prepare(change(self._image.decode(raw, limits)))
        except PhotoError:
            return None

    def _view(self, photo: dict[str, Any], number: int) -> Any:
        rng = np.random.default_rng((self.indexing.index.seed, 4, number))
        return self._photo(photo, lambda pixels: as_taken(pixels, rng))

    def _photo(self, photo: dict[str, Any], change: Callable[[Any], Any]) -> Any:
        catalog = self.indexing.embedding.catalog
        try:
            root = photo_root(image_root(catalog.image_root, catalog.path), catalog)
            raw = fetch(photo, root, photo_limits(catalog))
        except PhotoError:
            return None
        return self.prepared(raw, change)

    def _encode_texts(self, texts: Sequence[str]) -> tuple[Vectors, list[int]]:
        with_states = isinstance(self.fusion, StatesFusion)
        encode = partial(self._text.encode_states if with_states else self._text.encode, role="query")
        found, good = _good(encode, texts, self._text.dim)
        return fused_queries(self.fusion, text=found), good

    def _encode_photos(self, prepared: Sequence[Any]) -> tuple[Vectors, list[int]]:
        with_states = isinstance(self.fusion, StatesFusion)
        encode = self._image.encode_prepared_states if with_states else self._image.encode_prepared
        found, good = _good(encode, prepared, self._image.dim)
        return fused_queries(self.fusion, image=found), good

    def _read(self, segments: Sequence[SegmentRef], positions: Positions, what: str) -> list[list[Any]]:
        """The texts or the lists of photos of rows, from the catalog, by segment."""
        column, found = {TEXT: stage_columns.TEXT, PHOTO: stage_columns.PHOTOS}[what], []
        for ref, rows in inside(segments, positions):
            ids, at = read_places(ref, rows)
            table = read_some(ref.source, range(*ref.groups), at, [what], self.indexing.embedding.catalog)
            if table.column(stage_columns.ID).to_pylist() != ids:
                came = "other ids: the file is another one"
                fix = "the catalog changed during the run: run again"
                raise VitrineError(f"{ref.source} with the rows that were encoded, {ids[0]!r} first", came, fix)
            found.append(table.column(column).to_pylist())
        return found


def _good(encode: Callable[[Sequence[Any]], Any], items: Sequence[Any], dim: int) -> tuple[Encoded, list[int]]:
    """What could be encoded, and which items that are; one that the tower refuses, as it did when the products were
    encoded, is left out.
    """
    found, failed = encode_each(encode, items, dim)
    at = [number for number in range(len(items)) if number not in failed]
    stated = len(found.states) == len(items)  # what fails has empty ones, also where the others have none
    return Encoded(found.vectors[at], [found.states[number] for number in at] if stated else []), at


def _entry(spec: EncoderSpec | None) -> EncoderEntry | None:
    if spec is None:
        return None
    return EncoderEntry(fields=spec.model_dump(mode="json"), identity=spec.identity, dim=spec.dim)


# --- queries of a file ---


def _listed(indexing: Indexing, kinds: Sequence[str]) -> dict[str, list[Question]]:
    """The queries of `index.queries` by kind: at most `index.held_out_queries`, evenly spread, of those that products
    can be asked by; InputError where there are none.
    """
    path = Path(indexing.index.queries or "")
    questions = [
        one
        for one in read_questions(path, "index.queries")
        if (not one.text or TEXT in kinds) and (not one.image or PHOTO in kinds)
    ]
    if not questions:
        fix = "correct index.queries, or drop it: products' own texts and photos are asked then"
        asked = f"index.queries with queries by {' or '.join(kinds)}, which products are found by"
        raise InputError(asked, f"none in {path}", fix)
    spread = np.unique(np.linspace(0, len(questions) - 1, min(indexing.index.held_out_queries, len(questions))))
    found: dict[str, list[Question]] = {}
    for one in (questions[number] for number in spread.astype(np.int64).tolist()):
        found.setdefault(BOTH if one.text and one.image else TEXT if one.text else PHOTO, []).append(one)
    return found


def _file_digest(indexing: Indexing) -> str | None:
    """64 hex digits of the queries of a file and of the photos that it names; None without a file."""
    if indexing.index.queries is None:
        return None
    digest = blake3()
    for one in read_questions(Path(indexing.index.queries), "index.queries"):
        photo = None if one.image is None else _bytes_of(one.image, indexing)
        digest.update(repr((one.text, photo and blake3(photo).hexdigest())).encode())
    return str(digest.hexdigest())


def _bytes_of(path: str, indexing: Indexing) -> bytes | None:
    try:
        return read_photo(path, indexing.embedding.catalog.max_photo_bytes)
    except InputError:
        return None


@dataclass(frozen=True)
class _Listed:
    """The queries of a file that are of one kind."""

    asking: Asking
    questions: tuple[Question, ...]

    def vectors(self, segments: Sequence[SegmentRef], positions: Positions) -> Vectors:
        """(m, d) float32 queries, as a reader of the snapshot embeds them; whichever rows are held out."""
        key = (tower_queries_identity(self.asking.indexing), self.questions)
        with _encoding:
            if key not in _encoded:
                _encoded[key] = self._embedded()
            return _encoded[key]

    def _embedded(self) -> Vectors:
        found, lost, encoder = [np.empty((0, self.asking.fusion.dim), np.float32)], 0, self.asking.encoder
        for one in self.questions:
            photo = None if one.image is None else _bytes_of(one.image, self.asking.indexing)
            try:
                if one.image is None or photo is not None:
                    found.append(encoder.embed(one.text, photo))
                    continue
            except InputError as err:
                _log.info("index.queries: %s: %s", one.title, err.came)
            lost += 1
        if lost:
            _log.warning(
                "%d of %d queries of index.queries cannot be asked: tuned without them", lost, len(found) - 1 + lost
            )
        return np.concatenate(found)


_encoded: dict[tuple[str | None, tuple[Question, ...]], Vectors] = {}
_encoding = threading.Lock()
