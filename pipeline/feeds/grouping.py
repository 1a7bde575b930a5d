"""Items that are several rows of a feed: rows of one key, one after the other, become one row of lists."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.feeds.syntax.base import BadRow, RawRows

Place = tuple[int, int | None]
_EXPECTED = "the rows of one item one after the other"


class Grouping:
    """The items of one file, of which rows with the same value of the raw column `by` are one. A value that comes again
    after others is a BadRow: what it would be merged with is written already. A row without one is an item by itself.
    """

    def __init__(self, file: str, by: str) -> None:
        self._file, self._by = file, by
        self._seen = set[int]()  # hashes of the values so far
        self._open: pa.Table | None = None  # rows of the item that may go on, and where it begins
        self._open_place: Place = (0, None)

    def group(self, rows: Iterator[RawRows]) -> Iterator[RawRows]:
        """Each raw column as lists, an entry of each for a row of the item, null for what the row lacks."""
        for raw in rows:
            if raw.batch.num_rows or raw.bad:
                yield self._grouped(raw)
        if self._open is not None:
            table, place = self._open, self._open_place
            yield self._items(table, np.array([0, table.num_rows]), [place], ())

    def _grouped(self, raw: RawRows) -> RawRows:
        carried = 0 if self._open is None else self._open.num_rows
        table = pa.Table.from_batches([raw.batch])
        if self._open is not None:
            table = pa.concat_tables([self._open, table], promote_options="default")
        if not table.num_rows:
            return RawRows(raw.batch, raw.place, raw.bad)
        keys = table.column(self._by).combine_chunks()
        bounds = _bounds(keys)
        whole, last = bounds[:-1], int(bounds[-2])
        places = [self._open_place if start < carried else raw.place(int(start) - carried) for start in whole]
        self._open, self._open_place = table.slice(last), places[-1]
        return self._items(table.slice(0, last), whole, places[:-1], raw.bad)

    def _items(
        self, table: pa.Table, bounds: npt.NDArray[np.int64], places: list[Place], bad: tuple[BadRow, ...]
    ) -> RawRows:
        """Whole items, those whose key came before left out."""
        keys = table.column(self._by).take(pa.array(bounds[:-1])).to_pylist()
        again, kept = list[BadRow](), list[int]()
        for number, (key, place) in enumerate(zip(keys, places, strict=True)):
            if key is not None and hash(key) in self._seen:
                rows = int(bounds[number + 1] - bounds[number])
                came = f"{self._by} {key!r} again, {rows:,} rows of it, after other items"
                again.append(BadRow(self._file, *place, _EXPECTED, came))
                continue
            kept.append(number)
            self._seen.add(hash(key))
        offsets = pa.array(bounds.astype(np.int32))
        columns = [pa.ListArray.from_arrays(offsets, _chunk(column)) for column in table.columns]
        batch = pa.record_batch(columns, table.schema.names)
        if len(kept) < batch.num_rows:
            batch = batch.take(pa.array(kept, pa.int64()))
        return RawRows(batch, lambda row: places[kept[row]], (*bad, *again))


# --- inside ---


def _bounds(keys: pa.Array) -> npt.NDArray[np.int64]:
    """Where items begin, and the end of the last."""
    same = pc.fill_null(pc.equal(keys.slice(1), keys.slice(0, len(keys) - 1)), False).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.flatnonzero(~same) + 1, [len(keys)]]).astype(np.int64)


def _chunk(column: pa.ChunkedArray) -> pa.Array:
    found = column.combine_chunks()
    return found.chunk(0) if isinstance(found, pa.ChunkedArray) else found
