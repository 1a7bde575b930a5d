"""Whether a product stands in two partitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from foundation.liveness import beat
from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.catalog.names import id_hashes
from pipeline.publish.gates.base import Comparison, SnapshotGate
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
        where = f"{at_least}{len(twice):,} ids in more than one place" + (f", such as {min(twice)!r}" if twice else "")
        yield self.result(comparison.bounds, len(twice), where, "run the whole catalog (without --category)")


def ids_twice(store: Store, manifest: Manifest) -> tuple[list[str], str]:
    """The ids that stand twice, and `at least ` where there may be more. 16 bytes an id at most: 8-byte hashes find the
    few to compare as texts.
    """
    partitions = manifest.partitions if len(manifest.partitions) > 1 else ()
    paths = [store.verified(partition.index.files["ids"]) for partition in partitions]
    hashes = np.concatenate([np.empty(0, np.uint64), *(id_hashes(ids) for ids in _read_ids(paths))])
    hashes.sort()
    suspects = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])[:_COMPARED]
    counts: Counter[str] = Counter()
    for ids in _read_ids(paths) if len(suspects) else ():
        counts.update(ids.filter(pa.array(np.isin(id_hashes(ids), suspects))).to_pylist())
    twice = [name for name, times in counts.items() if times > 1]
    return twice, "at least " if len(suspects) == _COMPARED else ""


def _read_ids(paths: Sequence[Path]) -> Iterator[pa.Array]:
    for path in paths:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for batch in file.iter_batches(_READ_IDS, columns=["id"], use_threads=False):
                beat()
                yield batch.column(0)
