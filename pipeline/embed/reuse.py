"""Vectors that need not be made again: where rows get them, between fingerprints and encoders.

Today nothing is copied: a shard that stands is used whole, and of any other each vector is made. Encoders make only
those that are null, so that whatever is filled in here stays.
"""

from __future__ import annotations

import pyarrow as pa

from pipeline.catalog.stage_columns import IMAGE_VECTOR, TEXT_VECTOR, row_function, with_columns
from pipeline.embed.vectors import no_vectors


@row_function(adds=(TEXT_VECTOR, IMAGE_VECTOR))
def fill_vectors(table: pa.Table, text_dim: int | None, image_dim: int | None) -> pa.Table:
    """`table` with a column of vectors for each tower, null where the encoder has to make it."""
    dims = {TEXT_VECTOR: text_dim, IMAGE_VECTOR: image_dim}
    return with_columns(table, **{name: no_vectors(table.num_rows, dim) for name, dim in dims.items()})
