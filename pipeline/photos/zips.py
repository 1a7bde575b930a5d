"""Zip files: which members they have, and the bytes of one, never more than its directory says that there are."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from encoders.photos.decode import PhotoError
from foundation.errors import InputError
from foundation.liveness import beat
from foundation.reasons import Reason
from pipeline.photos.members import FILE, LOCKED, OTHER, Member

# https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.7 and 4.4.4
_HEADER = struct.Struct("<4s22xHH")
_MAGIC, _ENCRYPTED = b"PK\x03\x04", 0x2041  # the member, by a strong method, its directory


def zip_members(path: str, file: BinaryIO, archive: int) -> Iterator[tuple[str, Member]]:
    """(name, member) of each, in the order of the directory; InputError for what is no zip, or is not whole.

    Backslashes in names, which some programs write, are slashes. A link is something else than a regular file.
    """
    try:
        with zipfile.ZipFile(file) as opened:
            for one in opened.infolist():
                beat()
                mode = one.external_attr >> 16
                other = one.is_dir() or (stat.S_IFMT(mode) not in (0, stat.S_IFREG))
                kind = OTHER if other else LOCKED if one.flag_bits & _ENCRYPTED else FILE
                sizes = one.compress_size, one.file_size, one.CRC
                name = one.filename.replace("\\", "/")
                yield name, Member(one.header_offset, *sizes, kind, min(one.compress_type, 255), archive)
    except (zipfile.BadZipFile, NotImplementedError) as err:
        fix = "copy it again, or correct catalog.image_root"
        raise InputError("a whole zip file", f"{path}: {err}", fix) from err


def zip_bytes(file: BinaryIO, member: Member, path: str) -> bytes:
    """The bytes of a member, unpacked: as many as its directory says and of that CRC-32, else PhotoError."""
    header = os.pread(file.fileno(), _HEADER.size, member.offset)
    if len(header) < _HEADER.size or not header.startswith(_MAGIC):
        raise _damaged("no header where the directory of the zip says", path)
    _, *lengths = _HEADER.unpack(header)
    raw = os.pread(file.fileno(), member.stored, member.offset + _HEADER.size + sum(lengths))
    if member.method == zipfile.ZIP_DEFLATED:
        try:
            raw = zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw, member.size + 1)
        except zlib.error as err:
            raise _damaged(f"the zip is damaged, {err}", path) from err
    elif member.method != zipfile.ZIP_STORED:
        raise _damaged(f"compressed by method {member.method} of zip, stored and deflated are read", path)
    if len(raw) != member.size or zlib.crc32(raw) != member.crc:
        raise _damaged("size or CRC-32 differ from what the directory of the zip says", path)
    return raw


def _damaged(what: str, path: str) -> PhotoError:
    return PhotoError(Reason.IMAGE_UNDECODABLE, f"{what}: {path[:200]}")
