"""Tar files: which members they have, and the bytes of one."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from encoders.photos.decode import PhotoError
from foundation.errors import InputError
from foundation.liveness import beat
from foundation.reasons import Reason
from pipeline.photos.members import FILE, OTHER, Member

_GZIP, _BLOCK = b"\x1f\x8b", 512


def tar_members(path: str, file: BinaryIO, archive: int) -> Iterator[tuple[str, Member]]:
    """(name, member) of each, in order; InputError for what is no tar, is compressed, or is not whole.

    Headers alone are read. A hard link, a symbolic link and a sparse file are something else than a regular file.
    """
    head = file.read(2)
    file.seek(0)
    if head == _GZIP:
        raise compressed(path)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (one := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep all of them
                beat()
                regular = one.isreg() and not one.issparse()
                yield one.name, Member(one.offset_data, one.size, one.size, 0, FILE if regular else OTHER, 0, archive)
            file.seek(tar.offset)
            if any(file.read(_BLOCK)):  # tarfile takes a damaged header for the end
                raise tarfile.ReadError(f"no header of a member at byte {tar.offset:,}")
    except tarfile.TarError as err:
        fix = "copy it again, or correct catalog.image_root"
        raise InputError("a whole tar file", f"{path}: {err}", fix) from err


def tar_bytes(file: BinaryIO, member: Member, path: str) -> bytes:
    """The bytes of a member; PhotoError where the archive ends before."""
    raw = os.pread(file.fileno(), member.size, member.offset)
    if len(raw) < member.size:
        raise PhotoError(Reason.IMAGE_UNDECODABLE, f"the tar ends before the photo does: {path[:200]}")
    return raw


def compressed(path: str) -> InputError:
    """For an archive that is compressed as a whole: its members cannot be read one by one."""
    fix = f"unpack it once: gunzip, unxz or unzstd {path}, and name the .tar in catalog.image_root"
    return InputError(
        "a tar that is not compressed: photos are read one by one, wherever they lie in it",
        f"catalog.image_root={path}",
        fix,
    )
