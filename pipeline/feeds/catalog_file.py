"""The Parquet file that an import writes: whole under its name, or not there; of equal input equal bytes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from foundation.disk import replacing, sync

PRODUCTS = "products.parquet"
ROW_GROUP_ROWS = 16_384  # a unit of a run takes one or two: docs/reference/config.md#shards
_ROW_GROUP_BYTES = 2**26  # of long rows fewer
_UNFINISHED_SECONDS = 86_400  # an import that wrote nothing for so long was killed


class CatalogFile:
    """Rows on their way to disk, a row group at a time."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True)
        self._schema, self._waiting, self.rows = schema, list[pa.RecordBatch](), 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Rows in the order in which they are to stand."""
        self._waiting.append(batch)
        self.rows += batch.num_rows
        if sum(one.num_rows for one in self._waiting) >= ROW_GROUP_ROWS or self._bytes() >= _ROW_GROUP_BYTES:
            self._flush(self._bytes() >= _ROW_GROUP_BYTES)

    def close(self) -> None:
        """Write what is left and the footer."""
        self._flush(everything=True)
        self._writer.close()

    def abandon(self) -> None:
        """Give the file up."""
        self._writer.close()

    def _bytes(self) -> int:
        return sum(one.nbytes for one in self._waiting)

    def _flush(self, everything: bool) -> None:
        table = pa.Table.from_batches(self._waiting, self._schema)
        rows = table.num_rows
        whole = rows if everything else rows - rows % ROW_GROUP_ROWS
        for start in range(0, whole, ROW_GROUP_ROWS):
            self._writer.write_table(table.slice(start, min(ROW_GROUP_ROWS, whole - start)), ROW_GROUP_ROWS)
        self._waiting = table.slice(whole).to_batches()


@contextmanager
def writing(folder: Path, schema: pa.Schema) -> Iterator[CatalogFile]:
    """The file of products in a folder: once the block is left it is there in the place of the one before; an error in
    the block leaves that one, and a folder that was not there is not there again.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    _remove_unfinished(folder)
    try:
        with replacing(folder / PRODUCTS) as scratch:
            file = CatalogFile(scratch, schema)
            try:
                yield file
                file.close()
            except BaseException:
                file.abandon()
                raise
        sync(folder)
    except BaseException:
        if made and not any(folder.iterdir()):
            folder.rmdir()
        raise


# --- inside ---


def _remove_unfinished(folder: Path) -> None:
    """What imports left that were killed: each is as large as a catalog."""
    for scratch in folder.glob(f".{PRODUCTS}.*.tmp"):
        with suppress(FileNotFoundError):  # another import was faster
            if time.time() - scratch.stat().st_mtime > _UNFINISHED_SECONDS:
                scratch.unlink()
