"""Parquet files whose columns want a map, as ESCI's are."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import pyarrow.parquet as pq

from pipeline.feeds.syntax.base import FeedSyntax, RawRows, unique_names
from pipeline.feeds.tables import UNREADABLE, at_will, table_rows, unreadable

_ROWS = 8_192  # of a batch


class Syntax(FeedSyntax):
    """A Parquet file; one that comes as a stream is kept on disk while it is read."""

    open_ended = False

    @staticmethod
    def recognises(head: bytes) -> bool:
        """Whether it begins as Parquet does."""
        return head.startswith((b"PAR1", b"PARE"))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names in the footer."""
        return unique_names(self._table.schema_arrow.names)

    def read(self) -> Iterator[RawRows]:
        """See FeedSyntax."""
        yield from table_rows(self.file.name, self._table.iter_batches(_ROWS))

    # --- inside ---

    @cached_property
    def _table(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(at_will(self.file, self), page_checksum_verification=True)
        except UNREADABLE as err:
            raise unreadable(self.file.name, err) from err
