"""Runs that encode and build nothing: of each partition a shard and an index of a few bytes, in a real store."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

from blake3 import blake3

from lookup.store.fields import FileRef
from lookup.store.manifest import CatalogEntry, Manifest, PartitionEntry, Provenance
from lookup.store.records import write_record
from lookup.store.shard_record import Segment, ShardRecord
from lookup.store.shards import Shards, chained
from lookup.store.store import Store
from pipeline.build.index_files import Made, made_path, record_path
from pipeline.embed.shard_files import mark_unit
from pipeline.publish.merge import Mine, Parent
from pipeline.publish.publishing import Ended, publish
from pipeline.publish.snapshot import content_of
from tests.support.manifests import flat_index


@dataclass
class TinyRun:
    """A run of the whole catalog (`whole`), or of the partitions in `says` alone: name -> what its rows are."""

    path: str
    number: int
    says: Mapping[str, int]
    whole: bool
    made: Manifest | None = None
    _alive: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.name = f"20260101T000000Z-{self.number:07x}"
        self.read = Provenance(run=self.name, catalog=f"{self.number:064x}", read_at=datetime.now(UTC))
        store = self._store()
        base = store.latest()
        self.parent = Parent(base, None if base is None else store.manifest(base.snapshot))
        self._alive.enter_context(store.working(self.name))
        store.put_bytes(b"{}", f"runs/{self.name}/plan.json")

    def work(self) -> None:
        """Write shards and indexes, and of them the manifest."""
        store = self._store()
        made = [self._partition(store, number, name) for number, name in enumerate(sorted(self.says))]
        before = None if self.whole else self.parent.manifest
        shards = Shards.of((record, "c.parquet", (0, 1)) for record, _ in made)
        kept = () if before is None else tuple(one for one in before.partitions if one.name not in self.says)
        manifest = Manifest(
            parent=self.parent.snapshot,
            run=self.name,
            created_at=datetime.now(UTC),
            content="",
            catalog=CatalogEntry(path="c", image_root=None, image_column=None, identity=self.read.catalog, rows=1),
            config={},
            text=None,
            image=None,
            fusion={},
            dim=2,
            metric="ip",
            attributes=(),
            shards=shards if before is None else chained([before.shards.without(frozenset(self.says)), shards]),
            partitions=tuple(sorted([*kept, *(entry for _, entry in made)], key=lambda one: one.name)),
            whole=self.read if self.whole else before and before.whole,
        )
        self.made = manifest.model_copy(update={"content": content_of(manifest)})

    def end(self) -> Ended:
        """Publish what was made."""
        assert self.made is not None
        scope = None if self.whole else frozenset(self.says)
        mine = Mine(self.made, self.parent.manifest, scope, self.read)
        return publish(
            self._store(), mine, self.parent, lambda: "a test", lambda _: None, lambda _, done: done.manifest
        )

    def die(self) -> None:
        """Its process is gone, and with it what it held."""
        self._alive.close()

    def _store(self) -> Store:
        return Store.at(self.path)

    def _partition(self, store: Store, number: int, name: str) -> tuple[ShardRecord, PartitionEntry]:
        raw = f"{name} {self.says[name]}".encode()
        inputs = blake3(raw).hexdigest()
        with store.scratch() as folder:
            (folder / "shard").write_bytes(raw)
            file = store.put_content(folder / "shard", "shards", ".parquet", 1)
            (folder / "index").write_bytes(raw)
            index = FileRef(path=f"indexes/{inputs}/index.faiss", bytes=len(raw), rows=1, blake3=inputs)
            store.put_whole(folder / "index", index)
        segment = Segment(partition=name, row_group=0, rows=1, digest=inputs)
        shard = ShardRecord(
            name=inputs[:32], inputs=inputs[:32], rows_in=1, file=file, rejects=None, segments=(segment,), rejected=()
        )
        write_record(store, f"shards/{shard.name}.json", shard)
        mark_unit(store, self.name, number, shard.name, reused=False)
        record = flat_index(inputs, files={"index": index})
        write_record(store, record_path(inputs), record)
        write_record(store, made_path(inputs), Made(name=inputs, index=inputs))
        return shard, PartitionEntry(name=name, rows=1, index=record, provenance=self.read)
