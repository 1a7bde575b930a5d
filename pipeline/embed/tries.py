"""Failures that may pass are tried again every night: a photo that was late, an encoder that failed.

What a shard is made of does not change when a failure passes: under `image_identity: version` not even when the
photo arrives. So a unit may be tried again, though a shard of its inputs stands: the vectors that stand are copied, the
others are made, and where all comes out as it was, so does the name of the shard.

A unit of which a row lost a photo is tried again when the files of its photos are others than they were, and not
before. A row at which the encoder failed, whose photo changed while the run went on, or was given up by the clock or
because its decoder crashed, is tried each night.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from foundation.reasons import Reason
from lookup.store.shard_record import ShardRecord
from lookup.store.store import Store
from pipeline.catalog import stage_columns as col
from pipeline.catalog.stage_columns import row_function, with_columns
from pipeline.config.sections import Embedding
from pipeline.embed.earlier.earlier_vectors import EarlierVectors
from pipeline.embed.fingerprints import photo_fingerprints
from pipeline.embed.shard_files import reusable_shard
from pipeline.embed.tally import Tally
from pipeline.photos.root import Root

_OF_PHOTOS = frozenset(reason.value for reason in Reason if reason.name.startswith("IMAGE_"))
_CHANGED = "changed meanwhile"  # in place of a state: whatever the files look like, they may be read now


@dataclass(frozen=True)
class Standing:
    """What of a unit stands: `inputs` are what its shard is made of, see fingerprints.py, `name` is that of the shard
    that is whole and final; None: it has to be made.
    """

    inputs: str
    name: str | None = None


def standing(
    store: Store, earlier: EarlierVectors, inputs: str, unit: pa.Table, embedding: Embedding, root: Root
) -> tuple[Standing, Tally]:
    """What stands of the unit that is made of `inputs`; and the shard that should, where it is damaged."""
    name = earlier.shard_of(inputs)
    if name is None:
        return Standing(inputs), Tally()
    record = reusable_shard(store, name)
    if record is None:
        return Standing(inputs), Tally(damaged=frozenset([earlier.file_of(name)]))
    return Standing(inputs, None if may_have_passed(record, unit, embedding, root) else name), Tally()


def failed_rows(record: ShardRecord) -> dict[str, int]:
    """Reason -> rows that lost a modality, or all, by a failure that may pass; `photos_lost` counts photos."""
    found: dict[str, int] = {}
    lost = [one for segment in record.segments for one in segment.degraded]
    for reason, rows in [*lost, *((one.reason, one.rows) for one in record.rejected)]:
        if reason in _OF_PHOTOS or reason == Reason.ENCODER_FAILED:
            found[reason] = found.get(reason, 0) + rows
    if lost_of_several := sum(segment.photos_lost for segment in record.segments):
        found[col.PHOTOS_LOST] = lost_of_several
    return found


@row_function(needs=(col.PHOTOS, col.VERSION), adds=(col.PHOTO_STATE,), drops=(col.VERSION,))
def add_photo_states(unit: pa.Table, embedding: Embedding, root: Root) -> pa.Table:
    """`unit` with what is known of the files of its photos before they are read, where its fingerprints do not say;
    null elsewhere.
    """
    states = _states(unit, embedding, root) if _looks(embedding) else pa.nulls(unit.num_rows, col.FINGERPRINT)
    return with_columns(unit, **{col.PHOTO_STATE: states}).drop_columns([col.VERSION])


def state_of(fused: pa.Table) -> str:
    """Of a fused unit of which some row lost a photo, the states of all its photos' files, digested; else empty.

    Where one of them may be read another time, its file being as it is, that is said in their place.
    """
    reasons = pc.coalesce(fused.column(col.REJECT), fused.column(col.DEGRADED))
    lost = pc.or_(pc.is_in(reasons, pa.array(sorted(_OF_PHOTOS))), pc.greater(fused.column(col.PHOTOS_LOST), 0))
    if pc.any(pc.and_kleene(lost, fused.column(col.MAY_PASS))).as_py():
        return _CHANGED
    states = fused.column(col.PHOTO_STATE)
    looked_at = states.null_count < len(states)  # a row that lost a photo has one
    return _digest(fused.column(col.ROW), states) if looked_at and pc.any(lost).as_py() else ""


def may_have_passed(record: ShardRecord, unit: pa.Table, embedding: Embedding, root: Root) -> bool:
    """Whether a unit whose shard stands is tried again all the same: what `record` lost in it may be had by now."""
    failed = failed_rows(record)
    if Reason.ENCODER_FAILED.value in failed or record.photo_state == _CHANGED:
        return True
    if not failed or not _looks(embedding):
        return False
    return _digest(unit.column(col.ROW), _states(unit, embedding, root)) != record.photo_state


def _looks(embedding: Embedding) -> bool:
    """Whether files have to be looked at, because fingerprints do not change with them."""
    return embedding.encoders.image is not None and embedding.catalog.image_identity == "version"


def _states(unit: pa.Table, embedding: Embedding, root: Root) -> pa.Array:
    by_stat = embedding.catalog.model_copy(update={"image_identity": "stat"})
    return photo_fingerprints(unit.column(col.PHOTOS), unit.column(col.VERSION), by_stat, root)


def _digest(rows: pa.ChunkedArray, states: pa.ChunkedArray | pa.Array) -> str:
    pairs = sorted(zip(rows.to_pylist(), states.to_pylist(), strict=True))
    return blake3(b"".join(row.to_bytes(4, "little") + (state or b"") for row, state in pairs)).hexdigest()[:32]
