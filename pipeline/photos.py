"""Photos: from where the catalog says they are to bytes, without leaving `image_root`."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import fsspec

from encoders.photo import PhotoError, PhotoLimits
from pipeline.reasons import Reason


def image_root(configured: str | None, catalog_path: str) -> str:
    """Where relative photo paths start: `catalog.image_root`, or the catalog's own folder."""
    if configured is not None:
        return configured
    return catalog_path if Path(catalog_path).is_dir() else str(Path(catalog_path).parent)


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
    if "://" in path or "\0" in path:
        raise PhotoError(
            Reason.IMAGE_FORBIDDEN, f"{path}: photos are read from image_root only, nothing is fetched from URLs"
        )
    base = os.path.realpath(root)
    real = os.path.realpath(os.path.join(base, path))
    if not real.startswith(base.rstrip(os.sep) + os.sep):
        raise PhotoError(Reason.IMAGE_FORBIDDEN, f"{path}: lies outside of image_root {root}")
    return _read_regular(real, path, limits)


def _read_regular(real: str, path: str, limits: PhotoLimits) -> bytes:
    try:
        # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
        handle = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError) as err:
        raise PhotoError(Reason.IMAGE_NOT_FOUND, f"{path}: no such file") from err
    except PermissionError as err:
        raise PhotoError(Reason.IMAGE_FORBIDDEN, f"{path}: {err.strerror}") from err
    except OSError as err:
        if len(os.path.basename(real)) > 255 or len(real) > 4095:
            raise PhotoError(Reason.IMAGE_NOT_FOUND, f"{path[:80]}...: no file can have a name this long") from err
        raise
    with open(handle, "rb") as file:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise PhotoError(Reason.IMAGE_FORBIDDEN, f"{path}: not a regular file")
        if facts.st_size > limits.max_bytes:
            raise PhotoError(Reason.IMAGE_TOO_LARGE, f"{path}: {facts.st_size:,} bytes, more than {limits.max_bytes:,}")
        return file.read()


def _fetch_remote(path: str, root: str, limits: PhotoLimits) -> bytes:
    fs, base = fsspec.core.url_to_fs(root)
    inside = path.removeprefix(root.rstrip("/") + "/")
    if "://" in inside or inside.startswith("/") or ".." in inside.split("/"):
        raise PhotoError(Reason.IMAGE_FORBIDDEN, f"{path}: lies outside of image_root {root}")
    name = f"{base.rstrip('/')}/{inside}"
    try:
        size = int(fs.info(name)["size"])
        if size > limits.max_bytes:
            raise PhotoError(Reason.IMAGE_TOO_LARGE, f"{path}: {size:,} bytes, more than {limits.max_bytes:,}")
        raw: bytes = fs.cat_file(name)
    except FileNotFoundError as err:
        raise PhotoError(Reason.IMAGE_NOT_FOUND, f"{path}: no such object") from err
    return raw
