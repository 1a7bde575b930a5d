"""Encode, fuse and split one unit: pure functions on a table, called by the Beam shells in transforms.py."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from encoders.base import Encoded, ImageEncoder, Modality, TextEncoder, Vectors
from encoders.fusion.base import Fusion, States, StatesFusion, Tower, load_fusion
from encoders.liveness import beat
from encoders.machine import fault_of_all
from encoders.networks.device import distinct
from encoders.photo import PhotoError, PhotoLimits, claimed_pixels
from pipeline.config import Config
from pipeline.photos import fetch
from pipeline.pixel_room import PIXELS
from pipeline.progress import advanced
from pipeline.reasons import Reason

_log = logging.getLogger(__name__)
Kept = dict[int, list[Vectors]]  # row of a table -> the states of its text, or of each of its photos
_LOOKED_AT = 256  # photos whose bytes are copied at once to tell them apart
_REFUSALS = (RuntimeError, ValueError, ArithmeticError)  # what encoders raise for input that they cannot take


def tower_dims(config: Config) -> tuple[int | None, int | None]:
    """Lengths of the text and the image tower's vectors; None for a tower that is absent."""
    text, image = config.encoders.text_spec, config.encoders.image_spec
    return text.dim if text else None, image.dim if image else None


def towers(config: Config) -> tuple[Tower | None, Tower | None]:
    """What a fusion may know of the text and the image encoder; None for a tower that is absent."""
    return Tower.of(config.encoders.text_spec), Tower.of(config.encoders.image_spec)


def fusion_of(config: Config) -> Fusion:
    """The live fusion, once per process; InputError when it does not fit the towers."""
    return load_fusion(config.fusion_spec, *towers(config), config.encoders.device)


def embed_texts(batch: pa.Table, encoder: TextEncoder, kept: Kept | None = None) -> pa.Table:
    """`batch` with text_vector, float16 binary, in place of text; a text that fails alone leaves a `text_fault`.

    With `kept`, the states of each text that could be encoded are put into it.
    """
    good = _good_rows(batch, "text")
    wanted: list[int] = good.to_pylist()
    encode = encoder.encode if kept is None else encoder.encode_states
    (vectors, states), failed = encode_each(encode, batch.column("text").take(good).to_pylist(), encoder.dim)
    if kept is not None:
        kept.update((wanted[i], [row]) for i, row in enumerate(states) if i not in failed)
    faults: list[str | None] = [None] * batch.num_rows
    for i, reason in failed.items():
        faults[wanted[i]] = reason
    column = _spread(vectors, wanted, failed, batch.num_rows)
    return (
        batch.drop_columns(["text"])
        .append_column("text_vector", column)
        .append_column("text_fault", pa.array(faults, pa.string()))
    )


def embed_photos(
    batch: pa.Table,
    encoder: ImageEncoder,
    root: str,
    limits: PhotoLimits,
    pool: ThreadPoolExecutor,
    kept: Kept | None = None,
) -> pa.Table:
    """`batch` with image_vector, float16 binary, and photo, the first one's path, in place of photos.

    A row with several photos gets the unit mean of those that could be read. A photo that could not leaves its reason
    in `image_fault`, whether or not the row has others. A photo that stands in several places of `batch` is read and
    encoded once. With `kept`, the states of each photo that could be encoded are put into it.
    """
    good_rows = _good_rows(batch, "photos")
    rows: list[int] = good_rows.to_pylist()
    lists = batch.column("photos").take(good_rows).combine_chunks()
    owners: list[int] = pc.list_parent_indices(lists).to_pylist()
    firsts, inverse = distinct(_photo_keys(lists.flatten()))
    photos = lists.flatten().take(pa.array(firsts, pa.int64()))
    found = _encode_photos(_prepared(photos, encoder, root, limits, pool), len(photos), encoder, kept is not None)
    sums = np.zeros((len(rows), encoder.dim), dtype=np.float32)
    faults: list[str | None] = [None] * batch.num_rows
    for owner, one in zip(owners, inverse.tolist(), strict=True):
        row = rows[owner]
        if one in found.reasons:
            faults[row] = faults[row] or found.reasons[one]  # of several broken photos, the first one's reason
            continue
        sums[owner] += found.vectors[one]
        if kept is not None:
            kept.setdefault(row, []).append(found.states[one])
    lengths = np.linalg.norm(sums, axis=1, keepdims=True).astype(np.float32)
    empty = dict.fromkeys(np.flatnonzero(lengths[:, 0] == 0).tolist(), "")
    lengths[lengths == 0] = 1
    column = _spread(sums / lengths, rows, empty, batch.num_rows)
    first = pc.struct_field(pc.list_element(batch.column("photos"), 0), "path")
    return (
        batch.drop_columns(["photos"])
        .append_column("photo", first)
        .append_column("image_vector", column)
        .append_column("image_fault", pa.array(faults, pa.string()))
    )


def fuse(
    batch: pa.Table,
    fusion: Fusion,
    text_dim: int | None,
    image_dim: int | None,
    kept: tuple[Kept, Kept] | None = None,
) -> pa.Table:
    """`batch` with embedding, reject and degraded decided: every row is either good or has a reason.

    `kept` are the states of texts and of photos, for a fusion that reads them. What the fusion does not use is as
    absent as if there were no encoder of it. Degraded is a row that lost all of a modality. One that lost some of its
    photos has the others: that is only logged. The embedding's values are rounded to float16, so that every copy of it
    (shard, index, refine vectors) is the same.
    """
    n = batch.num_rows
    text, has_text = vectors_of(batch, "text_vector", text_dim if "text" in fusion.uses else None)
    image, has_image = vectors_of(batch, "image_vector", image_dim if "image" in fusion.uses else None)
    photo_fault = _fault(batch, "image", fusion)
    lost_image = pc.if_else(pa.array(has_image), None, photo_fault)
    fault = pc.coalesce(lost_image, _fault(batch, "text", fusion))
    if fewer := lost_image.null_count - photo_fault.null_count:
        _log.info("%d products are embedded without some of their photos, which cannot be read", fewer)
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
    values = pa.FixedSizeListArray.from_arrays(pa.array(embedding.reshape(-1)), fusion.dim)
    return (
        batch.drop_columns(["reject"])
        .append_column("reject", reject)
        .append_column("degraded", degraded)
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
    """(n, dim) float32 vectors, their states if asked for, and why some have none: position -> reason."""

    vectors: Vectors
    states: dict[int, Vectors]
    reasons: dict[int, str]


def _encode_photos(batches: Iterable[list[Any]], n: int, encoder: ImageEncoder, with_states: bool) -> _Photos:
    """What the encoder makes of n photos that come in micro-batches."""
    encode = encoder.encode_prepared_states if with_states else encoder.encode_prepared
    found = _Photos(np.zeros((n, encoder.dim), dtype=np.float32), {}, {})
    start = 0
    for prepared in batches:
        good = [i for i, one in enumerate(prepared) if not isinstance(one, PhotoError)]
        (vectors, states), failed = encode_each(encode, [prepared[i] for i in good], encoder.dim)
        found.reasons.update(
            (start + i, str(one.code)) for i, one in enumerate(prepared) if isinstance(one, PhotoError)
        )
        found.reasons.update((start + good[j], reason) for j, reason in failed.items())
        found.vectors[[start + i for i in good]] = vectors
        found.states.update((start + good[j], state) for j, state in enumerate(states))
        start += len(prepared)
        advanced(start / n)
    return found


def _photo_keys(photos: pa.StructArray) -> list[Hashable]:
    """What tells photos apart without decoding them: the digest of their bytes, else the path."""
    keys: list[Hashable] = []
    for start in range(0, len(photos), _LOOKED_AT):
        for photo in photos.slice(start, _LOOKED_AT).to_pylist():
            keys.append(photo["path"] if photo["bytes"] is None else blake3(photo["bytes"]).digest())
    return keys


def _prepared(
    photos: pa.StructArray, encoder: ImageEncoder, root: str, limits: PhotoLimits, pool: ThreadPoolExecutor
) -> Iterator[list[Any]]:
    """Micro-batches of prepared photos or PhotoErrors, in order; the next one is decoded while the caller encodes
    this one.
    """

    def prepare(photo: dict[str, Any]) -> Any:
        beat()
        try:
            raw = fetch(photo, root, limits)
        except PhotoError as err:
            return err
        with PIXELS.hold(claimed_pixels(raw, limits), limits.max_pixels):
            return _decoded(raw, encoder, limits)

    size = encoder.micro_batch
    ahead: list[Future[Any]] = []
    for start in range(0, len(photos), size):
        waiting = ahead or [pool.submit(prepare, photo) for photo in photos.slice(start, size).to_pylist()]
        ahead = [pool.submit(prepare, photo) for photo in photos.slice(start + size, size).to_pylist()]
        yield [future.result() for future in waiting]


def _decoded(raw: bytes, encoder: ImageEncoder, limits: PhotoLimits) -> Any:
    """A prepared photo, or why there is none."""
    try:
        decoded = encoder.decode(raw, limits)
    except PhotoError as err:
        return err
    try:
        return encoder.prepare(decoded)
    except _REFUSALS as err:
        fault = fault_of_all(err)
        if fault is not None:
            raise fault from err
        return PhotoError(Reason.ENCODER_FAILED, str(err))


def encode_each(
    encode: Callable[[Sequence[Any]], Vectors | Encoded], items: Sequence[Any], dim: int
) -> tuple[Encoded, dict[int, str]]:
    """(n, dim) float32 vectors, with states if `encode` gives them, and position -> reason of the items that cannot be
    encoded even alone.

    A batch that fails is halved until the item that fails is found: one row must not cost a unit.
    """
    if not items:
        return Encoded(np.empty((0, dim), dtype=np.float32), []), {}
    try:
        found = encode(items)
    except _REFUSALS as err:
        fault = fault_of_all(err)
        if fault is not None:  # every other row would be rejected for it
            raise fault from err
        if len(items) == 1:
            _log.warning("one row cannot be encoded: %s", err)
            nothing = Encoded(np.zeros((1, dim), dtype=np.float32), [np.zeros((0, 0), dtype=np.float32)])
            return nothing, {0: Reason.ENCODER_FAILED.value}
        half = len(items) // 2
        left, left_failed = encode_each(encode, items[:half], dim)
        right, right_failed = encode_each(encode, items[half:], dim)
        both = Encoded(np.concatenate([left.vectors, right.vectors]), left.states + right.states)
        return both, left_failed | {half + i: reason for i, reason in right_failed.items()}
    encoded = found if isinstance(found, Encoded) else Encoded(found, [])
    broken = np.flatnonzero(~np.isfinite(encoded.vectors).all(axis=1)).tolist()
    return encoded, dict.fromkeys(broken, Reason.NONFINITE_EMBEDDING.value)


def _good_rows(batch: pa.Table, column: str) -> pa.Array:
    """int64 positions of the rows that are good so far and have a value in `column`."""
    mask = pc.and_(pc.is_null(batch.column("reject")), pc.is_valid(batch.column(column)))
    return pa.array(np.flatnonzero(mask.combine_chunks().to_numpy(zero_copy_only=False)), pa.int64())


def _spread(vectors: Vectors, rows: Sequence[int], failed: dict[int, str], n: int) -> pa.Array:
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


def _fault(batch: pa.Table, modality: Modality, fusion: Fusion) -> pa.Array:
    """Why rows lost a modality; nulls where nothing was lost, and for a modality that the fusion does not use."""
    name = f"{modality}_fault"
    used = name in batch.column_names and modality in fusion.uses
    return batch.column(name).combine_chunks() if used else pa.nulls(batch.num_rows, pa.string())


def _states(kept: tuple[Kept, Kept] | None, rows: Sequence[int]) -> States:
    """The states of `rows`; those of several photos of a row one after the other."""
    if kept is None:
        raise ValueError("expected the states of texts and photos, which this fusion reads")
    none = np.zeros((0, 0), dtype=np.float32)
    sides = ([np.concatenate(side[row]) if row in side else none for row in rows] for side in kept)
    return States(*sides)
