"""Photos in archives: a tar or a zip, or many of them, as `catalog.image_root: shards/*.tar`.

A path is that of a member (`img/1.jpg`), also behind that of its archive (`shards/000.tar/img/1.jpg`, or
`000.tar/img/1.jpg`). One without an ending is a key of webdataset: of key `000123` the photo is `000123.jpg`, or what
else photos end in.

Archives are indexed once for each run. One that is written to meanwhile has changed photos: `image_changed`.
"""

from __future__ import annotations

import glob
import os
import posixpath
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from encoders.photos.decode import PhotoError, PhotoLimits
from encoders.photos.paths import ENDINGS, PHOTO_NAME, spellings
from foundation.errors import InputError
from foundation.reasons import Reason
from foundation.regular_files import open_regular
from pipeline.photos.members import LOCKED, OTHER, Member, Members, members_of, plain_name
from pipeline.photos.source import changed, outside, too_large
from pipeline.photos.tars import compressed, tar_bytes, tar_members
from pipeline.photos.zips import zip_bytes, zip_members

_TAR, _ZIP = ".tar", ".zip"
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".tar.lz4")
ARCHIVES = (_TAR, _ZIP, *_COMPRESSED)  # what their names end in
_PHOTO = re.compile(PHOTO_NAME, re.IGNORECASE | re.DOTALL)
_OF_KEYS = [one for endings in ENDINGS.values() for ending in endings for one in (ending, ending.upper())]


@dataclass(frozen=True)
class Indexed:
    """Archives, sorted by name, as they were when their members were indexed."""

    paths: tuple[str, ...]
    stamps: tuple[str, ...]  # of each: size and mtime
    members: Members
    numbers: dict[str, int]  # path of an archive, whole or its end from a folder or its name on -> its number


@dataclass(frozen=True)
class Archives:
    """The archives that the path or glob `root` names. A member of a tar is told by its place and size, and the stat of
    the tar; one of a zip by its size and CRC-32.
    """

    root: str

    def facts(self, path: str, anew: bool = False) -> str | None:
        """See Source."""
        indexed = _indexed(self.root)
        try:
            member = _found(path, indexed)
        except PhotoError:
            return None
        if _is_zip(indexed.paths[member.archive]):
            return f"{member.size} {member.crc:08x}"
        return f"{member.offset} {member.size} {indexed.stamps[member.archive]}"

    def read(self, path: str, limits: PhotoLimits) -> tuple[bytes, str | None]:
        """See Source; PhotoError also when the archive was written to since it was indexed."""
        indexed = _indexed(self.root)
        member = _found(path, indexed)
        if member.kind == LOCKED:
            raise PhotoError(Reason.IMAGE_FORBIDDEN, f"encrypted in its zip: {path[:200]}")
        if (size := max(member.size, member.stored)) > limits.max_bytes:
            raise too_large(size, path, limits)
        name, stamp = indexed.paths[member.archive], indexed.stamps[member.archive]
        try:
            with open_regular(name) as file:
                if _stamp(os.fstat(file.fileno())) != stamp:
                    raise changed(path)
                raw = (zip_bytes if _is_zip(name) else tar_bytes)(file, member, path)
                if _stamp(os.fstat(file.fileno())) != stamp:
                    raise changed(path)
        except FileNotFoundError as err:
            raise changed(path) from err
        return raw, self.facts(path)


def is_archives(root: str) -> bool:
    """Whether a root, a local path or glob, names archives by its ending; a folder of such a name is a folder."""
    return root.lower().endswith(ARCHIVES) and not os.path.isdir(root)


def ending_of(name: str) -> str | None:
    """What the name of an archive ends in, as it is written; None where it is that of no archive."""
    found = (one for one in sorted(ARCHIVES, key=len, reverse=True) if name.lower().endswith(one))
    return next((name[-len(one) :] for one in found), None)


def archives_in(folder: str) -> str:
    """The glob of the archives in a folder without photos or folders, as `shards/*.tar`; else the folder. Notes beside
    them, as `sizes.json` or `_SUCCESS`, change nothing.
    """
    endings = set[str]()
    with os.scandir(folder) as found:
        for one in found:
            if one.name.startswith((".", "_")):
                continue
            if not one.is_file() or _PHOTO.fullmatch(one.name):
                return folder
            if (ending := ending_of(one.name)) is not None:
                endings.add(ending)
    return all_in(folder, endings.pop()) if len(endings) == 1 else folder


def all_in(folder: str, ending: str) -> str:
    """The glob of the archives in a folder that end alike."""
    return os.path.join(glob.escape(folder), f"*{ending}")


def archives_of(root: str) -> Members:
    """The members of the archives of `root`, as they were when a run first asked; InputError where these cannot be
    read.
    """
    return _indexed(root).members


def refuse_archives(root: str) -> None:
    """InputError where `root` names no archive, or a compressed one. Archives are indexed anew when next asked for."""
    with _LOCK:
        _INDEXES.clear()
    if root.lower().endswith(_COMPRESSED):
        raise compressed(root)
    _paths(root)


# --- inside ---

_LOCK = threading.Lock()
_INDEXES: dict[str, Indexed] = {}  # of one root: a catalog has one


def _indexed(root: str) -> Indexed:
    with _LOCK:
        if root not in _INDEXES:
            _INDEXES.clear()
            _INDEXES[root] = _index(root)
        return _INDEXES[root]


def _index(root: str) -> Indexed:
    paths, stamps = _paths(root), list[str]()
    members = members_of(_members(paths, stamps))
    # A catalog beside the folder of the archives writes `shards/000.tar`.
    ends = {
        "/".join(path.split("/")[start:]): at for at, path in enumerate(paths) for start in range(path.count("/") + 1)
    }
    return Indexed(tuple(paths), tuple(stamps), members, ends)


def _paths(root: str) -> list[str]:
    """The archives that `root` names, sorted; InputError where there are none."""
    found = [root] if os.path.lexists(root) else sorted(glob.glob(root))
    if archives := [path for path in found if not os.path.isdir(path)]:
        return archives
    fix = "correct catalog.image_root: a folder of photos, or a .tar or .zip of them"
    raise InputError("archives of photos", f"catalog.image_root={root}, which is not there", fix)


def _members(paths: Sequence[str], stamps: list[str]) -> Iterator[tuple[str, Member]]:
    """(name, member) of each archive in turn, whose `stamps` are added."""
    for number, path in enumerate(paths):
        try:
            with open_regular(path) as file:
                stamps.append(_stamp(os.fstat(file.fileno())))
                yield from (zip_members if _is_zip(path) else tar_members)(path, file, number)
                same = _stamp(os.fstat(file.fileno())) == stamps[-1]
        except OSError as err:
            raise InputError(
                "an archive that can be read", f"{path}: {err.strerror}", "correct it, or catalog.image_root"
            ) from err
        if not same:
            raise InputError("an archive that nobody writes to", path, "run again once it is whole")


def _found(path: str, indexed: Indexed) -> Member:
    """The member that `path` means, of its spellings the first that is there; PhotoError when there is none."""
    inside = False
    for one in spellings(path):
        name, archive = _placed(one, indexed)
        if name is None:
            continue
        inside = True
        found = _member(name, archive, indexed)
        if found is None and archive is not None and not one.startswith("/"):
            found = _member(one, None, indexed)  # a folder in an archive may be called like one
        if found is not None and found.kind == OTHER:
            what = "a folder, a link or the like in the archive, not a regular file"
            raise PhotoError(Reason.IMAGE_FORBIDDEN, f"{what}: {path[:200]}")
        if found is not None:
            return found
    if not inside:
        raise outside(path)
    raise PhotoError(Reason.IMAGE_NOT_FOUND, f"no such member of the archive: {path[:200]}")


def _placed(path: str, indexed: Indexed) -> tuple[str | None, int | None]:
    """(the plain name of a member, None where it leads out, the number of the archive that `path` names)."""
    for at, character in enumerate(path):
        if character == "/" and (number := indexed.numbers.get(path[:at])) is not None:
            return plain_name(path[at + 1 :]), number
    return plain_name(path), None


def _member(name: str, archive: int | None, indexed: Indexed) -> Member | None:
    found = indexed.members.find(name, archive)
    if (found is not None and found.kind != OTHER) or "." in posixpath.basename(name):
        return found
    keyed = (indexed.members.find(f"{name}.{ending}", archive) for ending in _OF_KEYS)
    return next((one for one in keyed if one is not None), found)  # a key may be called as a folder is


def _is_zip(path: str) -> bool:
    return path.lower().endswith(_ZIP)


def _stamp(found: os.stat_result) -> str:
    return f"{found.st_size} {found.st_mtime_ns}"
