"""Whether what was embedded anew are numbers that an index can compare: finite, and of unit length where they are to
be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from encoders.fusion.base import fusion_class
from foundation.arrays import Mask, Positions, Vectors
from index_builders.measure.queries import inside
from index_builders.rows.shards import SegmentRef, read_embeddings, read_tower
from lookup.store.manifest import Manifest
from lookup.store.segment_table import SegmentTable
from lookup.store.shards import Shards
from pipeline.publish.figures.drawn_rows import draw_rows
from pipeline.publish.gates.base import Comparison, Invariant

_SEGMENTS, _ROWS = 64, 8_192  # that are looked at
_OFF = 1e-3  # of a unit vector's length: float16 numbers leave far less


class Gate(Invariant):
    """Vectors of towers are finite unit rows, and so are embeddings of a fusion that makes them so, in shards that are
    not the parent's. Some rows are looked at: an encoder that does otherwise does so everywhere. A single embedding
    that is not finite is a reject when it is made, and damage to the build, which reads all of them.
    """

    name, rank = "nonfinite", 35
    what = "vectors that are not finite or not of unit length, of partitions"

    def wrong(self, comparison: Comparison) -> Iterable[str]:
        """See Invariant."""
        new = comparison.new
        shards = _anew(new.shards, comparison.old)
        unit = fusion_class(new.fusion["type"]).unit_items
        towers = [tower for tower, entry in (("text", new.text), ("image", new.image)) if entry is not None]
        kept = towers if new.config["shards"]["towers"] else []
        names = [name for name in shards.segments.partitions if comparison.touched(name)]
        for name in names:
            drawn = draw_rows(comparison.store, shards, [name], max(1, _SEGMENTS // len(names)), _ROWS // len(names))
            if any(_wrong(ref, at, kept, unit) for ref, at in inside(drawn.segments, drawn.positions)):
                yield name


def _anew(shards: Shards, old: Manifest | None) -> Shards:
    """Those whose file is not the parent's."""
    before = {one.file.path for one in old.shards.entries if one.file} if old else set()
    new: Mask = np.array([one.file is not None and one.file.path not in before for one in shards.entries], np.bool_)
    table = shards.segments
    live = new[table.numbers("shard")] & (table.numbers("rows") > 0)
    return Shards(entries=shards.entries, segments=SegmentTable(table.table.filter(pa.array(live))))


def _wrong(ref: SegmentRef, at: Positions, towers: list[str], unit: bool) -> bool:
    return any(not _are_unit(vectors) for vectors in _vectors(ref, at, towers, unit))


def _vectors(ref: SegmentRef, at: Positions, towers: list[str], unit: bool) -> Iterator[Vectors]:
    """What has to be unit rows of a segment's rows `at`, (n, d) float32 each."""
    for tower in towers:
        vectors, there = read_tower(ref, tower)
        yield vectors[at][there[at]]
    if unit:
        yield read_embeddings(ref)[at]


def _are_unit(vectors: Vectors) -> bool:
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    return bool((np.abs(lengths - 1) <= _OFF).all())  # NaN is no number that is near to 1
