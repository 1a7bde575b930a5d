"""Texts and photos of a unit into vectors: pure functions on a table, called by the Beam shells in transforms.py.

Rows are encoded whose vector is null; one that stands, because reuse.py filled it in, stays.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encoders.base import Encoded, ImageEncoder, RowText, TextEncoder
from encoders.networks.device import distinct
from encoders.photos.decode import PhotoError, PhotoLimits
from encoders.photos.faults import plain_words
from foundation.arrays import Vectors
from foundation.machine import fault_of_all
from foundation.reasons import Reason
from pipeline.catalog import stage_columns as col
from pipeline.catalog.columns import first_paths
from pipeline.catalog.stage_columns import row_function, with_columns
from pipeline.embed.photo_batches import REFUSALS, photo_keys, placed, prepared
from pipeline.embed.vectors import with_vectors
from pipeline.engine.progress import advanced
from pipeline.photos.root import Root

RowStates = Mapping[int, Sequence[Vectors]]  # row of a table -> the states of its text, or of each of its photos
NONFINITE = "NaN or infinity in the vector"
_LOSSES = (col.IMAGE_FAULT, col.IMAGE_DETAIL, col.MAY_PASS)


class Fault(NamedTuple):
    """Why a text or a photo has no vector: a reject's reason, and what is true of this one, see PhotoError."""

    code: str
    detail: str
    may_pass: bool = False


class EncodedRows(NamedTuple):
    """A table with the vectors of a tower; and of what was encoded the states, where they were asked for."""

    table: pa.Table
    states: RowStates


@row_function(
    needs=(col.REJECT, col.TEXT, col.FIELDS, col.TEXT_VECTOR),
    adds=(col.TEXT_VECTOR, col.TEXT_FAULT, col.TEXT_DETAIL),
    drops=(col.TEXT, col.FIELDS),
)
def encode_texts(batch: pa.Table, encoder: TextEncoder | None, with_states: bool = False) -> EncodedRows:
    """`batch` with text_vector, float16 binary, in place of text; a text that fails alone leaves a `text_fault` and
    its `text_detail`. Without a text tower nothing is encoded.
    """
    faults, states = dict[int, Fault](), dict[int, list[Vectors]]()
    if encoder is not None:
        wanted = _rows_to_encode(batch, col.TEXT, col.TEXT_VECTOR)
        rows: list[int] = wanted.to_pylist()
        texts = batch.column(col.TEXT).take(wanted).to_pylist()
        if batch.schema.field(col.FIELDS).type.num_fields:
            fields = batch.column(col.FIELDS).take(wanted).to_pylist()
            rows_of_text = [RowText(*row) for row in zip(texts, fields, strict=True)]
            found, failed = encode_each(encoder.encode_rows, rows_of_text, encoder.dim)
        else:
            found, failed = encode_each(encoder.encode_states if with_states else encoder.encode, texts, encoder.dim)
        states = {rows[i]: [one] for i, one in enumerate(found.states) if i not in failed}
        faults = {rows[i]: fault for i, fault in failed.items()}
        batch = _with_vectors(batch, col.TEXT_VECTOR, rows, found.vectors, failed)
    return EncodedRows(
        _with_faults(batch, col.TEXT_FAULT, col.TEXT_DETAIL, faults).drop_columns([col.TEXT, col.FIELDS]), states
    )


@row_function(
    needs=(col.REJECT, col.PHOTOS, col.IMAGE_VECTOR),
    adds=(col.IMAGE_VECTOR, col.PHOTO, col.PHOTO_COUNT, col.PHOTOS_LOST, *_LOSSES),
    drops=(col.PHOTOS,),
)
def encode_photos(
    batch: pa.Table,
    encoder: ImageEncoder | None,
    root: Root,
    limits: PhotoLimits,
    pool: ThreadPoolExecutor,
    with_states: bool = False,
) -> EncodedRows:
    """`batch` with image_vector, float16 binary, and photo, the first one's path, in place of photos.

    A row with several photos gets the unit mean of those that could be read. The first that could not leaves its
    reason in `image_fault` and `image_detail`, whether or not the row has others: of those that changed meanwhile, if
    there are any. `photo_count` and `photos_lost` say how many it has and how many were lost, and `photo_may_pass`
    whether any of these may be read another time. A photo that stands in several places of `batch` is read and encoded
    once.
    """
    photos = batch.column(col.PHOTOS)
    faults, states = dict[int, Fault](), dict[int, list[Vectors]]()
    lost, passing = np.zeros(batch.num_rows, dtype=np.int32), np.zeros(batch.num_rows, dtype=np.bool_)
    if encoder is not None:
        wanted = _rows_to_encode(batch, col.PHOTOS, col.IMAGE_VECTOR)
        rows: list[int] = wanted.to_pylist()
        lists = photos.take(wanted).combine_chunks()
        firsts, inverse = distinct(photo_keys(lists.flatten()))
        each = lists.flatten().take(pa.array(firsts, pa.int64()))
        found = _encode_photos(prepared(each, encoder, root, limits, pool), len(each), encoder, with_states)
        paths = each.field("path").to_pylist()
        sums = np.zeros((len(rows), encoder.dim), dtype=np.float32)
        for owner, one in zip(pc.list_parent_indices(lists).to_pylist(), inverse.tolist(), strict=True):
            row = rows[owner]
            if one in found.faults:
                fault = found.faults[one]
                if row not in faults or fault.code == Reason.IMAGE_CHANGED != faults[row].code:
                    faults[row] = Fault(fault.code, placed(fault.detail, paths[one]))
                lost[row] += 1
                passing[row] |= fault.may_pass
                continue
            sums[owner] += found.vectors[one]
            if with_states:
                states.setdefault(row, []).append(found.states[one])
        lengths = np.linalg.norm(sums, axis=1, keepdims=True).astype(np.float32)
        empty = set(np.flatnonzero(lengths[:, 0] == 0).tolist())
        lengths[lengths == 0] = 1
        batch = _with_vectors(batch, col.IMAGE_VECTOR, rows, sums / lengths, empty)
    counts = {col.PHOTO_COUNT: _photo_counts(batch), col.PHOTOS_LOST: pa.array(lost), col.MAY_PASS: pa.array(passing)}
    batch = with_columns(batch, **counts, **{col.PHOTO: first_paths(photos)})
    return EncodedRows(
        _with_faults(batch, col.IMAGE_FAULT, col.IMAGE_DETAIL, faults).drop_columns([col.PHOTOS]), states
    )


@dataclass(frozen=True)
class _Photos:
    """(n, dim) float32 vectors, their states if they were asked for, and why some have none, by position."""

    vectors: Vectors
    states: dict[int, Vectors]
    faults: dict[int, Fault]


def _encode_photos(batches: Iterable[list[Any]], n: int, encoder: ImageEncoder, with_states: bool) -> _Photos:
    """What the encoder makes of n photos that come in micro-batches."""
    encode = encoder.encode_prepared_states if with_states else encoder.encode_prepared
    found = _Photos(np.zeros((n, encoder.dim), dtype=np.float32), {}, {})
    start = 0
    for batch in batches:
        good = [i for i, one in enumerate(batch) if not isinstance(one, PhotoError)]
        (vectors, states), failed = encode_each(encode, [batch[i] for i in good], encoder.dim)
        found.faults.update(
            (start + i, Fault(str(one.code), one.message, one.may_pass))
            for i, one in enumerate(batch)
            if isinstance(one, PhotoError)
        )
        found.faults.update((start + good[j], fault) for j, fault in failed.items())
        found.vectors[[start + i for i in good]] = vectors
        found.states.update((start + good[j], state) for j, state in enumerate(states))
        start += len(batch)
        advanced(start / n)
    return found


def encode_each(
    encode: Callable[[Sequence[Any]], Vectors | Encoded], items: Sequence[Any], dim: int
) -> tuple[Encoded, dict[int, Fault]]:
    """(n, dim) float32 vectors, with states if `encode` gives them, and why items cannot be encoded even alone, by
    position.

    A batch that fails is halved until the item that fails is found: one row must not cost a unit.
    """
    if not items:
        return Encoded(np.empty((0, dim), dtype=np.float32), []), {}
    try:
        found = encode(items)
    except REFUSALS as err:
        fault = fault_of_all(err)
        if fault is not None:  # every other row would be rejected for it
            raise fault from err
        if len(items) == 1:
            nothing = Encoded(np.zeros((1, dim), dtype=np.float32), [np.zeros((0, 0), dtype=np.float32)])
            return nothing, {0: Fault(Reason.ENCODER_FAILED.value, plain_words(err), may_pass=True)}
        half = len(items) // 2
        left, left_failed = encode_each(encode, items[:half], dim)
        right, right_failed = encode_each(encode, items[half:], dim)
        both = Encoded(np.concatenate([left.vectors, right.vectors]), left.states + right.states)
        return both, left_failed | {half + i: fault for i, fault in right_failed.items()}
    encoded = found if isinstance(found, Encoded) else Encoded(found, [])
    broken = np.flatnonzero(~np.isfinite(encoded.vectors).all(axis=1)).tolist()
    return encoded, dict.fromkeys(broken, Fault(Reason.NONFINITE_EMBEDDING.value, NONFINITE))


def waits(batch: pa.Table, column: str, vectors: str) -> bool:
    """Whether an encoder has to make one of `vectors` of `column`."""
    return bool(len(_rows_to_encode(batch, column, vectors)))


def _rows_to_encode(batch: pa.Table, column: str, vectors: str) -> pa.Array:
    """int64 positions of the rows that are good so far, have a value in `column`, and no vector yet."""
    able = pc.and_(pc.is_null(batch.column(col.REJECT)), pc.is_valid(batch.column(column)))
    mask = pc.and_(able, pc.is_null(batch.column(vectors)))
    return pa.array(np.flatnonzero(mask.combine_chunks().to_numpy(zero_copy_only=False)), pa.int64())


def _photo_counts(batch: pa.Table) -> pa.Array:
    """int32: how many photos each good row has."""
    counts = pc.fill_null(pc.list_value_length(batch.column(col.PHOTOS)), 0)
    return pc.if_else(pc.is_null(batch.column(col.REJECT)), counts, pa.scalar(0, pa.int32()))


def _with_vectors(
    batch: pa.Table, name: str, rows: Sequence[int], vectors: Vectors, failed: Container[int]
) -> pa.Table:
    """`batch` with (m, d) float32 `vectors` at `rows`, but those at positions that `failed`."""
    good = [i for i in range(len(rows)) if i not in failed]
    return with_columns(batch, **{name: with_vectors(batch.column(name), [rows[i] for i in good], vectors[good])})


def _with_faults(batch: pa.Table, fault: str, detail: str, faults: Mapping[int, Fault]) -> pa.Table:
    """`batch` with why rows lost a modality, in two columns; nulls where nothing was lost."""
    each = [faults.get(row) for row in range(batch.num_rows)]
    values = {fault: [one and one.code for one in each], detail: [one and one.detail for one in each]}
    return with_columns(batch, **{name: pa.array(column, pa.string()) for name, column in values.items()})
