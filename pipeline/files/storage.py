"""Where input lies: a local folder, or whatever fsspec has a driver for."""

from __future__ import annotations

from typing import Any

import fsspec
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.local import LocalFileSystem

from foundation.errors import InputError

_DRIVERS = "s3fs for s3://, gcsfs for gs://, adlfs for abfs://, aiohttp and requests for https://"


def filesystem(url: str, key: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """(the file system of `url`, its path there); InputError when nothing installed can read it."""
    try:
        fs, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError, OSError) as err:
        raise InputError(
            "a local path or a URL that fsspec has a driver for",
            f"{key}={url}: {(str(err).splitlines() or [type(err).__name__])[0]}",
            f"install the driver beside vitrine ({_DRIVERS}), or correct {key}",
        ) from err
    return fs, path


def objects_below(fs: fsspec.AbstractFileSystem, root: str) -> dict[str, dict[str, Any]]:
    """Name -> facts of everything at any depth; OSError for a folder that cannot be listed.

    fsspec's own walk leaves such a folder out without a word, so where a driver has no listing of its own (s3fs and
    gcsfs have, in one flat request), folders are listed here.
    """
    base, name = (AsyncFileSystem, "_find") if isinstance(fs, AsyncFileSystem) else (fsspec.AbstractFileSystem, "find")
    if getattr(type(fs), name) is not getattr(base, name):
        return dict(fs.find(root, detail=True))
    found, folders = dict[str, dict[str, Any]](), [root]
    while folders:
        folder = folders.pop()
        for one in fs.ls(folder, detail=True):
            if one["type"] != "directory":
                found[one["name"]] = one
            elif one["name"].rstrip("/") != folder.rstrip("/"):
                folders.append(one["name"])
    return found


def plain_path(url: str) -> str:
    """A path of this machine as such; others as they are."""
    fs, name = filesystem(url, "catalog.path")
    return name if is_local(fs) else url


def is_local(fs: fsspec.AbstractFileSystem) -> bool:
    """Whether its paths are those of this machine."""
    return isinstance(fs, LocalFileSystem)
