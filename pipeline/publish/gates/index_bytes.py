"""Whether indexes take the room that they took, and that their type takes: serving hosts hold them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from index_builders.base import builder_spec
from lookup.store.entries.index_record import IndexRecord
from lookup.store.manifest import Manifest
from pipeline.publish.gates.base import Comparison, SnapshotGate
from pipeline.report.run_report import GateResult

_LEAST_BYTES = 1_000_000  # that are too many: what small files hold beside rows stops nothing


class Gate(SnapshotGate):
    """How much more bytes a row than the parent's index of the same type and the same settings has, or than its type
    takes, whichever is more: of each partition that is refused, else of the worst. Ids are as long as a shop writes
    them, and do not count.
    """

    name, bound, rank = "index_bytes", "max_index_growth", 132

    def check(self, comparison: Comparison) -> Iterable[GateResult]:
        """None where no index is new."""
        growths = sorted(_growths(comparison), key=lambda one: (one.stops, one.share), reverse=True)
        beyond = [one for one in growths if one.stops and one.share > comparison.bounds.max_index_growth]
        fix = (
            "see in the report which index was chosen, and why: index.max_bytes_per_vector and "
            "max_disk_bytes_per_vector bound it; if it is to be so large, run once with --accept index_bytes"
        )
        for at, one in enumerate(beyond or growths[:1]):
            where = f"{'' if at else 'worst '}partition: {one}"
            if not one.stops and one.share > comparison.bounds.max_index_growth:
                where += "; less than 1 MB too much, so nothing is stopped"
            yield self.result(comparison.bounds, one.share, where, fix, one.stops, partition=one.partition)


@dataclass(frozen=True)
class _Growth:
    """The bytes of an index, and those of as many rows `by` the parent's index or by its type."""

    partition: str
    bytes: int
    expected: float
    by: str

    @property
    def share(self) -> float:
        return max(0.0, (self.bytes - self.expected) / self.expected)

    @property
    def stops(self) -> bool:
        return self.bytes - self.expected >= _LEAST_BYTES

    def __str__(self) -> str:
        return f"{self.partition}, {self.bytes:,} bytes, {self.expected:,.0f} by {self.by}"


def _growths(comparison: Comparison) -> Iterable[_Growth]:
    before = _comparable(comparison.new, comparison.old)
    known = {one.name for one in before.values()}
    for entry in comparison.new.partitions:
        index = entry.index
        if not comparison.touched(entry.name) or index.name in known or not index.rows:
            continue
        spec = builder_spec({"type": index.type, **index.parameters})
        each = spec.vector_bytes(index.dim) + spec.refine_bytes(index.dim)
        found = [_Growth(entry.name, _bytes(index), spec.shared_bytes(index.dim) + each * index.rows, "its type")]
        old = before.get(entry.name)
        if old is not None and old.type == index.type and old.rows:
            found.append(_Growth(entry.name, _bytes(index), _bytes(old) / old.rows * index.rows, "the parent's"))
        yield max(found, key=lambda one: one.share)


def _comparable(new: Manifest, old: Manifest | None) -> dict[str, IndexRecord]:
    """The parent's indexes by partition; none where the settings are others by now, which somebody changed."""
    if old is None or (new.config.get("index"), new.dim) != (old.config.get("index"), old.dim):
        return {}
    return {one.name: one.index for one in old.partitions}


def _bytes(index: IndexRecord) -> int:
    return sum(file.bytes for role, file in index.files.items() if role != "ids")
