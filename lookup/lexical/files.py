"""The files of one partition's lexical index, as they are written and read: memory-mapped, one role each.

    terms     terms.arrow         Arrow IPC: `term` string, in order of code points; `end`, where its postings end
    words     words.arrow         Arrow IPC: `word` string as items have it, by length, then code points; `rows` uint32;
                                  `signature` uint64, see spelling.py
    low       postings_low.npy    (postings,) uint16: the lower 16 bits of each posting's row, rows of a term ascending
    high      postings_high.npy   (postings,) uint8, uint16 above 2^24 rows: the bits above
    counts    counts.npy          (postings, fields) uint8: how often each field of the row has the term, 255 at most
    lengths   lengths.npy         (rows, fields) uint8, uint16 where one is above 255: the words of each field, 65,535
                                  at most

The schema of terms.arrow says format, rows, fields, the identity of the analysis, and by field the sum of lengths and
how many rows have any.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from foundation.errors import IntegrityError
from foundation.machine import machine_fault

FORMAT = 1
FILES: Mapping[str, str] = {
    "terms": "terms.arrow",
    "words": "words.arrow",
    "low": "postings_low.npy",
    "high": "postings_high.npy",
    "counts": "counts.npy",
    "lengths": "lengths.npy",
}
_KEY = b"vitrine.lexical"
_VERIFY = "run `vitrine verify STORE` to see what is damaged"


@dataclass(frozen=True)
class Head:
    """What an index says of itself."""

    format: int
    rows: int
    fields: list[str]
    analysis: str  # identity
    sums: list[int]  # by field: words of all rows
    filled: list[int]  # by field: rows with a word
    by_length: list[int]  # words of words.arrow that have no letter, one, two, ...

    def metadata(self) -> dict[bytes, bytes]:
        """As metadata of an Arrow schema."""
        return {_KEY: json.dumps(asdict(self), sort_keys=True).encode()}


@dataclass(frozen=True)
class Strings:
    """A column of an Arrow file, mapped: strings in order, found by bisection."""

    column: pa.Array
    ends: memoryview  # (n + 1,) int32: quicker than an array, one number at a time
    data: memoryview

    @classmethod
    def of(cls, column: pa.Array) -> Strings:
        """Of a string column without nulls."""
        _, ends, data = column.buffers()
        if ends is None or not len(column):
            return cls(column, memoryview(bytes(4)).cast("i"), memoryview(b""))
        return cls(column, memoryview(ends).cast("B").cast("i"), memoryview(data or b""))

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, at: int) -> bytes:
        return bytes(self.data[self.ends[at] : self.ends[at + 1]])

    def place(self, wanted: str) -> int:
        """The place of `wanted`, -1 where it is not."""
        key = wanted.encode("utf-8", "surrogatepass")
        at = self.first(key)
        return at if at < len(self) and self[at] == key else -1

    def first(self, key: bytes, low: int = 0, high: int | None = None) -> int:
        """The place of the first that is not below `key`, of those from `low` to `high`."""
        high = len(self) if high is None else high
        while low < high:
            middle = (low + high) // 2
            if self[middle] < key:
                low = middle + 1
            else:
                high = middle
        return low


@dataclass(frozen=True)
class LexicalFiles:
    """The arrays of an index, mapped, as the module names them."""

    head: Head
    terms: Strings
    ends: npt.NDArray[np.unsignedinteger[Any]]  # (terms,)
    words: Strings
    word_rows: npt.NDArray[np.uint32]  # (words,)
    signatures: npt.NDArray[np.uint64]  # (words,)
    low: npt.NDArray[np.uint16]
    high: npt.NDArray[np.unsignedinteger[Any]]
    counts: npt.NDArray[np.uint8]
    lengths: npt.NDArray[np.unsignedinteger[Any]]

    @classmethod
    def open(cls, paths: Mapping[str, Path]) -> LexicalFiles:
        """The files of the roles in `paths`; IntegrityError where one cannot be read or does not fit the others."""
        terms, words = _table(paths["terms"]), _table(paths["words"])
        head = _head(terms, paths["terms"])
        opened = cls(
            head,
            Strings.of(_column(terms, "term", paths["terms"])),
            _column(terms, "end", paths["terms"]).to_numpy(),
            Strings.of(_column(words, "word", paths["words"])),
            _column(words, "rows", paths["words"]).to_numpy(),
            _column(words, "signature", paths["words"]).to_numpy(),
            *(_array(paths[role]) for role in ("low", "high", "counts", "lengths")),
        )
        opened._check(paths)
        return opened

    def span(self, term: str) -> tuple[int, int]:
        """Where the postings of `term` begin and end; twice 0 where no row has it."""
        at = self.terms.place(term)
        return (int(self.ends[at - 1]) if at else 0, int(self.ends[at])) if at >= 0 else (0, 0)

    def terms_with(self, character: str) -> list[str]:
        """The terms that have a `character` of a script without spaces."""
        first = self.terms.first("\u0e01".encode())  # the first of those scripts
        some = self.terms.column.slice(first)
        found: list[str] = some.filter(pc.match_substring(some, character)).to_pylist()
        return found

    def rows_of(self, span: slice) -> npt.NDArray[np.int32]:
        """(n,) int32, ascending: the rows of the postings in `span`."""
        rows = self.high[span].astype(np.int32)
        rows <<= 16
        rows |= self.low[span]
        return rows

    def places(self, span: tuple[int, int], rows: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """(n,) int64: which postings, from `span`, are those of `rows`, (n,) ascending; -1 where there is none.

        Only the postings of the blocks of 65,536 rows that `rows` lie in are looked at.
        """
        start, end = span
        places = np.full(len(rows), -1, np.int64)
        if not len(rows) or start == end:
            return places
        blocks, firsts = np.unique(rows >> 16, return_index=True)
        high = self.high[start:end]
        begins = start + np.searchsorted(high, blocks.astype(high.dtype), side="left")
        ends = start + np.searchsorted(high, blocks.astype(high.dtype), side="right")
        lows = (rows & 0xFFFF).astype(np.uint16)
        for begin, stop, first, last in zip(begins, ends, firsts, [*firsts[1:], len(rows)], strict=True):
            if begin < stop:
                inside = self.low[begin:stop]
                found = np.minimum(np.searchsorted(inside, lows[first:last]), len(inside) - 1)
                places[first:last] = np.where(inside[found] == lows[first:last], found + begin, -1)
        return places

    def _check(self, paths: Mapping[str, Path]) -> None:
        if sum(self.head.by_length) != len(self.words):
            raise damaged(paths["words"], f"{sum(self.head.by_length)} words", f"{len(self.words)}")
        fields, postings = len(self.head.fields), int(self.ends[-1]) if len(self.ends) else 0
        wanted = {
            "low": ((postings,), ("<u2",)),
            "high": ((postings,), ("|u1", "<u2")),
            "counts": ((postings, fields), ("|u1",)),
            "lengths": ((self.head.rows, fields), ("|u1", "<u2")),
        }
        for role, (shape, dtypes) in wanted.items():
            array = getattr(self, role)
            if array.shape != shape or array.dtype.str not in dtypes:
                raise damaged(paths[role], f"{shape} of {' or '.join(dtypes)}", f"{array.shape} of {array.dtype.str}")


def damaged(path: Path, expected: str, came: str) -> IntegrityError:
    """The error of a file that does not hold what it should."""
    return IntegrityError(f"{path} to hold {expected}", came, _VERIFY)


def highest(fields: Sequence[int]) -> type[np.unsignedinteger[Any]]:
    """uint8, or uint16 where one of `fields` needs it."""
    return np.uint8 if max(fields, default=0) <= 255 else np.uint16


def _table(path: Path) -> pa.RecordBatch:
    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
            batch = reader.get_batch(0)
            batch.validate()
            return batch
    except (OSError, pa.ArrowInvalid, pa.ArrowIndexError, pa.ArrowTypeError) as err:
        raise machine_fault(err) or damaged(path, "an Arrow table", str(err)) from err


def _head(table: pa.RecordBatch, path: Path) -> Head:
    try:
        return Head(**json.loads((table.schema.metadata or {})[_KEY]))
    except (KeyError, TypeError, ValueError) as err:
        raise damaged(path, "what it is, in its schema", repr(err)) from err


def _column(table: pa.RecordBatch, name: str, path: Path) -> pa.Array:
    if name not in table.schema.names:
        raise damaged(path, f"the column {name}", f"the columns {', '.join(table.schema.names)}")
    return table.column(name)


def _array(path: Path) -> Any:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as err:
        raise machine_fault(err) or damaged(path, "an array", str(err)) from err
