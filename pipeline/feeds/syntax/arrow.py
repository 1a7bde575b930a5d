"""Arrow's own files and streams, Feather among them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from pipeline.feeds.syntax.base import FeedSyntax, RawRows, unique_names
from pipeline.feeds.tables import UNREADABLE, at_will, table_rows, unreadable

_FILE = b"ARROW1"
_STREAM = b"\xff\xff\xff\xff"


class Syntax(FeedSyntax):
    """A file or a stream of record batches."""

    open_ended = False

    @staticmethod
    def recognises(head: bytes) -> bool:
        """Whether it begins as one of the two does."""
        return head.startswith((_FILE, _STREAM))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names in the schema."""
        try:
            with pa.ipc.open_stream(self.file.head[8:] if self._is_file else self.file.head) as stream:
                return unique_names(stream.schema.names)  # a file is a stream behind eight bytes
        except UNREADABLE as err:
            raise unreadable(self.file.name, err) from err

    def read(self) -> Iterator[RawRows]:
        """See FeedSyntax."""
        with self._batches() as batches:
            yield from table_rows(self.file.name, batches)

    # --- inside ---

    @property
    def _is_file(self) -> bool:
        return self.file.head.startswith(_FILE)

    @contextmanager
    def _batches(self) -> Iterator[Iterator[Any]]:
        try:
            if self._is_file:
                with pa.ipc.open_file(at_will(self.file, self)) as table:
                    yield (table.get_batch(at) for at in range(table.num_record_batches))
            else:
                with self.file.open() as stream, pa.ipc.open_stream(stream) as opened:
                    yield iter(opened)
        except UNREADABLE as err:
            raise unreadable(self.file.name, err) from err
