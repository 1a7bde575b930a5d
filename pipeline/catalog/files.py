"""Which files a catalog is made of, and opening one."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import PurePosixPath

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from encoders.errors import InputError
from pipeline.files import filesystem, is_local

UNREADABLE = (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError)  # what Arrow raises for bytes that are no Parquet


@dataclass(frozen=True)
class CatalogFile:
    """A Parquet file: `path` as fsspec opens it, and what tells that it changed."""

    path: str
    size: int
    stamp: str  # mtime in ns for local files, what the bucket knows of it (etag, generation) for remote ones


def list_files(path: str) -> list[CatalogFile]:
    """The catalog's Parquet files in name order: `path` is a file, a folder or a glob. InputError when there is
    none.

    In a folder, names that begin with `_` or `.` are left out, as Spark and pyarrow do: a writer is not done with them.
    """
    fs, root = filesystem(path, "catalog.path")
    if fs.isdir(root):  # before the glob: a folder can be named `feed [old]`
        found = sorted(name for name in fs.find(root) if _is_finished(name[len(root) :]))
    elif fs.exists(root):
        found = [root]
    elif glob.has_magic(root):
        found = sorted(name for name in fs.glob(root) if fs.isfile(name))
    else:
        raise InputError(
            "a Parquet file, a folder of them or a glob",
            f"catalog.path={path}, which does not exist",
            "correct catalog.path",
        )
    if not found:
        raise InputError("at least one .parquet file", f"none under catalog.path={path}", "correct catalog.path")
    return [_describe_file(fs, name) for name in found]


def open_file(path: str) -> pq.ParquetFile:
    """An open Parquet file; InputError when it is none."""
    fs, name = filesystem(path, "catalog.path")
    try:
        return pq.ParquetFile(name if is_local(fs) else fs.open(name), page_checksum_verification=True)
    except UNREADABLE as err:
        raise InputError(
            "a Parquet file", f"{path}: {first_line(err)}", "write the file again, or leave it out of catalog.path"
        ) from err


def first_line(err: BaseException) -> str:
    """What an error says, without the lines that only Arrow understands."""
    return (str(err).splitlines() or [type(err).__name__])[0]


# --- inside ---


def _is_finished(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return name.endswith((".parquet", ".parq")) and not any(part.startswith(("_", ".")) for part in parts)


def _describe_file(fs: fsspec.AbstractFileSystem, name: str) -> CatalogFile:
    if is_local(fs):
        facts = os.stat(name)
        return CatalogFile(name, facts.st_size, str(facts.st_mtime_ns))
    return CatalogFile(fs.unstrip_protocol(name), int(fs.info(name)["size"]), fs.ukey(name))
