"""Whether a snapshot may be published: figures of its manifest, held against bounds.

Everything is read from the manifest, never from a runner's counters, which double when work is retried; and the ids
from the files that it names.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lookup.manifest import Manifest, PartitionEntry, ShardEntry
from lookup.store import Store
from pipeline.fingerprints import id_hashes
from pipeline.report import GateResult

Scope = frozenset[str] | None

_READ_IDS = 16_384  # ids in memory at a time
_COMPARED = 65_536  # ids with an equal hash that are compared as texts; a snapshot with more is refused for these


class Gates(Protocol):
    """The section `gates` of a config; each bound is a share in 0..1."""

    @property
    def max_reject_share(self) -> float:
        """Rejected rows per row read."""

    @property
    def max_degraded_share(self) -> float:
        """Rows that lost a modality per row embedded."""

    @property
    def min_recall(self) -> float:
        """Measured recall@k of every partition."""

    @property
    def max_row_drop(self) -> float:
        """Rows lost against the parent, of the whole and of every partition."""


def check(manifest: Manifest, parent: Manifest | None, gates: Gates, scope: Scope) -> list[GateResult]:
    """Every gate's result, invariants first; publish only where all of them passed.

    `scope` names the partitions that this run touched (None: all). Shares and recall are taken over these, so that a
    re-index of one category is not refused for another's past; the rest must be the parent's, unchanged.
    """
    results = [_rows_accounted(manifest), _rows_indexed(manifest), _index_files(manifest), _products(manifest)]
    if parent is not None and scope is not None:
        results.append(_untouched(manifest, parent, scope))
    results.append(_reject_share(manifest, gates.max_reject_share, scope))
    results.append(_degraded_share(manifest, gates.max_degraded_share, scope))
    results += _recall(manifest, gates.min_recall, scope)
    if parent is not None:
        results += _row_drops(manifest, parent, gates.max_row_drop)
    return results


def ids_unique(store: Store, manifest: Manifest) -> GateResult:
    """Whether no product stands in two partitions: a moved one does, when only its new category was indexed again.

    Within a partition the build has looked. 16 bytes an id at most: 8-byte hashes find the few to compare as texts.
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
    at_least = "at least " if len(suspects) == _COMPARED else ""
    where = f"{at_least}{len(twice):,} ids in more than one place" + (f", such as {min(twice)!r}" if twice else "")
    return _result("ids_unique", len(twice), "<=", 0, where, "run the whole catalog (without --category)")


def _read_ids(paths: Sequence[Path]) -> Iterator[pa.Array]:
    for path in paths:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for batch in file.iter_batches(_READ_IDS, columns=["id"], use_threads=False):
                yield batch.column(0)


# --- invariants: these fail only when the program or a disk is at fault ---


def _rows_accounted(manifest: Manifest) -> GateResult:
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


def _rows_indexed(manifest: Manifest) -> GateResult:
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


def _index_files(manifest: Manifest) -> GateResult:
    wrong = [partition.name for partition in manifest.partitions if not _index_is_whole(partition, manifest)]
    return _none_wrong("index_files", wrong, "indexes whose ntotal, ids, dim or metric are not what the snapshot says")


def _index_is_whole(partition: PartitionEntry, manifest: Manifest) -> bool:
    index = partition.index
    same_rows = bool(index.files) and all(file.rows == index.rows for file in index.files.values())
    return same_rows and (index.dim, index.metric) == (manifest.dim, manifest.metric)


def _untouched(manifest: Manifest, parent: Manifest, scope: frozenset[str]) -> GateResult:
    before = {partition.name: partition for partition in parent.partitions if partition.name not in scope}
    after = {partition.name: partition for partition in manifest.partitions if partition.name not in scope}
    wrong = [name for name in before | after if before.get(name) != after.get(name)]
    return _none_wrong("untouched_partitions", wrong, "partitions that this run was not asked to touch, and changed")


def _none_wrong(name: str, wrong: Sequence[str], what: str) -> GateResult:
    names = sorted(set(wrong))
    where = f"{what}: {_listed(names)}" if names else f"no {what}"
    return _result(name, len(names), "<=", 0, where, "no setting helps: keep the run's folder and report it")


# --- quality: these fail when the catalog, the encoders or the indexes got worse ---


def _products(manifest: Manifest) -> GateResult:
    return _result("products", manifest.rows, ">=", 1, "products that can be found", "look at the rejects by reason")


def _reject_share(manifest: Manifest, bound: float, scope: Scope) -> GateResult:
    rejects = manifest.rejects(scope)
    share = _share(rejects.total(), rejects.total() + manifest.rows_in(scope))
    fix = "look at the rejects beside the shards; if they are right, raise gates.max_reject_share"
    return _result("reject_share", share, "<=", bound, _most(rejects, "rejected"), fix)


def _degraded_share(manifest: Manifest, bound: float, scope: Scope) -> GateResult:
    degraded = manifest.degraded(scope)
    share = _share(degraded.total(), manifest.rows_in(scope))
    fix = "look whether the photos can be reached; if they are gone for good, raise gates.max_degraded_share"
    return _result("degraded_share", share, "<=", bound, _most(degraded, "degraded"), fix)


def _recall(manifest: Manifest, bound: float, scope: Scope) -> list[GateResult]:
    """One result, of the worst partition; none where no partition was touched."""
    touched = [partition for partition in manifest.partitions if _touched(partition.name, scope)]
    if not touched:
        return []
    # A NaN is worse than any number: it means that nothing was measured.
    index = {partition.name: partition.index for partition in touched}
    worst = min(index, key=lambda name: -math.inf if math.isnan(index[name].recall) else index[name].recall)
    below = sum(not one.recall >= bound for one in index.values())
    measured = f"recall@{index[worst].k} of {index[worst].recall_queries:,} queries"
    where = f"worst partition: {worst}, {measured}; {below} of {len(index)} below the bound"
    fix = "search wider (nprobe, refine_factor), use larger codes, or lower gates.min_recall"
    return [_result("recall", index[worst].recall, ">=", bound, where, fix)]


def _row_drops(manifest: Manifest, parent: Manifest, bound: float) -> list[GateResult]:
    rows = {partition.name: partition.rows for partition in manifest.partitions}
    drops = {partition.name: _drop(partition.rows, rows.get(partition.name, 0)) for partition in parent.partitions}
    fix = "look whether the catalog is whole; if it did shrink, run once with gates.max_row_drop=1"
    whole = f"{manifest.rows:,} rows, {parent.rows:,} in the parent"
    results = [_result("row_drop", _drop(parent.rows, manifest.rows), "<=", bound, whole, fix)]
    if drops:
        worst = max(drops, key=lambda name: drops[name])
        before = next(partition.rows for partition in parent.partitions if partition.name == worst)
        now = f"{rows[worst]:,} rows" if worst in rows else "vanished"
        where = f"worst partition: {worst}, {now}, {before:,} in the parent"
        results.append(_result("partition_row_drop", drops[worst], "<=", bound, where, fix))
    return results


# --- small things ---


def _result(name: str, value: float, op: Literal["<=", ">="], bound: float, where: str, fix: str = "") -> GateResult:
    passed = value <= bound if op == "<=" else value >= bound
    advice = where if passed or not fix else f"{where}; {fix}"
    return GateResult(name=name, value=value, bound=bound, op=op, passed=passed, advice=advice)


def _touched(partition: str, scope: Scope) -> bool:
    return scope is None or partition in scope


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _drop(before: int, after: int) -> float:
    """The share of `before` that is lost, in 0..1; growth is no drop."""
    return max(0.0, _share(before - after, before))


def _most(counts: Counter[str], what: str) -> str:
    if not counts.total():
        return f"no row {what}"
    reason, rows = min(counts.items(), key=lambda item: (-item[1], item[0]))
    return f"{counts.total():,} rows {what}, most for {reason} ({rows:,})"


def _listed(names: Iterable[str], limit: int = 5) -> str:
    shown = list(names)
    return ", ".join(shown[:limit]) + (f" and {len(shown) - limit} more" if len(shown) > limit else "")
