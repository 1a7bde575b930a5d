"""A catalog that is, byte for byte, the one of which the published snapshot was made: no row of it is read again."""

from __future__ import annotations

import logging

from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.config.published import to_measure
from pipeline.config.sections import Embedding
from pipeline.embed.earlier.same_catalog import run_of_same_catalog
from pipeline.embed.shard_files import reusable_shard
from pipeline.embed.stage import Embedded
from pipeline.embed.tally import NOTHING_DONE
from pipeline.embed.tries import failed_rows
from pipeline.plan.units import Plan

_log = logging.getLogger(__name__)


def standing_catalog(
    store: Store, embedding: Embedding, plan: Plan, snapshot: str | None, parent: Manifest | None, run: str
) -> Embedded | None:
    """The shards of the published `snapshot`, `parent`, where a run before `run` made, or found, it of a plan that is
    equal to `plan`, all of them are whole, and nothing in them is tried again. None: the rows have to be read.

    Not where there are photos: these may change though the catalog does not.
    """
    if snapshot is None or parent is None or embedding.encoders.image is not None or to_measure(embedding):
        return None
    before = run_of_same_catalog(store, plan, snapshot, run)
    if before is None:
        return None
    for shard in parent.shards.entries:
        record = reusable_shard(store, shard.name)
        if record is None or failed_rows(record) or (record.file, record.rejects) != (shard.file, shard.rejects):
            return None
    _log.info("the catalog is, byte for byte, that of run %s: nothing of it is read again", before)
    return Embedded(parent.shards, len(plan.units), NOTHING_DONE)
