"""Photos: from where the catalog says they are to bytes, without leaving `image_root`."""

from __future__ import annotations

import errno
import glob
import itertools
import os
import posixpath
import stat
from typing import Any

from encoders.errors import InputError
from encoders.photo import PhotoError, PhotoLimits
from pipeline.config_sections import CatalogConfig
from pipeline.files import filesystem, is_local
from pipeline.reasons import Reason

# What opening a path says of that one file. Other errors (a failing disk, too many open files) must stop the run.
_NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}
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


def photo_limits(settings: CatalogConfig) -> PhotoLimits:
    """What one photo may cost."""
    return PhotoLimits(settings.max_photo_bytes, settings.max_photo_pixels, settings.max_photo_seconds)


def existing_root(configured: str | None, catalog_path: str) -> str:
    """`image_root`, when it is there; InputError for a local folder that is not. A local one is made absolute: a page
    of hits may be asked for from another folder than the run.
    """
    root = image_root(configured, catalog_path)
    if "://" not in root and not os.path.isdir(root):
        fix = "correct catalog.image_root; photo paths are relative to it"
        raise InputError("a folder of photos", f"catalog.image_root={root}, which is none", fix)
    return root if "://" in root else os.path.abspath(root)


def fetch(photo: dict[str, Any], root: str, limits: PhotoLimits) -> bytes:
    """The bytes of a photo, a dict of `bytes` or `path`; PhotoError with a reject's reason when there are none to be
    had.

    A path stays inside `root` after links are resolved, and is a regular file. URLs are not fetched.
    OSErrors that are not about this one file (a failing disk, too many open files) are raised: they must stop the run.
    """
    if photo["bytes"] is not None:
        raw: bytes = photo["bytes"]
        return raw
    path: str = photo["path"]
    if "://" in root:
        return _fetch_remote(path, root, limits)
    return _read_regular(_contained(path, root), path, limits)


def photo_stamp(path: str, root: str) -> str | None:
    """What changes when the file at `path` does: size and mtime, or what the bucket knows of it; None when there is
    no such file, or none that may be read. Other OSErrors are raised, as by `fetch`.
    """
    local = os.path.join(root, path)
    try:
        if "://" in root:
            fs, _ = filesystem(root, "catalog.image_root")
            return str(fs.ukey(_remote_name(path, root)))
        facts = os.stat(local)
    except (FileNotFoundError, ValueError, PhotoError):  # absent or no path at all: fetching it will say which
        return None
    except OSError as err:
        if "://" not in root and err.errno in _NO_FILE | _NO_PHOTO:
            return None
        raise
    return f"{facts.st_size} {facts.st_mtime_ns}" if os.access(local, os.R_OK) else None


def _contained(path: str, root: str) -> str:
    """The local file of `path` with links resolved; PhotoError when it lies outside of `root`."""
    if "://" in path or "\0" in path:
        raise PhotoError(
            Reason.IMAGE_FORBIDDEN, f"{path}: photos are read from image_root only, nothing is fetched from URLs"
        )
    base = os.path.realpath(root)
    real = os.path.realpath(os.path.join(base, path))
    if not real.startswith(base.rstrip(os.sep) + os.sep):
        raise PhotoError(Reason.IMAGE_FORBIDDEN, f"{path}: lies outside of image_root {root}")
    return real


def _read_regular(real: str, path: str, limits: PhotoLimits) -> bytes:
    try:
        # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
        handle = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as err:
        if err.errno in _NO_FILE:
            raise PhotoError(Reason.IMAGE_NOT_FOUND, f"{path[:200]}: {err.strerror}") from err
        if err.errno in _NO_PHOTO:
            raise PhotoError(Reason.IMAGE_FORBIDDEN, f"{path[:200]}: {err.strerror}") from err
        raise
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise PhotoError(Reason.IMAGE_FORBIDDEN, f"{path}: not a regular file")
        _check_size(facts.st_size, path, limits)
        with open(handle, "rb", closefd=False) as file:
            return file.read(limits.max_bytes + 1)  # a file that grows meanwhile is refused when it is decoded
    finally:
        os.close(handle)


def _fetch_remote(path: str, root: str, limits: PhotoLimits) -> bytes:
    fs, _ = filesystem(root, "catalog.image_root")
    name = _remote_name(path, root)
    try:
        facts = fs.info(name)
        if facts["type"] != "file":
            raise PhotoError(Reason.IMAGE_FORBIDDEN, f"{path}: not a file")
        _check_size(int(facts["size"]), path, limits)
        raw: bytes = fs.cat_file(name)
    except FileNotFoundError as err:
        raise PhotoError(Reason.IMAGE_NOT_FOUND, f"{path}: no such object") from err
    return raw


def _remote_name(path: str, root: str) -> str:
    """The name of `path` on the file system of `root`; PhotoError when it lies outside of `root`."""
    _, base = filesystem(root, "catalog.image_root")
    inside = path.removeprefix(root.rstrip("/") + "/")
    if "://" in inside or inside.startswith("/") or ".." in inside.split("/"):
        raise PhotoError(Reason.IMAGE_FORBIDDEN, f"{path}: lies outside of image_root {root}")
    return f"{base.rstrip('/')}/{inside}"


def _check_size(size: int, path: str, limits: PhotoLimits) -> None:
    if size > limits.max_bytes:
        raise PhotoError(Reason.IMAGE_TOO_LARGE, f"{path}: {size:,} bytes, more than {limits.max_bytes:,}")
