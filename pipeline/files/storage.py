"""Where input lies: a local folder, or whatever fsspec has a driver for."""

from __future__ import annotations

import fsspec
from fsspec.implementations.local import LocalFileSystem

from foundation.errors import InputError


def filesystem(url: str, key: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """(the file system of `url`, its path there); InputError when nothing installed can read it."""
    try:
        fs, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as err:
        raise InputError(
            "a local path or a URL that fsspec has a driver for",
            f"{key}={url}: {err}",
            f"install the driver beside vitrine (s3fs for s3://, gcsfs for gs://), or correct {key}",
        ) from err
    return fs, path


def is_local(fs: fsspec.AbstractFileSystem) -> bool:
    """Whether its paths are those of this machine."""
    return isinstance(fs, LocalFileSystem)
