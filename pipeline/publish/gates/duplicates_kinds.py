"""Whether near-duplicates were looked for alike in all partitions."""

from __future__ import annotations

from collections.abc import Iterable

from lookup.store.manifest import PartitionEntry
from pipeline.config.published import duplicates_of
from pipeline.publish.gates.base import Comparison, Invariant


class Gate(Invariant):
    """Every partition has the groups that the config asks for, of all its rows, and no others: a search that shows one
    product of each would treat categories differently. Where nothing is looked for, none has any.
    """

    name, rank = "duplicates_kinds", 137
    what = "partitions whose near-duplicates are others than the config says"

    def wrong(self, comparison: Comparison) -> Iterable[str]:
        """See Invariant."""
        settings = duplicates_of(comparison.new)
        kinds = frozenset[str]() if settings is None else settings.kinds
        return (entry.name for entry in comparison.new.partitions if not _is_as_said(entry, kinds))


def _is_as_said(entry: PartitionEntry, kinds: frozenset[str]) -> bool:
    record = entry.duplicates
    if record is None or not kinds:
        return record is None and not kinds
    sizes = {record.rows, *(file.rows for file in record.files.values())}
    return kinds == record.kinds.keys() == record.files.keys() and sizes == {entry.rows}
