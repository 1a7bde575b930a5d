"""What is open of a snapshot: its partitions, where their rows lie, and the filters on their attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from foundation.arrays import Vectors
from foundation.errors import IntegrityError
from lookup.candidates import Candidates
from lookup.filters.rows import Filters
from lookup.filters.where import parsed
from lookup.halves import Within, Words
from lookup.hit import Hit, value_of
from lookup.meant import partitions_meant
from lookup.query import Query
from lookup.segments import Partition, Segments, of_other_rows
from lookup.store.manifest import Manifest, PartitionEntry
from lookup.store.shards import ShardEntry, file_of
from lookup.store.store import Store


@dataclass(frozen=True)
class Opened:
    """An open snapshot, as every step of a search is given it. Threads may share it."""

    store: Store
    manifest: Manifest
    partitions: Mapping[str, Partition]
    segments: Segments
    filters: Filters
    words: Words | None = None  # None: it is not searched by words

    def searched(self, category: str | None) -> list[Partition]:
        """The partitions of a search, all for None; InputError where there is no such category."""
        if category is None:
            return list(self.partitions.values())
        return partitions_meant(category, self.partitions, self.manifest.config["catalog"])

    def within(self, query: Query) -> Within:
        """The partitions that `query` searches, each with the rows that meet its conditions, None for all of them."""
        return self.filters.matching(self.searched(query.category), parsed(query.where))

    def row(self, name: str, position: int) -> tuple[ShardEntry, dict[str, pa.Scalar]]:
        """The shard of a position of partition `name`, and what its row shows: id, row, photo, attributes;
        IntegrityError where the index was built of other rows.
        """
        partition = self.partitions[name]
        shard, row_group, row = partition.locate(position)
        file = file_of(shard)
        table = self.segments.table(file, row_group)
        at = {column: table.column(column)[row] for column in table.column_names}
        found = at["id"].as_py()
        (indexed,) = partition.index.ids([position])
        if indexed != found:
            raise self._of_other_rows(name, f"{indexed!r} at position {position} of it, {found!r} in {file.path}")
        return shard, at

    def hits(self, found: Candidates) -> list[Hit]:
        """The products that candidates are, in their order; errors are those of `row`."""
        return [
            self._hit(float(score), found.name(at), int(position))
            for at, (score, position) in enumerate(zip(found.score, found.positions, strict=True))
        ]

    def _hit(self, score: float, name: str, position: int) -> Hit:
        shard, at = self.row(name, position)
        attributes = {key: value_of(value) for key, value in at["attributes"].items()} if "attributes" in at else {}
        source = (shard.source, shard.row_groups[0], at["row"].as_py())
        return Hit(at["id"].as_py(), score, name, attributes, at["photo"].as_py(), source)

    def attributes(self, name: str, position: int) -> Mapping[str, Any]:
        """The attributes of a row, as `lookup.hit.value_of` reads them: scalars by name."""
        _, at = self.row(name, position)
        return dict(at["attributes"].items()) if "attributes" in at else {}

    def towers(self, name: str, position: int) -> tuple[Vectors | None, Vectors | None]:
        """The vectors of a row's text and photos, (1, d) float32 each, as its shard keeps them; None: it has none."""
        partition = self.partitions[name]
        shard, row_group, row = partition.locate(position)
        return self.segments.towers(file_of(shard), row_group, row)

    def entry(self, name: str) -> PartitionEntry:
        """What the manifest has of partition `name`."""
        return next(entry for entry in self.manifest.partitions if entry.name == name)

    def _of_other_rows(self, name: str, came: str) -> IntegrityError:
        return of_other_rows(self.entry(name), came)
