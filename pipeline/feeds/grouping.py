"""Items that are several rows of a feed: rows of one key become one row of lists, also where others stand between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.feeds.syntax.base import BadRow, RawRows

Place = tuple[int, int | None]
Numbers = npt.NDArray[np.int64]
MOST_ROWS, MOST_BYTES = 2**16, 2**25  # that wait for more rows of their items
_FEW = 1_000  # rows of which places are worked out, so that the text that they stand in is free
_EXPECTED = "the rows of one item near each other"


@dataclass(frozen=True)
class _Waiting:
    """Rows of one batch whose items may go on: which rows of the feed's batch they are, and where these stand."""

    batch: pa.RecordBatch
    numbers: Numbers
    place: Callable[[int], Place]

    def of_row(self, row: int) -> Place:
        return self.place(int(self.numbers[row]))

    def kept(self, mask: npt.NDArray[np.bool_]) -> _Waiting:
        numbers = self.numbers[mask]
        batch = self.batch.filter(pa.array(mask))
        if len(numbers) > _FEW:
            return _Waiting(batch, numbers, self.place)
        places = [self.place(int(one)) for one in numbers]
        return _Waiting(batch, np.arange(len(places)), places.__getitem__)


class Grouping:
    """The items of one file, of which rows with the same value of the raw column `by` are one. A row without one is an
    item by itself. Items wait for rows that come later until MOST_ROWS rows or MOST_BYTES do, then the half goes that
    had no new row for longest. What comes for these afterwards is a BadRow: what it belongs to is written.
    """

    def __init__(self, file: str, by: str) -> None:
        self._file, self._by = file, by
        self._seen = set[int]()  # hashes of the values whose items are gone
        self._waiting = list[_Waiting]()
        self.joined = 0  # rows that went into an item that has another row already

    def group(self, rows: Iterator[RawRows]) -> Iterator[RawRows]:
        """Each raw column as lists, an entry of each for a row of the item, null for what the row lacks."""
        for raw in rows:
            if raw.bad:
                yield RawRows(raw.batch.slice(0, 0), raw.place, raw.bad)
            if raw.batch.num_rows:
                self._waiting.append(_Waiting(raw.batch, np.arange(raw.batch.num_rows), raw.place))
            batches = [one.batch for one in self._waiting]
            if sum(one.num_rows for one in batches) > MOST_ROWS or sum(one.nbytes for one in batches) > MOST_BYTES:
                yield self._items(everything=False)
        if self._waiting:
            yield self._items(everything=True)

    # --- inside ---

    def _items(self, everything: bool) -> RawRows:
        waiting = self._waiting
        table = pa.concat_tables([pa.Table.from_batches([one.batch]) for one in waiting], promote_options="default")
        items, keys = _numbered(table.column(self._by))
        counts = np.bincount(items)
        gone = np.ones(len(counts), np.bool_) if everything else _oldest(items, counts, table.num_rows // 2)
        stays = ~gone[items]
        starts = np.cumsum([0, *(one.batch.num_rows for one in waiting)])
        self._waiting = [
            one.kept(mask)
            for one, start in zip(waiting, starts, strict=False)
            if (mask := stays[start : start + one.batch.num_rows]).any()
        ]

        def place(row: int) -> Place:
            at = int(np.searchsorted(starts, row, "right")) - 1
            return waiting[at].of_row(row - int(starts[at]))

        again = np.array([key is not None and hash(key) in self._seen for key in keys], np.bool_)
        late = np.flatnonzero((gone & again)[items])
        bad = [BadRow(self._file, *place(row), _EXPECTED, self._again(keys[items[row]])) for row in late.tolist()]
        whole = gone & ~again
        self._seen.update(hash(keys[one]) for one in np.flatnonzero(whole) if keys[one] is not None)
        order = np.argsort(items, kind="stable")
        order = order[whole[items[order]]]
        lengths = counts[whole]
        self.joined += int((lengths - 1).sum())
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        taken = table.take(pa.array(order))
        columns = [pa.ListArray.from_arrays(pa.array(offsets), _chunk(column)) for column in taken.columns]
        return RawRows(
            pa.record_batch(columns, table.schema.names), lambda item: place(int(order[offsets[item]])), tuple(bad)
        )

    def _again(self, key: str) -> str:
        return f"{self._by} {key!r} again, long after the other rows of it"


# --- inside ---


def _numbered(keys: pa.ChunkedArray) -> tuple[Numbers, list[str | None]]:
    """((rows,) the number of each row's item, in the order in which items begin; the key of each item)."""
    encoded = _chunk(keys).dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    none = codes < 0
    codes[none] = len(encoded.dictionary) + np.arange(none.sum())
    _, firsts, items = np.unique(codes, return_index=True, return_inverse=True)
    rank = np.empty(len(firsts), np.int64)
    rank[np.argsort(firsts)] = np.arange(len(firsts))
    names = encoded.dictionary.to_pylist()
    found = codes[np.sort(firsts)]
    return rank[items], [names[code] if code < len(names) else None for code in found.tolist()]


def _oldest(items: Numbers, counts: Numbers, rows: int) -> npt.NDArray[np.bool_]:
    """(items,) whether each is of those that had no row for longest, which together have at least so many rows."""
    lasts = np.zeros(len(counts), np.int64)
    np.maximum.at(lasts, items, np.arange(len(items)))
    order = np.argsort(lasts)
    gone = np.zeros(len(counts), np.bool_)
    gone[order[: int(np.searchsorted(np.cumsum(counts[order]), rows)) + 1]] = True
    return gone


def _chunk(column: pa.ChunkedArray) -> pa.Array:
    found = column.combine_chunks()
    return found.chunk(0) if isinstance(found, pa.ChunkedArray) else found
