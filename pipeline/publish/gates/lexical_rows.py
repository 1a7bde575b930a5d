"""Whether a lexical index is of the rows that it stands for."""

from __future__ import annotations

from collections.abc import Iterable

from lookup.lexical.analysis import Analysis
from lookup.store.entries.index_record import made_of
from lookup.store.manifest import Manifest, PartitionEntry
from pipeline.publish.gates.base import Comparison, Invariant


class Gate(Invariant):
    """Where a snapshot is searched by words, every partition has a lexical index, of the texts of its live segments in
    the order of the rows of its other index, of the fields that queries weigh, of words as queries read them; where it
    is not, none has one.
    """

    name, rank = "lexical_rows", 135
    what = "partitions whose lexical index is not of their texts"

    def wrong(self, comparison: Comparison) -> Iterable[str]:
        """See Invariant."""
        new = comparison.new
        analysis = None if new.lexical is None else Analysis(**new.lexical.analysis).identity
        return (entry.name for entry in new.partitions if not _is_of_its_rows(entry, new, analysis))


def _is_of_its_rows(entry: PartitionEntry, manifest: Manifest, analysis: str | None) -> bool:
    record, entries = entry.lexical, manifest.lexical
    if record is None or entries is None:
        return record is None and entries is None
    files = bool(record.files) and all(file.rows == record.rows for file in record.files.values())
    texts = manifest.shards.segments.of(entry.name).texts
    same_rows = record.rows == entry.rows and record.made_of == made_of(texts)
    same_words = record.fields == tuple(sorted(entries.fields)) and record.analysis == analysis
    return files and same_rows and same_words
