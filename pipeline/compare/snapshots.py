"""What differs between two snapshots: rows by what of them changed, vectors, indexes, sizes, settings and models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from foundation.arrays import Vectors
from lookup.identities import describe_differing
from lookup.store.checked_files import CheckedFiles
from lookup.store.manifest import Manifest, PartitionEntry
from lookup.store.store import Store
from pipeline.compare.golden_queries import GoldenDiff, compare_golden
from pipeline.compare.joined_rows import Pairs, joined
from pipeline.compare.row_keys import KEY, Keys
from pipeline.compare.snapshot_rows import Rows, unlike_segments

# What may have become of a product. `attributes`: these alone; `vector`: its embedding is another, for whatever reason.
KINDS = ("added", "gone", "text", "photo", "attributes", "moved", "vector")
_MOST_COSINES = 20_000  # products whose two vectors are compared
_MIX = np.uint64(0xD6E8FEB86659FD93)


@dataclass(frozen=True)
class Cosines:
    """Cosines of the two vectors of products, of as many as were looked at."""

    looked_at: int
    median: float
    p05: float
    least: float


@dataclass(frozen=True)
class PartitionDiff:
    """A partition of both or one of them; None: it has none of that name. `counts` are of KINDS, those that moved here
    as `moved`, and away as `moved_away`; `changed` has any of these but `vector`.
    """

    name: str
    rows: tuple[int | None, int | None]
    index: tuple[str | None, str | None]
    recall: tuple[float | None, float | None]
    bytes: tuple[int, int]
    index_stays: bool
    counts: dict[str, int]


@dataclass(frozen=True)
class SnapshotDiff:
    """What differs between two snapshots; pairs are (of the first, of the second)."""

    snapshots: tuple[str, str]
    rows: tuple[int, int]
    rows_read: int  # of both: of the others one file is named by both
    counts: dict[str, int]
    changed: int  # products of both of which anything differs but the vector
    examples: dict[str, list[str]]
    cosines: Cosines | None
    vector_note: str
    partitions: tuple[PartitionDiff, ...]
    rejected: dict[str, tuple[int, int]]
    degraded: dict[str, tuple[int, int]]
    photos_lost: tuple[int, int]
    golden: GoldenDiff | None
    bytes: tuple[int, int]
    bytes_shared: int
    settings: dict[str, tuple[Any, Any]]
    models: dict[str, tuple[str, str]]
    attribute_types: dict[str, tuple[str | None, str | None]]


@dataclass
class _Found:
    """What was seen so far."""

    limit: int
    names: list[str]
    counts: Counter[str] = field(default_factory=Counter)
    by_partition: dict[str, Counter[str]] = field(default_factory=dict)
    changed: int = 0
    examples: dict[str, list[tuple[bool, Keys]]] = field(default_factory=dict)
    moved_vectors: tuple[Keys, Keys] = field(default_factory=lambda: (np.empty(0, KEY), np.empty(0, KEY)))

    def add(self, kind: str, keys: Keys, of_new: bool = True, example: bool = True) -> None:
        """Count some rows, by the partition in which they stand in their own snapshot."""
        if not len(keys):
            return
        codes, counts = np.unique(keys["partition"], return_counts=True)
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
            self.by_partition.setdefault(self.names[code], Counter())[kind] += count
        if example:
            self.counts[kind] += len(keys)
            room = self.limit - sum(len(some) for _, some in self.examples.get(kind, []))
            if room > 0:
                self.examples.setdefault(kind, []).append((of_new, keys[:room]))

    def pairs(self, pairs: Pairs) -> None:
        """Count what a part of all rows says."""
        old, new = pairs.old, pairs.new
        text, photo, moved = (old[name] != new[name] for name in ("text", "photo", "partition"))
        attributes = (old["attributes"] != new["attributes"]) & ~text & ~photo
        vector = old["vector"] != new["vector"]
        self.add("gone", pairs.gone, of_new=False)
        self.add("added", pairs.added)
        kinds = {"text": text, "photo": photo, "attributes": attributes, "moved": moved, "vector": vector}
        for kind, mask in kinds.items():
            self.add(kind, new[mask])
        self.add("moved_away", old[moved], example=False)
        changed = text | photo | attributes | moved
        self.add("changed", new[changed], example=False)
        self.changed += int(changed.sum())
        self._keep_vectors(old[vector], new[vector])

    def _keep_vectors(self, old: Keys, new: Keys) -> None:
        """Of the products whose vectors differ, some at random, the same ones whatever order they come in."""
        pair = [np.concatenate(both) for both in zip(self.moved_vectors, (old, new), strict=True)]
        if len(pair[0]) > _MOST_COSINES:
            few = np.sort(np.argsort(pair[0]["id"] * _MIX, kind="stable")[:_MOST_COSINES])
            pair = [keys[few] for keys in pair]
        self.moved_vectors = pair[0], pair[1]


def compare_snapshots(store: Store, names: tuple[str, str], limit: int) -> SnapshotDiff:
    """Compare two snapshots of a store by their names; of each kind of change up to `limit` ids are told.

    Segments that both name are not read. IntegrityError where a file that has to be read is not as it was written.
    """
    old, new = (store.manifest(name) for name in names)
    unlike_old, unlike_new = unlike_segments(old, new)
    codes = {name: at for at, name in enumerate(sorted({one.name for m in (old, new) for one in m.partitions}))}
    attributes = [name for name in old.attributes if name in new.attributes]
    files, same_length = CheckedFiles(store), old.dim == new.dim
    sides = [Rows(files, segments, attributes, codes) for segments in (unlike_old, unlike_new)]
    found = _Found(limit, list(codes))
    for pairs in joined(sides[0].keys(), sides[1].keys(), max(side.count for side in sides)):
        found.pairs(pairs)
    models = _models(old, new)
    cosines = _cosines(sides[0], sides[1], *found.moved_vectors) if same_length else None
    paths = [{file.path: file.bytes for file in one.files()} for one in (old, new)]
    return SnapshotDiff(
        snapshots=names,
        rows=(old.rows, new.rows),
        rows_read=sum(side.count for side in sides),
        counts={kind: found.counts[kind] for kind in KINDS},
        changed=found.changed,
        examples={kind: _ids(sides, found.examples.get(kind, [])) for kind in KINDS},
        cosines=cosines,
        vector_note="" if same_length else f"vectors of {old.dim} and of {new.dim} numbers are not compared",
        partitions=tuple(_partitions(old, new, found)),
        rejected=_both(old.rejects(), new.rejects()),
        degraded=_both(old.degraded(), new.degraded()),
        photos_lost=(old.photos()[1], new.photos()[1]),
        golden=compare_golden(store, old, new),
        bytes=(sum(paths[0].values()), sum(paths[1].values())),
        bytes_shared=sum(size for path, size in paths[1].items() if path in paths[0]),
        settings=_settings(old.config, new.config),
        models=models,
        attribute_types=_differing(old.attribute_types, new.attribute_types),
    )


# --- inside ---


def _ids(sides: list[Rows], examples: list[tuple[bool, Keys]]) -> list[str]:
    return [name for of_new, keys in examples for name in sides[of_new].ids(keys)]


def _cosines(old: Rows, new: Rows, old_keys: Keys, new_keys: Keys) -> Cosines | None:
    if not len(old_keys):
        return None
    found = _cosine(old.embeddings(old_keys), new.embeddings(new_keys))
    median, p05 = np.quantile(found, [0.5, 0.05]).tolist()
    return Cosines(len(found), median, p05, float(found.min()))


def _cosine(a: Vectors, b: Vectors) -> npt.NDArray[np.float64]:
    lengths = np.linalg.norm(a, axis=1).astype(np.float64) * np.linalg.norm(b, axis=1)
    products = np.einsum("ij,ij->i", a, b, dtype=np.float64)
    found: npt.NDArray[np.float64] = np.divide(products, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return found


def _partitions(old: Manifest, new: Manifest, found: _Found) -> Iterator[PartitionDiff]:
    sides = [{one.name: one for one in manifest.partitions} for manifest in (old, new)]
    for name in found.names:
        before, after = (side.get(name) for side in sides)
        yield PartitionDiff(
            name,
            rows=(before.rows if before else None, after.rows if after else None),
            index=(before.index.type if before else None, after.index.type if after else None),
            recall=(before.index.recall if before else None, after.index.recall if after else None),
            bytes=(_bytes(before), _bytes(after)),
            index_stays=before is not None and after is not None and before.index.name == after.index.name,
            counts=dict(sorted(found.by_partition.get(name, Counter()).items())),
        )


def _bytes(partition: PartitionEntry | None) -> int:
    return 0 if partition is None else sum(file.bytes for file in partition.files())


def _both(old: Mapping[str, int], new: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Reason -> rows of both, of all reasons."""
    return {name: (old.get(name, 0), new.get(name, 0)) for name in sorted({**old, **new})}


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Key -> both values, where these differ; None for one that is not there."""
    names = sorted({**old, **new})
    return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}


def _settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return _differing(*(dict(_flat(one)) for one in (old, new)))


def _flat(config: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """The keys of a dumped config, with dots, down to what is no section."""
    found = list[tuple[str, Any]]()
    for name, value in config.items():
        found += _flat(value, f"{before}{name}.") if isinstance(value, dict) else [(f"{before}{name}", value)]
    return found


def _models(old: Manifest, new: Manifest) -> dict[str, tuple[str, str]]:
    """Encoder, or fusion -> how it was and is, where it is another."""
    found = dict[str, tuple[str, str]]()
    for name, mine, theirs in (("text", old.text, new.text), ("image", old.image, new.image)):
        if mine is None or theirs is None:
            if mine is not theirs:
                found[name] = (
                    "none" if mine is None else mine.fields["type"],
                    ("none" if theirs is None else theirs.fields["type"]),
                )
        elif mine.identity != theirs.identity:
            found[name] = _told(mine.parts, theirs.parts, mine.identity, theirs.identity)
    if (old.fusion_identity, old.fusion) != (new.fusion_identity, new.fusion):
        identities = (old.fusion_identity or "unknown", new.fusion_identity or "unknown")
        found["fusion"] = _told(old.fusion_parts, new.fusion_parts, *identities)
    before, after = (f"identity {one.ranker.identity[:16]}" if one.ranker else "none" for one in (old, new))
    if before != after:
        found["re-ranker"] = before, after
    return found


def _told(old: dict[str, str], new: dict[str, str], identity: str, other: str) -> tuple[str, str]:
    if old and new and old != new:
        return describe_differing(old, new)
    return f"identity {identity[:16]}", f"identity {other[:16]}"


def as_document(found: SnapshotDiff) -> dict[str, Any]:
    """It as JSON has it."""
    return asdict(found)
