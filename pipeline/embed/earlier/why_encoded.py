"""Why texts and photos have to be encoded though there was a night before: what a run tells beside how many."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.catalog.stage_columns import ID, IMAGE_VECTOR, REJECT, TEXT_VECTOR
from pipeline.embed.earlier.earlier_vectors import (
    FINGERPRINTS,
    IDS,
    NOT_KEPT,
    TRIED_AGAIN,
    WHY_NOT,
    EarlierVectors,
    not_copied,
)
from pipeline.embed.fingerprints import text_fingerprints

NEW, CHANGED, DAMAGED = "new", "changed", "shard_damaged"
_MODALITIES = {TEXT_VECTOR: "text", IMAGE_VECTOR: "photo"}


def why_encoded(table: pa.Table, earlier: EarlierVectors) -> tuple[tuple[str, str, int], ...]:
    """(modality, reason, products) of the rows of `table`, filled by reuse.py, whose vectors have to be made.

    The first that holds: `shard_damaged`, an earlier shard has the vector and is not as it was written; `tried_again`,
    the same text or photos were there and failed, in all or in part; `encoder_changed`, `limits_changed`, `not_kept`,
    they were there, and their vector is of another encoder, of other limits on photos, or was not kept; `changed`, the
    product's id was there, with another text or other photos; `new`, it was not.
    """
    why: Counter[tuple[str, str]] = Counter()
    for column, modality in _MODALITIES.items():
        if not pa.types.is_null(table.schema.field(column).type):
            for reason in _reasons(table, column, earlier):
                why[modality, reason] += 1
    return tuple((*key, products) for key, products in sorted(why.items()))


def _reasons(table: pa.Table, column: str, earlier: EarlierVectors) -> list[str]:
    """Of each row that lacks a vector of `column` and has what it is made of."""
    has = pc.and_(pc.is_valid(table.column(FINGERPRINTS[column])), pc.is_null(table.column(REJECT)))
    rows = table.select([ID, FINGERPRINTS[column]]).filter(pc.and_(has, pc.is_null(table.column(column))))
    if not rows.num_rows or earlier.none:
        return [NEW] * rows.num_rows
    fingerprints = rows.column(FINGERPRINTS[column]).combine_chunks()
    there, others = earlier.find(column, fingerprints), earlier.find(not_copied(column), fingerprints)
    ids = earlier.find(IDS, text_fingerprints(rows.column(ID)))
    if there is None or others is None or ids is None:  # a fusion that reads states: shards do not keep these
        return [NOT_KEPT] * rows.num_rows
    reasons = np.where(ids.shards >= 0, CHANGED, NEW).astype(object)
    unlike = others.shards >= 0
    reasons[unlike] = np.array(WHY_NOT, object)[others.shards[unlike]]
    for row in np.flatnonzero(there.shards >= 0):
        reasons[row] = TRIED_AGAIN if earlier.is_whole(int(there.shards[row])) else DAMAGED
    return list(reasons)
