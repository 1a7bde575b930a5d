"""Vectors that need not be made again: where rows get them, between fingerprints and encoders.

A row whose text, or whose photos, have the fingerprint of an earlier row gets the vector of that one, from the shard in
which it lies. Encoders make only the vectors that are null, so that whatever is filled in here stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.catalog.stage_columns import (
    IMAGE_VECTOR,
    PHOTO_FINGERPRINT,
    REJECT,
    TEXT_FINGERPRINT,
    TEXT_VECTOR,
    row_function,
    with_columns,
)
from pipeline.embed.earlier.earlier_vectors import FINGERPRINTS, EarlierVectors
from pipeline.embed.earlier.fingerprint_table import Places
from pipeline.embed.tally import Tally
from pipeline.embed.vectors import no_vectors, with_vectors

_FEW = 4  # shards in which a unit's rows lie that are read one by one, as most catalogs have them


class FilledRows(NamedTuple):
    """A table with vectors, and how many of them were copied."""

    table: pa.Table
    tally: Tally


@row_function(needs=(REJECT, TEXT_FINGERPRINT, PHOTO_FINGERPRINT), adds=(TEXT_VECTOR, IMAGE_VECTOR))
def fill_vectors(table: pa.Table, text_dim: int | None, image_dim: int | None, earlier: EarlierVectors) -> FilledRows:
    """`table` with a column of vectors for each tower, copied where `earlier` has them, null where the encoder has to
    make it; and how many were copied, from which shards that proved whole.
    """
    dims = {TEXT_VECTOR: text_dim, IMAGE_VECTOR: image_dim}
    table = empty_vectors(table, text_dim, image_dim)
    damaged = set[str]()
    for column, dim in dims.items():
        if dim is not None:
            table = with_columns(table, **{column: _copied(table, column, dim, earlier, damaged)})
    copied = [table.num_rows - table.column(column).null_count for column in dims]
    texts, photos = (0 if dim is None else count for dim, count in zip(dims.values(), copied, strict=True))
    return FilledRows(table, Tally(texts_copied=texts, photos_copied=photos, damaged=frozenset(damaged)))


def empty_vectors(table: pa.Table, text_dim: int | None, image_dim: int | None) -> pa.Table:
    """`table` with a column of vectors for each tower, all null: the encoders have to make them."""
    dims = {TEXT_VECTOR: text_dim, IMAGE_VECTOR: image_dim}
    return with_columns(table, **{name: no_vectors(table.num_rows, dim) for name, dim in dims.items()})


def _copied(table: pa.Table, column: str, dim: int, earlier: EarlierVectors, damaged: set[str]) -> pa.Array:
    """`column` with the vectors that earlier shards have for the fingerprints of good rows."""
    able = pc.is_null(table.column(REJECT))
    fingerprints = pc.if_else(able, table.column(FINGERPRINTS[column]), None).combine_chunks()
    places = earlier.find(column, fingerprints)
    if places is None:
        return table.column(column)
    found = np.flatnonzero(places.shards >= 0)
    if len(np.unique(places.shards[found])) > _FEW:
        there = Places(places.shards[found], places.rows[found])
        halves, good, broken = earlier.scattered(column, there, fingerprints.take(pa.array(found)), dim)
        damaged.update(map(earlier.file, broken))
        return with_vectors(table.column(column), found[good], halves[good])
    rows, vectors = [np.empty(0, np.int64)], [np.empty((0, dim), np.float16)]
    for shard, wanted in _by_shard(places.shards):
        shard_vectors = earlier.vectors(column, shard)
        if shard_vectors is None:
            damaged.add(earlier.file(shard))
            continue
        # The table is a hint: the shard has to have the row, the fingerprint there, and a vector.
        wanted = wanted[places.rows[wanted] < len(shard_vectors.there)]
        at = places.rows[wanted]
        same = pc.equal(shard_vectors.fingerprints.take(pa.array(at)), fingerprints.take(pa.array(wanted)))
        good = pc.fill_null(same, False).to_numpy(zero_copy_only=False) & shard_vectors.there[at]
        rows.append(wanted[good])
        vectors.append(shard_vectors.vectors[at[good]])
    return with_vectors(table.column(column), np.concatenate(rows), np.concatenate(vectors))


def _by_shard(shards: npt.NDArray[np.int64]) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Each shard that is found somewhere, and where."""
    order = np.argsort(shards, kind="stable")
    numbers, starts = np.unique(shards[order], return_index=True)
    for number, wanted in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True):
        if number >= 0:
            yield number, wanted
