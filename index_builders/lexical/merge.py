"""Runs of postings, spilled as they come and merged into the files of one lexical index.

Runs follow one another by row, so a term's postings are those of each run in order. Vocabularies are merged first; then
postings are gathered for some terms at a time, as many as fit in memory, and each file is written from front to back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from index_builders.lexical.runs import Ints, Run
from lookup.lexical.files import FILES, FORMAT, Head, highest
from lookup.lexical.spelling import signatures

Places = npt.NDArray[np.int32]
_SLICE = 100_000  # words made strings of Python at once
_AT_ONCE = 4_000_000  # postings gathered in memory, some 10 bytes each and field


@dataclass(frozen=True)
class Spilled:
    """Runs on disk, in `folder`, a numbered folder each."""

    folder: Path
    rows: tuple[int, ...] = ()  # of each run

    def add(self, run: Run) -> Spilled:
        """With one more, whose rows come after those of the others."""
        into = self.folder / str(len(self.rows))
        into.mkdir()
        for name, strings, numbers in (("terms", run.terms, run.sizes), ("words", run.words, run.word_rows)):
            batch = pa.record_batch([pa.array(strings, pa.string()), pa.array(numbers, pa.int64())], ["text", "size"])
            with pa.ipc.new_file(str(into / name), batch.schema) as writer:
                writer.write_batch(batch)
        for name in ("rows", "counts", "lengths"):
            np.save(into / f"{name}.npy", getattr(run, name))
        return Spilled(self.folder, (*self.rows, len(run.lengths)))

    def __iter__(self) -> Iterator[Path]:
        return (self.folder / str(number) for number in range(len(self.rows)))

    def arrays(self, name: str) -> list[Any]:
        """The array of each run, mapped."""
        return [np.load(run / f"{name}.npy", mmap_mode="r", allow_pickle=False) for run in self]

    def tables(self, name: str) -> list[pa.RecordBatch]:
        """The strings of each run and their sizes, mapped."""
        found = []
        for run in self:
            with pa.memory_map(str(run / name)) as source, pa.ipc.open_file(source) as reader:
                found.append(reader.get_batch(0))
        return found


def merge(spilled: Spilled, fields: Sequence[str], analysis: str, folder: Path) -> Head:
    """Write the files of an index of all `spilled` rows into `folder`; what it says of itself."""
    rows = sum(spilled.rows)
    sums, filled = _write_lengths(spilled, rows, len(fields), folder)
    head = Head(FORMAT, rows, list(fields), analysis, sums, filled, _write_words(spilled, folder))
    terms, places, totals = _merged(spilled.tables("terms"))
    ends = np.cumsum(totals)
    postings = int(ends[-1]) if len(ends) else 0
    kind = pa.uint32() if postings < 2**32 else pa.uint64()
    _write_table(folder / FILES["terms"], {"term": terms, "end": pa.array(ends, kind)}, head.metadata())
    with (
        _writing(folder / FILES["low"], (postings,), np.uint16) as low,
        _writing(folder / FILES["high"], (postings,), np.uint8 if rows <= 2**24 else np.uint16) as high,
        _writing(folder / FILES["counts"], (postings, len(fields)), np.uint8) as counts,
    ):
        for found, of_fields in _gathered(spilled, places, totals):
            low(found.astype(np.uint16))
            high(found >> 16)
            counts(of_fields)
    return head


def _write_lengths(spilled: Spilled, rows: int, fields: int, folder: Path) -> tuple[list[int], list[int]]:
    """The file of lengths; by field, their sum and how many are not zero."""
    lengths = spilled.arrays("lengths")
    dtype = highest([int(one.max(initial=0)) for one in lengths])
    with _writing(folder / FILES["lengths"], (rows, fields), dtype) as write:
        for one in lengths:
            write(one)
    zero = np.zeros(fields, np.int64)
    sums = sum((one.sum(axis=0, dtype=np.int64) for one in lengths), zero)
    filled = sum(((one > 0).sum(axis=0, dtype=np.int64) for one in lengths), zero)
    return sums.tolist(), filled.tolist()


def _merged(tables: Sequence[pa.RecordBatch]) -> tuple[pa.Array, list[Places], Ints]:
    """The strings of all runs in order of code points, where those of each run are among them, and all sizes added."""
    if not any(table.num_rows for table in tables):
        return pa.array([], pa.string()), [np.zeros(0, np.int32) for _ in tables], np.zeros(0, np.int64)
    coded = pa.chunked_array([table.column("text") for table in tables]).dictionary_encode()
    order = pc.sort_indices(coded.chunk(0).dictionary)
    strings = coded.chunk(0).dictionary.take(order)
    ranks = np.empty(len(strings), np.int32)
    ranks[order.to_numpy()] = np.arange(len(strings))
    of_all = ranks[np.concatenate([chunk.indices.to_numpy() for chunk in coded.chunks])]  # which lack empty runs
    places = np.split(of_all, np.cumsum([table.num_rows for table in tables])[:-1])
    totals = np.zeros(len(strings), np.int64)
    for of_run, table in zip(places, tables, strict=True):
        totals[of_run] += table.column("size").to_numpy()
    return strings, places, totals


def _write_words(spilled: Spilled, folder: Path) -> list[int]:
    """The file of words, by length, so that those as long as a misspelling lie together, then by code points; how many
    have each length, from 0.
    """
    words, _, totals = _merged(spilled.tables("words"))
    lengths = pc.utf8_length(words).to_numpy(zero_copy_only=False)
    order = np.argsort(lengths, kind="stable")
    ordered = words.take(pa.array(order))
    columns = {
        "word": ordered,
        "rows": pa.array(totals[order], pa.uint32()),
        "signature": pa.array(np.concatenate([signatures([]), *_signatures(ordered)])),
    }
    _write_table(folder / FILES["words"], columns, None)
    by_length: list[int] = np.bincount(lengths).tolist()
    return by_length


def _signatures(words: pa.Array) -> Iterator[npt.NDArray[np.uint64]]:
    return (signatures(words.slice(at, _SLICE).to_pylist()) for at in range(0, len(words), _SLICE))


def _gathered(spilled: Spilled, places: list[Places], totals: Ints) -> Iterator[tuple[Ints, npt.NDArray[np.uint8]]]:
    """The postings of all terms in order, some terms at a time: rows of the index, and counts by field."""
    rows, counts = spilled.arrays("rows"), spilled.arrays("counts")
    sizes = [table.column("size").to_numpy() for table in spilled.tables("terms")]
    ends = [np.concatenate([[0], np.cumsum(of_run)]).astype(np.int32) for of_run in sizes]
    bases = np.cumsum([0, *spilled.rows])
    for first, last in _slices(totals):
        next_free = np.cumsum(totals[first:last]) - totals[first:last]
        size = int(totals[first:last].sum())
        found, of_fields = np.empty(size, np.int64), np.empty((size, counts[0].shape[1]), np.uint8)
        for run, of_run in enumerate(places):
            low, high = np.searchsorted(of_run, [first, last])
            terms, some = of_run[low:high] - first, sizes[run][low:high]
            taken = slice(int(ends[run][low]), int(ends[run][high]))
            into = np.repeat(next_free[terms] - (np.cumsum(some) - some), some) + np.arange(taken.stop - taken.start)
            found[into] = rows[run][taken].astype(np.int64) + bases[run]
            of_fields[into] = counts[run][taken]
            next_free[terms] += some
        yield found, of_fields


def _slices(totals: Ints) -> Iterator[tuple[int, int]]:
    """Ranges of terms whose postings fit in memory; a term that alone has more is a range of its own."""
    ends, first = np.cumsum(totals), 0
    while first < len(totals):
        before = int(ends[first] - totals[first])
        last = max(first + 1, int(np.searchsorted(ends, before + _AT_ONCE, side="right")))
        yield first, last
        first = last


@contextmanager
def _writing(path: Path, shape: tuple[int, ...], dtype: Any) -> Iterator[Any]:
    """What writes an array to `path` in pieces, from its front."""
    with path.open("wb") as file:
        header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        yield lambda piece: _write(file, np.asarray(piece, dtype))


def _write(file: BinaryIO, piece: npt.NDArray[Any]) -> None:
    file.write(np.ascontiguousarray(piece).data)


def _write_table(path: Path, columns: dict[str, pa.Array], metadata: dict[bytes, bytes] | None) -> None:
    batch = pa.record_batch(list(columns.values()), list(columns))
    batch = batch.replace_schema_metadata(metadata)
    with pa.ipc.new_file(str(path), batch.schema) as writer:
        writer.write_batch(batch)
