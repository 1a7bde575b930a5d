"""The rows of a published snapshot as heads learn from them: towers' vectors, and a key for each group. Read from its
shards, whose digests are checked, a batch at a time: nothing is encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from blake3 import blake3

from encoders.base import Modality
from encoders.fusion.members import Members, weighted_tower
from encoders.towers import Tower
from foundation.errors import InputError
from foundation.liveness import beat
from index_builders.rows.shards import shard_metadata
from lookup.filters.values import Sort, sort_of
from lookup.store.checked_files import CheckedFiles
from lookup.store.manifest import EncoderEntry, Manifest
from lookup.store.shards import Located
from lookup.store.store import Store
from pipeline.catalog import stage_columns as col
from pipeline.embed.vectors import Halves, halves_of

Keys = npt.NDArray[np.uint64]
VECTORS: dict[Modality, str] = {"text": col.TEXT_VECTOR, "image": col.IMAGE_VECTOR}
_ROWS = 8192  # of a batch: 42 MB of two towers of 1,280


@dataclass(frozen=True)
class Grouping:
    """What makes rows a group: `by` says it for people, `column` is what is read of a shard, `keys` makes of that
    (n,) keys, null where a row is in no group but its own.
    """

    by: str
    column: str
    keys: Callable[[pa.ChunkedArray], pa.Array]


def by_attribute(manifest: Manifest, name: str) -> Grouping:
    """Equal values of an attribute, whatever the case; InputError for one that the snapshot does not carry, or whose
    values do not compare.
    """
    if name not in manifest.attributes:
        raise InputError(
            f"--groups: an attribute that the snapshot carries: {', '.join(manifest.attributes) or 'it has none'}",
            repr(name),
            f"name one of these, or run with catalog.attributes=[...,{name}]",
        )

    def keys(values: pa.ChunkedArray) -> pa.Array:
        kind = values.type
        if sort_of(kind) in (Sort.LIST, Sort.PRICE):
            raise InputError(
                f"--groups: an attribute of one value each, no {sort_of(kind)}", repr(name), "name another"
            )
        texts = pc.utf8_lower(pc.utf8_trim_whitespace(values.cast(pa.string()))).combine_chunks()
        return pc.if_else(pc.equal(texts, ""), None, texts)

    return Grouping(f"equal {name}", f"{col.ATTRIBUTES}.{name}", keys)


def by_text() -> Grouping:
    """Equal texts, as they reached the text tower."""
    return Grouping("equal texts", col.TEXT_FINGERPRINT, lambda values: values.combine_chunks())


def by_clicks(path: Path) -> Grouping:
    """Products that were clicked for the same query, of a Parquet file with the columns query and id; a product belongs
    to the query that it was clicked for most often.
    """
    try:
        table = pq.read_table(path, columns=["query", col.ID])
    except (OSError, pa.ArrowInvalid, KeyError) as err:
        came = f"{path}: {str(err).splitlines()[0]}"
        raise InputError("--clicks: a Parquet file with the columns query and id", came, "correct the path") from err
    names = [pc.utf8_trim_whitespace(table.column(name).cast(pa.string())) for name in ("query", col.ID)]
    counted = pa.table({"query": names[0], col.ID: names[1]}).drop_null()
    counted = counted.group_by([col.ID, "query"]).aggregate([([], "count_all")])
    counted = counted.sort_by([(col.ID, "ascending"), ("count_all", "descending"), ("query", "ascending")])
    ids = counted.column(col.ID).combine_chunks()
    first = np.ones(len(ids), bool)
    first[1:] = pc.not_equal(ids.slice(1), ids.slice(0, max(0, len(ids) - 1))).to_numpy(zero_copy_only=False)
    mine = counted.filter(pa.array(first))
    ids, queries = mine.column(col.ID).combine_chunks(), mine.column("query").combine_chunks()
    if not len(ids):
        raise InputError("--clicks: clicks of products", f"{path}: none", "give a file with clicks")
    return Grouping("clicks", col.ID, lambda values: queries.take(pc.index_in(values.combine_chunks(), ids)))


@dataclass(frozen=True)
class HeadRows:
    """The rows of `manifest` that have vectors of all `towers`, and how they are grouped. `shares` are what the members
    of joined towers count: a head is learned behind them, as it stands in a fusion.
    """

    store: Store
    manifest: Manifest
    towers: Sequence[Modality]
    grouping: Grouping
    shares: Mapping[Modality, tuple[float, ...]] = field(default_factory=dict)

    @property
    def dims(self) -> dict[Modality, int]:
        """The length of each tower's vectors; InputError for one that the snapshot has not."""
        return {modality: self.entry(modality).dim for modality in self.towers}

    def entry(self, modality: Modality) -> EncoderEntry:
        """The encoder of a tower; InputError where the snapshot has none."""
        entry = self.manifest.text if modality == "text" else self.manifest.image
        if entry is None:
            its = f"encoders.{modality}"
            raise InputError(f"a snapshot with {modality} vectors", f"{its}: null", f"set {its}, and run first")
        return entry

    def tower(self, modality: Modality) -> Tower:
        """What a head of a tower is learned on; InputError as `entry`, and for weights of others than its members."""
        entry = self.entry(modality)
        tower = Tower(entry.dim, entry.identity, entry.parts, entry.members, entry.by_field)
        return weighted_tower(self.shares.get(modality), tower, modality) or tower

    def batches(self) -> Iterator[tuple[Keys, Halves]]:
        """((n,) uint64 keys, (n, d) float16 of the towers side by side), n of at most some thousand, in the order of
        the shards. Equal keys, equal groups; a row of no group has a key of its own.
        """
        files, alone = CheckedFiles(self.store), 0
        members = {one: Members(self.tower(one).members, shares) for one, shares in self.shares.items()}
        for _, segment in self.manifest.shards.shard_by_shard([one.name for one in self.manifest.partitions]):
            for batch in self._read(files.path(segment.file), segment):
                sides = [halves_of(batch.column(VECTORS[one]), self.entry(one).dim) for one in self.towers]
                there = np.logical_and.reduce([has for _, has in sides])
                keys = _hashed(self._values(batch), alone)
                alone += batch.num_rows
                beat()
                rows = [
                    members[one].rows(halves[there].astype(np.float32)) if one in members else halves[there]
                    for one, (halves, _) in zip(self.towers, sides, strict=True)
                ]
                yield keys[there], np.concatenate(rows, axis=1).astype(np.float16, copy=False)

    def _read(self, path: Path, segment: Located) -> Iterator[pa.Table]:
        known = shard_metadata(path)
        for modality in self.towers:
            if known.get(f"{modality}_dim") is None:
                raise InputError(
                    f"shards that hold the vectors of the {modality} tower",
                    f"{segment.file.path}: made with shards.towers: false",
                    "run with shards.towers=true, which encodes once more, and train then",
                )
            if known.get(modality) != self.entry(modality).identity:
                came = f"{segment.file.path}: identity {str(known.get(modality))[:16]}"
                there = f"{modality} vectors of one encoder, identity {self.entry(modality).identity[:16]}"
                raise InputError(there, came, "run the whole catalog with one encoder, and train then")
        columns = [*(VECTORS[one] for one in self.towers), self.grouping.column]
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for batch in file.iter_batches(_ROWS, row_groups=[segment.row_group], columns=columns, use_threads=False):
                yield pa.Table.from_batches([batch])

    def _values(self, batch: pa.Table) -> pa.Array:
        name, _, inner = self.grouping.column.partition(".")
        if name not in batch.column_names:
            return pa.nulls(batch.num_rows, pa.string())
        column = batch.column(name)
        return self.grouping.keys(pc.struct_field(column, [inner]) if inner else column)


def _hashed(values: pa.Array, first: int) -> Keys:
    """(n,) uint64: equal for equal values; null ones are numbered from `first`."""
    coded = values.dictionary_encode()
    known = (str(one).encode("utf-8", "surrogatepass") for one in coded.dictionary.to_pylist())
    digests = np.array([int.from_bytes(blake3(one).digest(8), "little") for one in known], np.uint64)
    own = mixed(np.arange(first, first + len(values), dtype=np.uint64) + np.uint64(1 << 63))
    there = coded.is_valid().to_numpy(zero_copy_only=False)
    codes = coded.indices.fill_null(0).to_numpy(zero_copy_only=False)
    return np.where(there, digests[codes], own) if len(digests) else own


def mixed(x: Keys) -> Keys:
    """Numbers that look drawn, each of its own alone: splitmix64."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(x ^ (x >> np.uint64(31)), np.uint64)
