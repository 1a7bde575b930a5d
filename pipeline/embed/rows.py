"""Encode, fuse and split one unit: pure functions on a table, called by the Beam shells in transforms.py."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encoders.base import Encoded, ImageEncoder, Modality, TextEncoder
from encoders.fusion.base import Fusion, States, StatesFusion
from encoders.networks.device import distinct
from encoders.photos.decode import PhotoError, PhotoLimits
from encoders.photos.faults import plain_words
from foundation.arrays import Vectors
from foundation.machine import fault_of_all
from foundation.reasons import Reason
from pipeline.embed.photo_batches import REFUSALS, photo_keys, placed, prepared
from pipeline.engine.progress import advanced

_log = logging.getLogger(__name__)
Kept = dict[int, list[Vectors]]  # row of a table -> the states of its text, or of each of its photos
_NONFINITE = "NaN or infinity in the vector"


class Fault(NamedTuple):
    """Why a text or a photo has no vector: a reject's reason, and what is true of this one, see PhotoError."""

    code: str
    detail: str


def embed_texts(batch: pa.Table, encoder: TextEncoder, kept: Kept | None = None) -> pa.Table:
    """`batch` with text_vector, float16 binary, in place of text; a text that fails alone leaves a `text_fault` and
    its `text_detail`.

    With `kept`, the states of each text that could be encoded are put into it.
    """
    good = _good_rows(batch, "text")
    wanted: list[int] = good.to_pylist()
    encode = encoder.encode if kept is None else encoder.encode_states
    (vectors, states), failed = encode_each(encode, batch.column("text").take(good).to_pylist(), encoder.dim)
    if kept is not None:
        kept.update((wanted[i], [row]) for i, row in enumerate(states) if i not in failed)
    faults = {wanted[i]: fault for i, fault in failed.items()}
    column = _spread(vectors, wanted, failed, batch.num_rows)
    return _with_faults(batch.drop_columns(["text"]).append_column("text_vector", column), "text", faults)


def embed_photos(
    batch: pa.Table,
    encoder: ImageEncoder,
    root: str,
    limits: PhotoLimits,
    pool: ThreadPoolExecutor,
    kept: Kept | None = None,
) -> pa.Table:
    """`batch` with image_vector, float16 binary, and photo, the first one's path, in place of photos.

    A row with several photos gets the unit mean of those that could be read. The first that could not leaves its
    reason in `image_fault` and `image_detail`, whether or not the row has others: of those that changed meanwhile, if
    there are any, for these are read again in any case. `photo_count` and `photos_lost` say
    how many it has and how many were lost. A photo that stands in several places of `batch` is read and encoded once.
    With `kept`, the states of each photo that could be encoded are put into it.
    """
    good_rows = _good_rows(batch, "photos")
    rows: list[int] = good_rows.to_pylist()
    lists = batch.column("photos").take(good_rows).combine_chunks()
    owners: list[int] = pc.list_parent_indices(lists).to_pylist()
    firsts, inverse = distinct(photo_keys(lists.flatten()))
    photos = lists.flatten().take(pa.array(firsts, pa.int64()))
    found = _encode_photos(prepared(photos, encoder, root, limits, pool), len(photos), encoder, kept is not None)
    paths = photos.field("path").to_pylist()
    sums = np.zeros((len(rows), encoder.dim), dtype=np.float32)
    faults: dict[int, Fault] = {}
    counts = {name: np.zeros(batch.num_rows, dtype=np.int32) for name in ("photo_count", "photos_lost")}
    for owner, one in zip(owners, inverse.tolist(), strict=True):
        row = rows[owner]
        counts["photo_count"][row] += 1
        if one in found.faults:
            fault = found.faults[one]
            if row not in faults or fault.code == Reason.IMAGE_CHANGED != faults[row].code:
                faults[row] = Fault(fault.code, placed(fault.detail, paths[one]))
            counts["photos_lost"][row] += 1
            continue
        sums[owner] += found.vectors[one]
        if kept is not None:
            kept.setdefault(row, []).append(found.states[one])
    lengths = np.linalg.norm(sums, axis=1, keepdims=True).astype(np.float32)
    empty = set(np.flatnonzero(lengths[:, 0] == 0).tolist())
    lengths[lengths == 0] = 1
    column = _spread(sums / lengths, rows, empty, batch.num_rows)
    first = pc.struct_field(pc.list_element(batch.column("photos"), 0), "path")
    batch = batch.drop_columns(["photos"]).append_column("photo", first).append_column("image_vector", column)
    for name, values in counts.items():
        batch = batch.append_column(name, pa.array(values))
    return _with_faults(batch, "image", faults)


def fuse(
    batch: pa.Table,
    fusion: Fusion,
    text_dim: int | None,
    image_dim: int | None,
    kept: tuple[Kept, Kept] | None = None,
) -> pa.Table:
    """`batch` with embedding, reject, degraded and detail decided: every row is either good or has a reason.

    `kept` are the states of texts and of photos, for a fusion that reads them. What the fusion does not use is as
    absent as if there were no encoder of it. Degraded is a row that lost all of a modality. One that lost some of its
    photos has the others: its `photos_lost` says so, and `detail` why. The embedding's values are rounded to float16,
    so that every copy of it (shard, index, refine vectors) is the same.
    """
    n = batch.num_rows
    text, has_text = vectors_of(batch, "text_vector", text_dim if "text" in fusion.uses else None)
    image, has_image = vectors_of(batch, "image_vector", image_dim if "image" in fusion.uses else None)
    lost_image = pc.if_else(pa.array(has_image), None, _told(batch, "image_fault", fusion))
    fault = pc.coalesce(lost_image, _told(batch, "text_fault", fusion))
    lost = pa.array(~(has_text | has_image))
    fallback = pc.if_else(lost, Reason.NO_MODALITY.value, None)
    reject = pc.coalesce(batch.column("reject").combine_chunks(), pc.if_else(lost, fault, None), fallback)
    good = np.flatnonzero(reject.is_null().to_numpy(zero_copy_only=False))
    embedding = np.zeros((n, fusion.dim), dtype=np.float32)
    rows = text[good], image[good], has_text[good], has_image[good]
    if isinstance(fusion, StatesFusion):
        embedding[good] = fusion.items(*rows, states=_states(kept, good.tolist())).astype(np.float16)
    else:
        embedding[good] = fusion.items(*rows).astype(np.float16)
    finite = np.isfinite(embedding).all(axis=1)
    reject = pc.if_else(pa.array(finite), reject, Reason.NONFINITE_EMBEDDING.value)
    degraded = pc.if_else(reject.is_null(), fault, None)
    detail = pc.if_else(pa.array(finite), _detail(batch, fusion, pc.is_valid(lost_image)), _NONFINITE)
    detail = pc.if_else(pc.and_(pc.is_valid(reject), pc.is_null(detail)), "neither text nor photo to embed", detail)
    values = pa.FixedSizeListArray.from_arrays(pa.array(embedding.reshape(-1)), fusion.dim)
    return (
        _counted(batch, fusion)
        .append_column("reject", reject)
        .append_column("degraded", degraded)
        .append_column("detail", detail)
        .append_column("embedding", values)
    )


def split(batch: pa.Table) -> tuple[pa.Table, pa.Table]:
    """(good rows sorted by partition and then by row, rejected rows in catalog order)."""
    bad = pc.is_valid(batch.column("reject"))
    order = [("partition", "ascending"), ("row", "ascending")]
    return batch.filter(pc.invert(bad)).sort_by(order), batch.filter(bad)


def count_pairs(table: pa.Table, first: str, second: str) -> list[tuple[str, str, int]]:
    """(first, second, rows) of each pair of values, sorted."""
    pairs = Counter(zip(table.column(first).to_pylist(), table.column(second).to_pylist(), strict=True))
    return [(a, b, rows) for (a, b), rows in sorted(pairs.items())]


@dataclass(frozen=True)
class _Photos:
    """(n, dim) float32 vectors, their states if asked for, and why some have none, by position."""

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
            (start + i, Fault(str(one.code), one.message)) for i, one in enumerate(batch) if isinstance(one, PhotoError)
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
            return nothing, {0: Fault(Reason.ENCODER_FAILED.value, plain_words(err))}
        half = len(items) // 2
        left, left_failed = encode_each(encode, items[:half], dim)
        right, right_failed = encode_each(encode, items[half:], dim)
        both = Encoded(np.concatenate([left.vectors, right.vectors]), left.states + right.states)
        return both, left_failed | {half + i: fault for i, fault in right_failed.items()}
    encoded = found if isinstance(found, Encoded) else Encoded(found, [])
    broken = np.flatnonzero(~np.isfinite(encoded.vectors).all(axis=1)).tolist()
    return encoded, dict.fromkeys(broken, Fault(Reason.NONFINITE_EMBEDDING.value, _NONFINITE))


def _good_rows(batch: pa.Table, column: str) -> pa.Array:
    """int64 positions of the rows that are good so far and have a value in `column`."""
    mask = pc.and_(pc.is_null(batch.column("reject")), pc.is_valid(batch.column(column)))
    return pa.array(np.flatnonzero(mask.combine_chunks().to_numpy(zero_copy_only=False)), pa.int64())


def _spread(vectors: Vectors, rows: Sequence[int], failed: Container[int], n: int) -> pa.Array:
    """fixed_size_binary of n rows: float16 vectors at `rows`, null elsewhere and at what failed."""
    halves = np.zeros((n, vectors.shape[1]), dtype=np.float16)
    present = np.zeros(n, dtype=bool)
    kept = [i for i in range(len(rows)) if i not in failed]
    positions = np.asarray(rows, dtype=np.int64)[kept]
    halves[positions] = vectors[kept]
    present[positions] = True
    validity = pa.py_buffer(np.packbits(present, bitorder="little").tobytes())
    kind = pa.binary(2 * vectors.shape[1])
    return pa.Array.from_buffers(kind, n, [validity, pa.py_buffer(halves.tobytes())])


def vectors_of(batch: pa.Table, name: str, dim: int | None) -> tuple[Vectors, np.ndarray[Any, np.dtype[np.bool_]]]:
    """((n, dim) float32 with zeros where null, (n,) bool of what is there); (n, 0) for a tower that is absent."""
    n = batch.num_rows
    if dim is None:
        return np.zeros((n, 0), dtype=np.float32), np.zeros(n, dtype=bool)
    column = batch.column(name).combine_chunks()
    halves = np.frombuffer(column.buffers()[1], dtype=np.float16, count=n * dim, offset=column.offset * 2 * dim)
    return halves.reshape(n, dim).astype(np.float32), column.is_valid().to_numpy(zero_copy_only=False)


def _with_faults(batch: pa.Table, modality: Modality, faults: dict[int, Fault]) -> pa.Table:
    """`batch` with why rows lost a modality, `..._fault` and `..._detail`; nulls where nothing was lost."""
    for part, name in enumerate(("fault", "detail")):
        values: list[str | None] = [None] * batch.num_rows
        for row, fault in faults.items():
            values[row] = fault[part]
        batch = batch.append_column(f"{modality}_{name}", pa.array(values, pa.string()))
    return batch


def _told(batch: pa.Table, name: str, fusion: Fusion) -> pa.Array:
    """A column that `_with_faults` made, such as `image_fault`; nulls for a modality that the fusion does not use."""
    used = name.partition("_")[0] in fusion.uses
    return _column(batch, name) if used else pa.nulls(batch.num_rows, pa.string())


def _column(batch: pa.Table, name: str) -> pa.Array:
    """A column of strings; nulls where there is none."""
    there = name in batch.column_names
    return batch.column(name).combine_chunks() if there else pa.nulls(batch.num_rows, pa.string())


def _detail(batch: pa.Table, fusion: Fusion, lost_image: pa.Array) -> pa.Array:
    """What is told beside the reason of each row; where nothing but some photos was lost, of the first of those."""
    of_image = _told(batch, "image_detail", fusion)
    given = _column(batch, "detail")
    return pc.coalesce(given, pc.if_else(lost_image, of_image, None), _told(batch, "text_detail", fusion), of_image)


def _counted(batch: pa.Table, fusion: Fusion) -> pa.Table:
    """`batch` less what is decided anew, with its counts of photos: none where the fusion does not use them."""
    batch = batch.drop_columns([name for name in ("reject", "detail") if name in batch.column_names])
    for name in ("photo_count", "photos_lost"):
        if name not in batch.column_names or "image" not in fusion.uses:
            batch = batch.drop_columns([name] if name in batch.column_names else [])
            batch = batch.append_column(name, pa.array(np.zeros(batch.num_rows, dtype=np.int32)))
    return batch


def _states(kept: tuple[Kept, Kept] | None, rows: Sequence[int]) -> States:
    """The states of `rows`; those of several photos of a row one after the other."""
    if kept is None:
        raise ValueError("expected the states of texts and photos, which this fusion reads")
    none = np.zeros((0, 0), dtype=np.float32)
    sides = ([np.concatenate(side[row]) if row in side else none for row in rows] for side in kept)
    return States(*sides)
