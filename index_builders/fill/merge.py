"""Parts of an index, each a FAISS file filled from the same trained index, made one file on disk.

Nothing is held but the list sizes and `_ROWS` codes: lists are copied one after another, of each part in turn, so rows
come in the order of the parts. The file equals the one that FAISS writes of an index that got all rows. How FAISS 1.15
lays it out (read in impl/index_write.cpp and invlists/BlockInvertedLists.cpp, and proved by tests on every type):

    flat            header, numbers (u64), vectors
    array lists     header, `ilar`, nlist, code size, `full` or `sprs`, list sizes, then of each list codes and ids
    block lists     header, `ilbl`, nlist, 3 sizes, then of each list ids and codes, each after its length (u64)

Block lists hold 32 codes in an order that one instruction reads. FAISS's own merge_from leaves what was there in the
free places of a last block, and where a list has certain lengths before (256 rows of codes of 8 bytes) it writes beside
it, so that the process ends (1.15.1). So codes are moved here, by the half byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import faiss
import numpy as np
import numpy.typing as npt

from foundation.errors import IntegrityError

Bytes = npt.NDArray[np.uint8]
Sizes = npt.NDArray[np.int64]

_ROWS = 65_536  # codes in memory at a time
_ID = 8  # bytes
_ARRAY, _BLOCKS = b"ilar", b"ilbl"
_FULL, _SPARSE = b"full", b"sprs"


def merge(empty: faiss.Index, parts: Sequence[Path], path: Path) -> None:
    """Write to `path` the index of all rows of `parts`, in order, each written from a copy of the trained `empty`.

    IntegrityError where a part is of another index.
    """
    with path.open("wb") as out:
        if faiss.try_extract_index_ivf(empty) is None:
            _merge_flat(empty, parts, out)
        else:
            _merge_lists(empty, parts, out)


def _serialized(empty: faiss.Index, rows: int) -> bytes:
    """The file of `empty` if it claimed to hold `rows` rows."""
    index = faiss.deserialize_index(faiss.serialize_index(empty))
    index.ntotal = rows
    if (ivf := faiss.try_extract_index_ivf(index)) is not None:
        ivf.ntotal = rows
    raw: bytes = faiss.serialize_index(index).tobytes()
    return raw


def _merge_flat(empty: faiss.Index, parts: Sequence[Path], out: IO[bytes]) -> None:
    opened, size = [np.memmap(part, dtype=np.uint8, mode="r") for part in parts], 4 * empty.d
    start = len(_serialized(empty, 0))
    sizes = [(len(mapped) - start) // size for mapped in opened]
    for part, mapped, rows in zip(parts, opened, sizes, strict=True):
        _check_head(part, mapped, _serialized(empty, rows)[:-8] + _u64(rows * empty.d))
        _check_end(part, mapped, start + rows * size)
    out.write(_serialized(empty, sum(sizes))[:-8] + _u64(sum(sizes) * empty.d))
    for mapped in opened:
        for at in range(start, len(mapped), _ROWS * size):
            out.write(mapped[at : at + _ROWS * size].data)


def _merge_lists(empty: faiss.Index, parts: Sequence[Path], out: IO[bytes]) -> None:
    ivf: Any = faiss.try_extract_index_ivf(empty)
    lists: Any = faiss.downcast_InvertedLists(ivf.invlists)
    blocks = isinstance(lists, faiss.BlockInvertedLists)  # type: ignore[attr-defined]  # the stubs lack it
    # Of an empty index: the name, sizes of 8 bytes, then two lengths of 0 for each list, or `sprs` and a length of 0.
    tail = 4 + 4 * 8 + ivf.nlist * 16 if blocks else 4 + 2 * 8 + 4 + 8
    section = _serialized(empty, 0)[-tail:][: 36 if blocks else 20]
    if section[:12] != (_BLOCKS if blocks else _ARRAY) + _u64(ivf.nlist):
        raise TypeError(f"FAISS {faiss.__version__} writes lists of {type(ivf).__name__} in a way not known here")

    def head(rows: int) -> bytes:
        return _serialized(empty, rows)[:-tail] + section

    start, opened = len(head(0)), list[_Lists]()
    for part in parts:
        mapped = np.memmap(part, dtype=np.uint8, mode="r")
        _check_head(part, mapped[start - len(section) :], section)  # before what follows it is made sense of
        if blocks:
            opened.append(_blocks(part, mapped, start, ivf.nlist))
        else:
            opened.append(_arrays(part, mapped, start, ivf.nlist, lists.code_size))
        _check_head(part, mapped, head(int(opened[-1].sizes.sum())))
    out.write(head(sum(int(one.sizes.sum()) for one in opened)))
    if blocks:
        _write_blocks(opened, _Packing.of(lists.packer), out)
    else:
        _write_arrays(opened, lists.code_size, out)


@dataclass(frozen=True)
class _Lists:
    """The lists of a part: their sizes, and where in the mapped file their codes and ids begin, all (nlist,)."""

    mapped: Bytes
    sizes: Sizes
    codes: Sizes
    ids: Sizes

    def ids_of(self, number: int) -> Bytes:
        """The bytes of a list's ids, (8 n,) uint8."""
        return self.mapped[self.ids[number] : self.ids[number] + _ID * self.sizes[number]]

    def codes_of(self, number: int, length: int) -> Bytes:
        """`length` bytes of a list's codes, (length,) uint8."""
        return self.mapped[self.codes[number] : self.codes[number] + length]


# --- array lists ---


def _arrays(part: Path, mapped: Bytes, at: int, nlist: int, code_size: int) -> _Lists:
    kind, count = mapped[at : at + 4].tobytes(), _number(mapped, at + 4)
    listed = np.frombuffer(mapped[at + 12 : at + 12 + 8 * count].tobytes(), dtype="<i8")
    sizes = np.zeros(nlist, dtype=np.int64)
    if kind == _FULL:
        sizes[:] = listed
    else:
        sizes[listed[::2]] = listed[1::2]
    ends = np.cumsum(sizes * (code_size + _ID)) + at + 12 + 8 * count
    _check_end(part, mapped, int(ends[-1]))
    ids = ends - sizes * _ID
    return _Lists(mapped, sizes, ids - sizes * code_size, ids)


def _write_arrays(parts: Sequence[_Lists], code_size: int, out: IO[bytes]) -> None:
    sizes: Sizes = np.asarray(sum(part.sizes for part in parts))
    filled = np.flatnonzero(sizes)
    # FAISS's own choice: sizes of all lists, or pairs (list, size), when half of the lists or more are empty
    full = len(filled) > len(sizes) // 2
    listed = sizes if full else np.stack([filled, sizes[filled]], axis=1).ravel()
    out.write((_FULL if full else _SPARSE) + _u64(len(listed)) + listed.astype("<i8").tobytes())
    for number in filled.tolist():
        for part in parts:
            out.write(part.codes_of(number, int(part.sizes[number]) * code_size).data)
        for part in parts:
            out.write(part.ids_of(number).data)


# --- block lists ---


def _blocks(part: Path, mapped: Bytes, at: int, nlist: int) -> _Lists:
    sizes, codes, ids = np.zeros((3, nlist), dtype=np.int64)
    for number in range(nlist):
        sizes[number], ids[number] = _number(mapped, at), at + 8
        at += 8 + int(sizes[number]) * _ID
        codes[number] = at + 8
        at += 8 + _number(mapped, at)
    _check_end(part, mapped, at)
    return _Lists(mapped, sizes, codes, ids)


def _write_blocks(parts: Sequence[_Lists], packing: _Packing, out: IO[bytes]) -> None:
    for number in range(len(parts[0].sizes)):
        rows = sum(int(part.sizes[number]) for part in parts)
        out.write(_u64(rows))
        for part in parts:
            out.write(part.ids_of(number).data)
        out.write(_u64(packing.length(rows)))
        for packed in packing.packed(code for part in parts for code in _flat(part, number, packing)):
            out.write(packed)


def _flat(part: _Lists, number: int, packing: _Packing) -> Iterator[Bytes]:
    """The codes of a list, (n, j) half bytes, `_ROWS` or fewer at a time."""
    size = int(part.sizes[number])
    blocks = part.codes_of(number, packing.length(size)).reshape(-1, packing.block_size)
    step = _ROWS // packing.rows
    for start in range(0, len(blocks), step):
        some = blocks[start : start + step]
        yield packing.unpacked(some, min(size - start * packing.rows, len(some) * packing.rows))


@dataclass(frozen=True)
class _Packing:
    """Where the half bytes of a code lie in its block: `at` (rows of a block, j), counted from the block's first."""

    at: Sizes
    block_size: int

    @classmethod
    def of(cls, packer: Any) -> _Packing:
        """As FAISS's packer puts them: each half byte is tried alone."""
        where: list[list[int]] = []
        for row in range(packer.nvec):
            where.append([])
            for half in range(2 * packer.code_size):
                code, block = np.zeros(packer.code_size, np.uint8), np.zeros((1, packer.block_size), np.uint8)
                code[half // 2] = 0xF0 if half % 2 else 0x0F
                packer.pack_1(code, row, block)
                found = np.flatnonzero(_halves(block)[0])
                if len(found):  # an odd number of sub-quantizers leaves the last half byte of a code unused
                    where[row].append(int(found[0]))
        at = np.array(where, dtype=np.int64)
        if len(np.unique(at)) != at.size:
            raise TypeError(f"FAISS {faiss.__version__} packs codes in a way not known here")
        return cls(at, int(packer.block_size))

    @property
    def rows(self) -> int:
        """Codes of a block."""
        return len(self.at)

    def length(self, rows: int) -> int:
        """Bytes of so many codes."""
        return -(-rows // self.rows) * self.block_size

    def unpacked(self, blocks: Bytes, rows: int) -> Bytes:
        """The first `rows` codes, (rows, j) uint8 half bytes, of blocks (b, block_size)."""
        return np.asarray(_halves(blocks)[:, self.at].reshape(-1, self.at.shape[1])[:rows])

    def packed(self, codes: Iterable[Bytes]) -> Iterator[bytes]:
        """All codes, (n, j) uint8 half bytes at a time, as whole blocks; free places in the last are 0, as FAISS has
        them.
        """
        left = np.zeros((0, self.at.shape[1]), dtype=np.uint8)
        for some in codes:
            left = np.concatenate([left, some])
            whole = len(left) // self.rows * self.rows
            yield self._block_bytes(left[:whole])
            left = left[whole:]
        if len(left):
            yield self._block_bytes(np.pad(left, ((0, self.rows - len(left)), (0, 0))))

    def _block_bytes(self, codes: Bytes) -> bytes:
        halves = np.zeros((len(codes) // self.rows, 2 * self.block_size), dtype=np.uint8)
        halves[:, self.at] = codes.reshape(-1, *self.at.shape)
        return np.asarray(halves[:, ::2] | halves[:, 1::2] << 4, dtype=np.uint8).tobytes()


def _halves(blocks: Bytes) -> Bytes:
    """(b, 2 n) half bytes of (b, n) bytes, the lower half of each first."""
    return np.stack([blocks & 0xF, blocks >> 4], axis=2).reshape(len(blocks), -1)


# --- bytes ---


def _check_head(part: Path, mapped: Bytes, head: bytes) -> None:
    if mapped[: len(head)].tobytes() != head:
        raise _other(part, "another index")


def _check_end(part: Path, mapped: Bytes, end: int) -> None:
    if len(mapped) != end:
        raise _other(part, f"{len(mapped):,} bytes instead of {end:,}")


def _other(part: Path, came: str) -> IntegrityError:
    fix = "run `vitrine run` again: parts are built anew"
    return IntegrityError(f"{part} to be filled from the trained index it is merged with", came, fix)


def _number(mapped: Bytes, at: int) -> int:
    return int.from_bytes(mapped[at : at + 8].tobytes(), "little")


def _u64(number: int) -> bytes:
    return number.to_bytes(8, "little")
