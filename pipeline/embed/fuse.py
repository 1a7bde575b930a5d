"""A unit's vectors into one embedding a row, and its rows into good ones and rejects: pure functions on a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encoders.fusion.base import Fusion, States, StatesFusion
from foundation.reasons import Reason
from index_builders.rows.shards import embedding_array
from pipeline.catalog import stage_columns as col
from pipeline.catalog.stage_columns import row_function, with_columns
from pipeline.embed.encode import NONFINITE, RowStates
from pipeline.embed.vectors import vectors_of

_OF_PHOTOS = (col.IMAGE_FAULT, col.IMAGE_DETAIL, col.PHOTO_COUNT, col.PHOTOS_LOST)
_OF_TEXTS = (col.TEXT_FAULT, col.TEXT_DETAIL)


@row_function(
    needs=(col.REJECT, col.DETAIL, col.TEXT_VECTOR, col.IMAGE_VECTOR, *_OF_TEXTS, *_OF_PHOTOS),
    adds=(col.REJECT, col.DETAIL, col.DEGRADED, col.EMBEDDING, col.PHOTO_COUNT, col.PHOTOS_LOST),
)
def fuse(
    batch: pa.Table,
    fusion: Fusion,
    text_dim: int | None,
    image_dim: int | None,
    states: tuple[RowStates, RowStates] | None = None,
) -> pa.Table:
    """`batch` with embedding, reject, degraded and detail decided: every row is either good or has a reason.

    `states` are those of texts and of photos, for a fusion that reads them. What the fusion does not use is as
    absent as if there were no encoder of it. Degraded is a row that lost all of a modality. One that lost some of its
    photos has the others: its `photos_lost` says so, and `detail` why. The embedding's values are rounded to float16,
    so that every copy of it (shard, index, refine vectors) is the same.
    """
    n = batch.num_rows
    text, has_text = vectors_of(batch, col.TEXT_VECTOR, text_dim if "text" in fusion.uses else None)
    image, has_image = vectors_of(batch, col.IMAGE_VECTOR, image_dim if "image" in fusion.uses else None)
    known = _used(batch, fusion)
    lost_image = pc.if_else(pa.array(has_image), None, known[col.IMAGE_FAULT])
    fault = pc.coalesce(lost_image, known[col.TEXT_FAULT])
    lost = pa.array(~(has_text | has_image))
    fallback = pc.if_else(lost, Reason.NO_MODALITY.value, None)
    reject = pc.coalesce(_array(batch, col.REJECT), pc.if_else(lost, fault, None), fallback)
    good = np.flatnonzero(reject.is_null().to_numpy(zero_copy_only=False))
    embedding = np.zeros((n, fusion.dim), dtype=np.float32)
    rows = text[good], image[good], has_text[good], has_image[good]
    if isinstance(fusion, StatesFusion):
        embedding[good] = fusion.items(*rows, states=_states(states, good.tolist())).astype(np.float16)
    else:
        embedding[good] = fusion.items(*rows).astype(np.float16)
    finite = pa.array(np.isfinite(embedding).all(axis=1))
    reject = pc.if_else(finite, reject, Reason.NONFINITE_EMBEDDING.value)
    # beside the reason; where nothing but some photos was lost, of the first of those
    of_image = pc.if_else(pc.is_valid(lost_image), known[col.IMAGE_DETAIL], None)
    detail = pc.coalesce(_array(batch, col.DETAIL), of_image, known[col.TEXT_DETAIL], known[col.IMAGE_DETAIL])
    detail = pc.if_else(finite, detail, NONFINITE)
    detail = pc.if_else(pc.and_(pc.is_valid(reject), pc.is_null(detail)), "neither text nor photo to embed", detail)
    decided = {
        col.REJECT: reject,
        col.DETAIL: detail,
        col.DEGRADED: pc.if_else(reject.is_null(), fault, None),
        col.EMBEDDING: embedding_array(embedding),
        col.PHOTO_COUNT: known[col.PHOTO_COUNT],
        col.PHOTOS_LOST: known[col.PHOTOS_LOST],
    }
    return with_columns(batch, **decided)


def split(batch: pa.Table) -> tuple[pa.Table, pa.Table]:
    """(good rows sorted by partition and then by row, rejected rows in catalog order)."""
    bad = pc.is_valid(batch.column(col.REJECT))
    order = [(col.PARTITION, "ascending"), (col.ROW, "ascending")]
    return batch.filter(pc.invert(bad)).sort_by(order), batch.filter(bad)


def count_pairs(table: pa.Table, first: str, second: str) -> list[tuple[str, str, int]]:
    """(first, second, rows) of each pair of values, sorted."""
    pairs = Counter(zip(table.column(first).to_pylist(), table.column(second).to_pylist(), strict=True))
    return [(a, b, rows) for (a, b), rows in sorted(pairs.items())]


def _used(batch: pa.Table, fusion: Fusion) -> dict[str, pa.Array]:
    """What is known of texts and photos beside their vectors; of a modality that the fusion does not use, nothing."""
    of = {**dict.fromkeys(_OF_TEXTS, "text"), **dict.fromkeys(_OF_PHOTOS, "image")}
    return {
        name: _array(batch, name) if modality in fusion.uses else _nothing(batch, name) for name, modality in of.items()
    }


def _nothing(batch: pa.Table, name: str) -> pa.Array:
    counts = name in (col.PHOTO_COUNT, col.PHOTOS_LOST)
    return pa.array(np.zeros(batch.num_rows, np.int32)) if counts else pa.nulls(batch.num_rows, pa.string())


def _array(batch: pa.Table, name: str) -> pa.Array:
    return batch.column(name).combine_chunks()


def _states(states: tuple[RowStates, RowStates] | None, rows: Sequence[int]) -> States:
    """The states of `rows`; those of several photos of a row one after the other."""
    if states is None:
        raise ValueError("expected the states of texts and photos, which this fusion reads")
    none = np.zeros((0, 0), dtype=np.float32)
    sides = ([np.concatenate(side[row]) if row in side else none for row in rows] for side in states)
    return States(*sides)
