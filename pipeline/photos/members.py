"""The members of archives of photos: an index of some 60 bytes for each, made once and asked by name.

Names are kept as digests. Of members of one name the last counts, as it does when an archive is unpacked; of several
archives that of the last by name.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from foundation.errors import InputError

FILE, OTHER, LOCKED = 0, 1, 2  # what a member is: a regular file, something else, one that is encrypted
MOST = 10_000_000  # members: an index of 600 MB

_ROW = struct.Struct("<QQQQQIIBB")
_FIELDS = np.dtype(
    [
        *(("key", "<u8"), ("check", "<u8"), ("offset", "<u8"), ("stored", "<u8"), ("size", "<u8")),
        *(("crc", "<u4"), ("archive", "<u4"), ("kind", "u1"), ("method", "u1")),
    ]
)


class Member(NamedTuple):
    """A member: where its data begin (of a zip its own header), how many bytes there are and of what size once
    unpacked, CRC-32 and method of a zip, else 0; and the number of its archive.
    """

    offset: int
    stored: int
    size: int
    crc: int = 0
    kind: int = FILE
    method: int = 0
    archive: int = 0


@dataclass(frozen=True)
class Members:
    """The members of some archives by name: `rows` are sorted by the digests of names, equal ones as they came."""

    keys: npt.NDArray[np.uint64]  # first halves of the digests
    rows: npt.NDArray[Any]
    repeated: int  # members of which a later one has the name
    refused: int  # members whose names lead out, and that cannot be asked for
    example: str | None  # such a name

    def find(self, name: str, archive: int | None = None) -> Member | None:
        """The member of that plain name, in any of the archives or in one."""
        key, check = _digest(name)
        start = int(np.searchsorted(self.keys, np.uint64(key)))
        end = int(np.searchsorted(self.keys, np.uint64(key), "right"))
        for row in self.rows[start:end][::-1]:
            if int(row["check"]) == check and archive in (None, int(row["archive"])):
                return Member(*(int(row[field]) for field in Member._fields))
        return None


def plain_name(name: str) -> str | None:
    """A member's name without `./` and doubled slashes; None for one that leads out, or is none."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name or not parts:
        return None
    return "/".join(parts)


def members_of(found: Iterable[tuple[str, Member]]) -> Members:
    """The index of members by their names, as they are in the archives; InputError where there are too many."""
    raw, refused, example = bytearray(), 0, None
    for name, one in found:
        plain = plain_name(name)
        if plain is None:
            if one.kind == FILE:
                refused, example = refused + 1, example or name
            continue
        raw += _ROW.pack(*_digest(plain), one.offset, one.stored, one.size, one.crc, one.archive, one.kind, one.method)
        if len(raw) > MOST * _ROW.size:
            fix = "name fewer archives in catalog.image_root, or unpack them into a folder"
            raise InputError(f"archives of at most {MOST:,} members", "more", fix)
    rows = np.frombuffer(raw, _FIELDS)
    rows = rows[np.lexsort((rows["check"], rows["key"]))]  # which leaves equal ones as they came
    same = (rows["key"][1:] == rows["key"][:-1]) & (rows["check"][1:] == rows["check"][:-1])
    files = (rows["kind"][1:] != OTHER) & (rows["kind"][:-1] != OTHER)  # folders are listed again and again
    return Members(np.ascontiguousarray(rows["key"]), rows, int((same & files).sum()), refused, example)


def _digest(name: str) -> tuple[int, int]:
    digest = blake3(name.encode("utf-8", "surrogateescape")).digest(16)
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
