"""Photos: from where the catalog says they are to bytes, without leaving `image_root`.

A stamp says which file a photo was when its row was fingerprinted: `stat ` and what `photo_stamp` says, or `bytes ` and
the digest of its content; for one that was not to be had, the first word and why. It goes with the photo to where it is
read, and is compared with the very file that was opened: pixels are never kept under the stamp of others.
"""

from __future__ import annotations

import errno
import glob
import itertools
import os
import posixpath
from typing import Any

import fsspec
from blake3 import blake3

from encoders.photos.decode import PhotoError, PhotoLimits
from encoders.photos.paths import spellings
from foundation.errors import InputError
from foundation.reasons import Reason
from foundation.regular_files import IrregularFileError, OversizedFileError, read_with_facts, utf8_path
from pipeline.files.storage import filesystem, is_local

# What opening a path says of that one file. Other errors (a failing disk, too many open files) must stop the run.
_NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}
_DIGITS = 64  # of a blake3
_OUTSIDE = "outside of catalog.image_root"
_NO_PHOTO = {errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO, errno.ENODEV}  # locked, link to itself, socket


def image_root(configured: str | None, catalog_path: str) -> str:
    """Where relative photo paths start: `catalog.image_root`, or the catalog's own folder. A local one is a plain
    path.
    """
    key = "catalog.path" if configured is None else "catalog.image_root"
    url = configured or catalog_path
    if url.startswith(("http://", "https://")):
        raise InputError("a folder or a bucket of photos", f"{key}={url}", "fetch the photos to a folder first")
    fs, path = filesystem(url, key)
    if is_local(fs) and "://" not in url:
        path = url  # as the user wrote it, relative paths too
    if configured is None:
        parts = itertools.takewhile(lambda part: not glob.has_magic(part), path.split("/"))
        fixed = path if fs.exists(path or ".") else "/".join(parts)
        path = fixed if fs.isdir(fixed or ".") else posixpath.dirname(fixed)
        return (path or ".") if is_local(fs) else str(fs.unstrip_protocol(path))
    return path if is_local(fs) else configured


def existing_root(configured: str | None, catalog_path: str) -> str:
    """`image_root`, when it is there; InputError for a local folder that is not. A local one is made absolute: a page
    of hits may be asked for from another folder than the run.
    """
    root = image_root(configured, catalog_path)
    if "://" not in root and not os.path.isdir(root):
        fix = "correct catalog.image_root; photo paths are relative to it"
        raise InputError("a folder of photos", f"catalog.image_root={root}, which is none", fix)
    return root if "://" in root else utf8_path(os.path.abspath(root))


def fetch(photo: dict[str, Any], root: str, limits: PhotoLimits) -> bytes:
    """The bytes of a photo, a dict of `bytes` or `path`; PhotoError with a reject's reason when there are none to be
    had.

    A path stays inside `root` after links are resolved, and is a regular file. URLs are not fetched. A photo that bears
    a `stamp` and is another file by now, or none, or one where there was none, is a PhotoError too.
    OSErrors that are not about this one file (a failing disk, too many open files) are raised: they must stop the run.
    """
    if photo["bytes"] is not None:
        raw: bytes = photo["bytes"]
        return raw
    path, stamp = photo["path"], photo.get("stamp")
    try:
        raw, facts = _read_remote(path, root, limits) if "://" in root else _read_local(path, root, limits)
    except PhotoError as err:
        if stamp is not None and _stamp_of_none(stamp, err, path, root) != stamp:
            raise _changed(path) from err
        raise
    if stamp is not None and _stamp_of(stamp, raw, facts, path, root) != stamp:
        raise _changed(path)
    return raw


def stat_stamp(facts: str | None) -> str:
    """The stamp of a photo of which `photo_stamp` says `facts`."""
    return f"stat {facts or 'none'}"


def content_stamp(found: bytes | PhotoError) -> str:
    """The stamp of a photo that was read, or could not be."""
    return f"bytes {found.code if isinstance(found, PhotoError) else blake3(found).hexdigest()}"


def is_stamp_of_none(stamp: str) -> bool:
    """Whether it says that there was no photo that could be read."""
    kind, _, what = stamp.partition(" ")
    return what == "none" if kind == "stat" else len(what) != _DIGITS


def photo_stamp(path: str, root: str) -> str | None:
    """What changes when the file at `path` does: size and mtime, or what the bucket knows of it; None when there is
    no such file, or none that may be read. Other OSErrors are raised, as by `fetch`.
    """
    try:
        if "://" in root:
            fs, name = _remote(path, root)
            return str(fs.ukey(name))
        local = _spelled(path, root)
        facts = os.stat(local)
    except (FileNotFoundError, ValueError, PhotoError):  # absent or no path at all: fetching it will say which
        return None
    except OSError as err:
        if "://" not in root and err.errno in _NO_FILE | _NO_PHOTO:
            return None
        raise
    return _facts(facts) if os.access(local, os.R_OK) else None


def _facts(found: os.stat_result) -> str:
    return f"{found.st_size} {found.st_mtime_ns}"


def _stamp_of(stamp: str, raw: bytes, facts: str | None, path: str, root: str) -> str:
    """What `stamp` would be of the photo that was read just now, of which a local file's `facts` are known."""
    if not stamp.startswith("stat "):
        return content_stamp(raw)
    if facts is None:
        _remote(path, root)[0].invalidate_cache()  # a listing of before would say what was
        facts = photo_stamp(path, root)
    return stat_stamp(facts)


def _stamp_of_none(stamp: str, err: PhotoError, path: str, root: str) -> str:
    """What `stamp` would be of the photo that could not be read just now."""
    if not stamp.startswith("stat "):
        return content_stamp(err)
    gone = err.code in (Reason.IMAGE_NOT_FOUND, Reason.IMAGE_CHANGED)
    return stat_stamp(None if gone else photo_stamp(path, root))


def _changed(path: str) -> PhotoError:
    message = f"the file was replaced, written to or removed during the run: {path[:200]}"
    return PhotoError(Reason.IMAGE_CHANGED, message, may_pass=True)


def _found(path: str, root: str) -> str:
    """The local file that `path` means, with links resolved; PhotoError when it lies outside of `root`."""
    base = os.path.realpath(root)
    real = os.path.realpath(_spelled(path, base))
    if not _is_inside(real, base):
        raise PhotoError(Reason.IMAGE_FORBIDDEN, f"{_OUTSIDE}: {path[:200]}")
    return real


def _is_inside(real: str, base: str) -> bool:
    return real.startswith(base.rstrip(os.sep) + os.sep)


def _spelled(path: str, root: str) -> str:
    """Where `path` lies, or would lie: of its spellings the first that is there, else as it is written.

    One that only decoded leads out of `root` is not looked at: nobody learns what lies there.
    """
    written, *others = (os.path.join(root, one) for one in spellings(path))
    if not others or os.path.lexists(written):
        return written
    base = os.path.realpath(root)
    inside = (one for one in others if _is_inside(os.path.realpath(one), base))
    return next(filter(os.path.lexists, inside), written)


def _read_local(path: str, root: str, limits: PhotoLimits) -> tuple[bytes, str | None]:
    """(bytes, facts as in `photo_stamp`) of one open file; PhotoError also when it was written to meanwhile."""
    real = _found(path, root)
    try:
        raw, before, after = read_with_facts(real, limits.max_bytes, follow_links=False)
    except IrregularFileError as err:
        raise PhotoError(Reason.IMAGE_FORBIDDEN, f"{err.kind}, not a regular file: {path[:200]}") from err
    except OversizedFileError as err:
        raise _too_large(err.size, path, limits) from err
    except OSError as err:
        if err.errno in _NO_FILE:
            raise PhotoError(Reason.IMAGE_NOT_FOUND, f"no such file: {path[:200]}") from err
        if err.errno in _NO_PHOTO:
            raise PhotoError(Reason.IMAGE_FORBIDDEN, f"{os.strerror(err.errno).lower()}: {path[:200]}") from err
        raise
    if _facts(before) != _facts(after):
        raise _changed(path)
    return raw, _facts(before)


def _read_remote(path: str, root: str, limits: PhotoLimits) -> tuple[bytes, None]:
    fs, name = _remote(path, root)
    try:
        facts = fs.info(name)
        if facts["type"] != "file":
            raise PhotoError(Reason.IMAGE_FORBIDDEN, f"not a file: {path[:200]}")
        if (size := int(facts["size"])) > limits.max_bytes:
            raise _too_large(size, path, limits)
        raw: bytes = fs.cat_file(name)
    except FileNotFoundError as err:
        raise PhotoError(Reason.IMAGE_NOT_FOUND, f"no such object: {path[:200]}") from err
    return raw, None


def _remote(path: str, root: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """(the file system of `root`, the name of `path` there), of its spellings the first that is there, else as it is
    written; PhotoError when it lies outside of `root`.
    """
    fs, base = filesystem(root, "catalog.image_root")
    inside = spellings(path.removeprefix(root.rstrip("/") + "/"))
    if any(one.startswith("/") or ".." in one.split("/") for one in inside):
        raise PhotoError(Reason.IMAGE_FORBIDDEN, f"{_OUTSIDE}: {path[:200]}")
    written, *others = (f"{base.rstrip('/')}/{one}" for one in inside)
    if not others or fs.exists(written):
        return fs, written
    return fs, next((one for one in others if fs.exists(one)), written)


def _too_large(size: int, path: str, limits: PhotoLimits) -> PhotoError:
    return PhotoError(Reason.IMAGE_TOO_LARGE, f"more than {limits.max_bytes:,} bytes: {size:,}, {path[:200]}")
