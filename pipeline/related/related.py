"""The table of related products of a published snapshot, partition by partition: those that did not change are copied
from the table before.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from foundation.errors import InputError
from foundation.identity import identity_of
from lookup.collapse import Duplicates
from lookup.filters.rows import Filters
from lookup.index.ranking import Found
from lookup.opened import Opened
from lookup.personal.items import ItemQueries
from lookup.personal.related import related_blocks
from lookup.query import QueryEncoder
from lookup.search import open_partition
from lookup.segments import Segments
from lookup.store.manifest import Manifest, PartitionEntry
from lookup.store.store import Store
from pipeline.engine.progress import Progress
from pipeline.related.table_file import FORMAT, SCHEMA, About, EarlierTable, Part, earlier_table, table_writer


@dataclass(frozen=True)
class RelatedRequest:
    """What is asked for: `k` related products of each, of near-duplicates by `collapse` one (None: all of them)."""

    store: str
    out: Path
    k: int = 20
    collapse: str | None = None
    earlier: Path | None = None  # the table before; None: what stands at `out`, if anything does


@dataclass(frozen=True)
class RelatedTable:
    """What was written."""

    out: Path
    snapshot: str
    products: int
    partitions: int
    copied: int  # partitions
    computed: int
    products_computed: int
    bytes: int
    seconds: float


def write_related(request: RelatedRequest, progress: Progress) -> RelatedTable:
    """Write the table of the published snapshot.

    InputError where the earlier file is none, or a product cannot be asked by; IntegrityError where the store is
    damaged. Then the file at `out` stays as it was.
    """
    began = time.perf_counter()
    making = _Making.of(Store.open(request.store), request)
    done = computed = products = 0
    with ExitStack() as stack:
        before = _before(request, stack)
        write = stack.enter_context(table_writer(request.out, making.about))
        for entry, part in zip(making.manifest.partitions, making.about.partitions, strict=True):
            stands = before is not None and before.parts.get(part.name) == part
            computed, products = computed + (not stands), products + (0 if stands else part.rows)
            for table in before.groups(part) if before is not None and stands else making.groups(entry):
                write(table)
                done += len(table)
                progress("related", done, making.manifest.rows)
    total = len(making.about.partitions)
    return RelatedTable(
        out=request.out,
        snapshot=making.snapshot,
        products=done,
        partitions=total,
        copied=total - computed,
        computed=computed,
        products_computed=products,
        bytes=request.out.stat().st_size,
        seconds=time.perf_counter() - began,
    )


def _before(request: RelatedRequest, stack: ExitStack) -> EarlierTable | None:
    """The table before, open; None where there is none and none was named."""
    path = request.earlier or request.out
    if request.earlier is None and not path.exists():
        return None
    if not path.is_file():
        fix = "correct --earlier, or leave it out: all is then made anew" if request.earlier else "give another --out"
        raise InputError("the file of a table of `vitrine related`", f"{path}, which is none", fix)
    return stack.enter_context(earlier_table(path))


@dataclass(frozen=True)
class _Making:
    """A snapshot whose table is made."""

    store: Store
    snapshot: str
    manifest: Manifest
    about: About
    kind: str | None
    duplicates: Duplicates
    queries: QueryEncoder
    segments: Segments

    @classmethod
    def of(cls, store: Store, request: RelatedRequest) -> _Making:
        snapshot, manifest = store.published()
        duplicates = Duplicates(store, manifest.partitions)
        kind, queries = duplicates.kind(request.collapse), QueryEncoder.of(manifest)
        about = _about(snapshot, manifest, request.k, kind)
        return cls(store, snapshot, manifest, about, kind, duplicates, queries, Segments(store, snapshot))

    def groups(self, entry: PartitionEntry) -> Iterator[pa.Table]:
        """The row groups of a partition, computed."""
        waiting, rows = list[pa.Table](), 0
        for block in self._blocks(entry):
            waiting.append(block)
            rows += len(block)
            if rows >= self.about.group_rows:
                yield pa.concat_tables(waiting)
                waiting, rows = [], 0
        if rows:
            yield pa.concat_tables(waiting)

    def _blocks(self, entry: PartitionEntry) -> Iterator[pa.Table]:
        partition = open_partition(self.store, entry, self.manifest.shards)
        filters = Filters(self.segments, self.manifest.attributes, self.manifest.config["catalog"])
        opened = Opened(self.store, self.manifest, {entry.name: partition}, self.segments, filters)
        groups = None if self.kind is None else self.duplicates.of_partition(entry.name, self.kind)
        labels = None if groups is None else groups[0]
        # in one piece, which `take` would make anew for each block
        ids, start = partition.index.id_column.cast(pa.large_string()).combine_chunks(), 0
        items = ItemQueries(opened, self.queries.fusion)
        for found in related_blocks(opened, items, entry.name, self.about.k, labels):
            yield _table(entry.name, ids.slice(start, len(found[0])), ids, found)
            start += len(found[0])


def _about(snapshot: str, manifest: Manifest, k: int, kind: str | None) -> About:
    """What a table is made of, and of each partition the digest by which it is known again."""
    fusion = manifest.fusion_identity or identity_of(manifest.fusion)
    text, image = (one and one.identity for one in (manifest.text, manifest.image))
    settings = {"fusion": fusion, "text": text, "image": image, "metric": manifest.metric}
    parts = []
    for one in manifest.partitions:
        collapsed = one.duplicates.name if kind is not None and one.duplicates is not None else None
        searched = {"index": one.index.name, "nprobe": one.index.nprobe, "refine_factor": one.index.refine_factor}
        made_of = identity_of(
            {"format": FORMAT, "k": k, "collapse": kind, "settings": settings, "duplicates": collapsed, **searched}
        )
        parts.append(Part(name=one.name, rows=one.rows, index=one.index.name, made_of=made_of))
    return About(snapshot=snapshot, k=k, collapse=kind, settings=settings, partitions=tuple(parts))


def _table(name: str, mine: pa.Array, ids: pa.Array, found: Found) -> pa.Table:
    """Rows of the table: the products `mine`, (n,) ids, and what was found for them among all `ids` of a partition."""
    scores, positions = found
    there = positions >= 0
    ends = pa.array(np.concatenate([[0], np.cumsum(there.sum(axis=1))]), pa.int32())
    related = ids.take(pa.array(positions[there])).cast(pa.string())
    columns = [
        mine.cast(pa.string()),
        pa.repeat(name, len(mine)),
        pa.ListArray.from_arrays(ends, related, type=SCHEMA.field("related").type),
        pa.ListArray.from_arrays(ends, pa.array(scores[there]), type=SCHEMA.field("scores").type),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)
