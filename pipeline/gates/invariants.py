"""Gates that fail only when the program or a disk is at fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lookup.manifest import Manifest, PartitionEntry, ShardEntry, made_of
from lookup.store import Store
from pipeline.gates.result import listed, result
from pipeline.index_ids import misplaced
from pipeline.report import GateResult


def rows_accounted(manifest: Manifest) -> GateResult:
    """Of every shard, rows in are embedded + rejected."""
    wrong = [entry.record.name for entry in manifest.shards if not _adds_up(entry)]
    return _none_wrong("rows_accounted", wrong, "shards whose rows in are not embedded + rejected")


def _adds_up(entry: ShardEntry) -> bool:
    """Whether a shard's counts agree. Of one that a re-index has replaced in part, only its own record can."""
    record = entry.record
    embedded = sum(segment.rows for segment in record.segments)
    rejected = sum(reject.rows for reject in record.rejected)
    if not set(entry.segments) <= set(record.segments) or not set(entry.rejected) <= set(record.rejected):
        return False
    in_files = (record.file.rows if record.file else 0, record.rejects.rows if record.rejects else 0)
    return record.rows_in == embedded + rejected and in_files == (embedded, rejected)


def rows_indexed(manifest: Manifest) -> GateResult:
    """Every partition has one index, of the rows of its live segments."""
    live: Counter[str] = Counter()
    for shard in manifest.shards:
        for segment in shard.segments:
            live[segment.partition] += segment.rows
    named = Counter(partition.name for partition in manifest.partitions)
    wrong = [name for name in live if name not in named] + [name for name, times in named.items() if times > 1]
    for partition in manifest.partitions:
        if not partition.rows == partition.index.rows == live[partition.name]:
            wrong.append(partition.name)
    return _none_wrong("rows_indexed", wrong, "partitions whose index does not hold the rows of their live segments")


def index_files(manifest: Manifest) -> GateResult:
    """Every index holds as many vectors, ids and refine vectors as it says, of the snapshot's length and metric."""
    wrong = [partition.name for partition in manifest.partitions if not _index_is_whole(partition, manifest)]
    return _none_wrong("index_files", wrong, "indexes whose ntotal, ids, dim or metric are not what the snapshot says")


def _index_is_whole(partition: PartitionEntry, manifest: Manifest) -> bool:
    index = partition.index
    same_rows = bool(index.files) and all(file.rows == index.rows for file in index.files.values())
    return same_rows and (index.dim, index.metric) == (manifest.dim, manifest.metric)


def index_rows(store: Store, manifest: Manifest) -> GateResult:
    """Every index was made of the live segments of its partition, ids and vectors. One of an earlier version does not
    say what it was made of: its ids are compared.
    """
    live, silent, wrong = manifest.live(), list[PartitionEntry](), list[str]()
    for partition in manifest.partitions:
        if partition.index.made_of is None:
            silent.append(partition)
        elif partition.index.made_of != made_of([segment.digest for _, segment in live.get(partition.name, [])]):
            wrong.append(partition.name)
    wrong += misplaced(store, manifest, silent)
    return _none_wrong("index_rows", wrong, "partitions whose index was made of other rows than theirs")


def untouched(manifest: Manifest, parent: Manifest, scope: frozenset[str]) -> GateResult:
    """Partitions outside of `scope` are the parent's."""
    before = {partition.name: partition for partition in parent.partitions if partition.name not in scope}
    after = {partition.name: partition for partition in manifest.partitions if partition.name not in scope}
    wrong = [name for name in before | after if before.get(name) != after.get(name)]
    return _none_wrong("untouched_partitions", wrong, "partitions that this run was not asked to touch, and changed")


def _none_wrong(name: str, wrong: Sequence[str], what: str) -> GateResult:
    names = sorted(set(wrong))
    where = f"{what}: {listed(names)}" if names else f"no {what}"
    return result(name, len(names), "<=", 0, where, "no setting helps: keep the run's folder and report it")
