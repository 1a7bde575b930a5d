"""Whether a product stands in two partitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from foundation.liveness import beat
from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.catalog.names import id_hashes
from pipeline.publish.gates.base import Comparison, SnapshotGate, listed, runs_of
from pipeline.report.run_report import GateResult

_READ_IDS = 16_384  # ids in memory at a time
_COMPARED = 65_536  # ids with an equal hash that are compared as texts; a snapshot with more is refused for these


class Gate(SnapshotGate):
    """No product stands in two partitions: a moved one does, when only its new category was indexed again. Within a
    partition the build has looked.
    """

    name, bound, rank, acceptable = "ids_unique", 0, 140, False

    def check(self, comparison: Comparison) -> Iterable[GateResult]:
        """See SnapshotGate."""
        twice, at_least = ids_twice(comparison.store, comparison.new)
        where = f"{at_least}{len(twice):,} ids in more than one place"
        fix = "run the whole catalog (without --category)"
        if twice:
            name = min(twice)
            where += f", such as {name!r} in {listed(repr(one) for one in twice[name])}"
            left = {one for places in twice.values() for one in places if not comparison.touched(one)}
            if left and not comparison.merged:
                fix += f", or first, where they moved from: {runs_of(left)}"
        yield self.result(comparison.bounds, len(twice), where, fix)


def ids_twice(store: Store, manifest: Manifest) -> tuple[dict[str, list[str]], str]:
    """The ids that stand twice, with their partitions, and `at least ` where there may be more. 16 bytes an id at most:
    8-byte hashes find the few to compare as texts.
    """
    partitions = manifest.partitions if len(manifest.partitions) > 1 else ()
    paths = {one.name: store.verified(one.index.files["ids"]) for one in partitions}
    every = (id_hashes(ids) for path in paths.values() for ids in _read_ids(path))
    hashes = np.concatenate([np.empty(0, np.uint64), *every])
    hashes.sort()
    suspects = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])[:_COMPARED]
    places: dict[str, list[str]] = {}
    for name, path in paths.items() if len(suspects) else ():
        for ids in _read_ids(path):
            for one in ids.filter(pa.array(np.isin(id_hashes(ids), suspects))).to_pylist():
                places.setdefault(one, []).append(name)
    twice = {name: found for name, found in places.items() if len(found) > 1}
    return twice, "at least " if len(suspects) == _COMPARED else ""


def _read_ids(path: Path) -> Iterator[pa.Array]:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for batch in file.iter_batches(_READ_IDS, columns=["id"], use_threads=False):
            beat()
            yield batch.column(0)
