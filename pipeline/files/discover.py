"""Which files a catalog is made of, and opening one.

Files are known by their content, whatever their names. What is no Parquet file is left out and named; what was meant to
be one and cannot be read is an error.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath
from typing import BinaryIO

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from foundation.errors import InputError, VitrineError
from foundation.identity import identity_of
from foundation.machine import machine_fault
from foundation.regular_files import IrregularFileError, open_regular, spelled, utf8_path
from pipeline.files.contents import HEAD_BYTES, MARK_BYTES, Content, content
from pipeline.files.parts import PLAIN, Part
from pipeline.files.pinned import pin_of, remote_pin
from pipeline.files.storage import filesystem, is_local, objects_below
from pipeline.files.table_logs import refuse_part_of_table, refuse_table, refuse_tables_among

UNREADABLE = (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError)  # what Arrow raises for bytes that are no Parquet
_BUFFER = 2**18  # bytes of a column of a local file that are read at once
_COLOURS = re.compile(r"\x1b\[[0-9;]*m|↳")
_SAID = 600  # characters of what a library says
_NAMED = 5  # files that a message names
_ODD_NAME = Content(
    "a name that is not UTF-8",
    problem=True,
    fix="rename it in UTF-8, or leave it out: names that begin with _ or . are",
)


@dataclass(frozen=True)
class CatalogFile:
    """A Parquet file: `path` as fsspec opens it, and what tells that it changed."""

    path: str
    size: int
    stamp: str  # mtime in ns for local files, what the bucket knows of it (etag, generation) for remote ones
    pin: str  # what tells that it changed while a run reads it: see pinned.py


@dataclass(frozen=True)
class Found:
    """The catalog's files in their order, and (path, why) of what lies among them and is none."""

    files: tuple[CatalogFile, ...]
    left_out: tuple[tuple[str, str], ...]
    parts: Mapping[str, Part] = field(default_factory=dict)  # how files are read that are not plain, by path
    told: str = ""  # of a table: what was found, for people
    identity: str = ""  # of a table: its own, and the version
    version: int | None = None  # of a table, as its library takes it

    @property
    def digest(self) -> str:
        """64 hex digits of what was found: of a table its version, else names, sizes and stamps of the files."""
        files = [[file.path, file.size, file.stamp] for file in self.files]
        return identity_of({"table": self.identity} if self.identity else {"files": files})


def list_files(path: str) -> list[CatalogFile]:
    """The catalog's Parquet files in name order, see `find_files`."""
    return list(find_files(path).files)


def find_files(path: str) -> Found:
    """The catalog's Parquet files: `path` is a file, a folder or a glob. InputError when there is none, and when a file
    that claims to be Parquet, or begins or ends as one, is not whole.

    Folders are walked to any depth, through links too. In them, names that begin with `_` or `.` are left out without
    a word, as Spark and pyarrow do: a writer is not done with them. Everything else that is left out is named.
    """
    fs, root = filesystem(path, "catalog.path")
    found = _Finding(fs)
    if fs.isdir(root):  # before the glob: a folder can be named `feed [old]`
        found.folder(root)
    elif os.path.lexists(root) if is_local(fs) else fs.exists(root):
        found.file(root)
        found.problems += found.left_out
    elif glob.has_magic(root):
        for name in sorted(fs.glob(root)):
            found.folder(name) if fs.isdir(name) else found.file(name)
    else:
        raise InputError(
            "a Parquet file, a folder of them or a glob",
            f"catalog.path={path}, which does not exist",
            "correct catalog.path" + ("; several files are a glob such as [ab]*.parquet" if "{" in path else ""),
        )
    return found.done(path)


class PartFile(pq.ParquetFile):  # type: ignore[misc]
    """An open Parquet file, and what its path or its table says of it."""

    part: Part = PLAIN


def open_file(
    path: str, metadata: pq.FileMetaData | None = None, dictionaries: Sequence[str] = (), part: Part = PLAIN
) -> PartFile:
    """An open Parquet file that is read as `part` says, and whose columns `dictionaries` stay dictionaries; InputError
    when it is none.
    """
    opened = _opened(path, metadata, dictionaries)
    opened.part = part
    return opened


def _opened(path: str, metadata: pq.FileMetaData | None, dictionaries: Sequence[str]) -> PartFile:
    fs, name = filesystem(path, "catalog.path")
    options = {
        "page_checksum_verification": True,
        "metadata": metadata,
        "read_dictionary": list(dictionaries),
        "pre_buffer": not is_local(fs),  # it would hold whole row groups; only buckets are faster for it
        "buffer_size": _BUFFER if is_local(fs) else 0,  # without one Arrow holds all that a column has in a row group
    }
    try:
        if not is_local(fs):
            return PartFile(fs.open(name), **options)
        with open_regular(utf8_path(name)) as opened:  # a pipe would wait for ever
            pin = pin_of(os.fstat(opened.fileno()))
        return PartFile(name, **options | {"metadata": metadata or _footer(name, pin)})
    except (*UNREADABLE, UnicodeDecodeError) as err:  # the latter: names of columns
        raise machine_fault(err) or InputError(
            "a Parquet file", f"{path}: {first_line(err)}", "write the file again, or leave it out of catalog.path"
        ) from err


@contextmanager
def bytes_of(path: str) -> Iterator[BinaryIO | None]:
    """The file itself, where it lies on this machine; None for an object of a bucket."""
    fs, name = filesystem(path, "catalog.path")
    if not is_local(fs):
        yield None
        return
    with open_regular(name) as file:
        yield file


def first_line(err: BaseException) -> str:
    """What an error says, without the lines that only Arrow understands."""
    return (str(err).splitlines() or [type(err).__name__])[0]


def one_line(err: BaseException) -> str:
    """All that an error says, in one line and without colours: some libraries say the cause last."""
    return " ".join(_COLOURS.sub("", str(err)).split())[:_SAID] or type(err).__name__


# --- inside ---


@lru_cache(maxsize=2)
def _footer(name: str, pin: str) -> pq.FileMetaData:
    """The footer of a local file in the state `pin`. Each unit opens its file anew, and the footer names all row groups
    of the file: read every time, it would cost more than the rows of a small unit.
    """
    with pq.ParquetFile(name) as file:
        return file.metadata


class _Finding:
    """What was found so far. A file or a folder that is reached twice, by a link, counts once."""

    def __init__(self, fs: fsspec.AbstractFileSystem) -> None:
        self.fs = fs
        self.files: dict[str, CatalogFile] = {}
        self.left_out: list[tuple[str, Content]] = []
        self.problems: list[tuple[str, Content]] = []
        self.seen: dict[tuple[int, int], str] = {}

    def folder(self, root: str) -> None:
        """Everything in a folder."""
        refuse_part_of_table(self.fs, root)
        if is_local(self.fs):
            for name in self._walked(root):
                self.file(name)
            return
        names = objects_below(self.fs, root)
        refuse_tables_among(names)
        wanted = {n: one for n, one in names.items() if not _is_hidden(n[len(root) :]) and not n.endswith("/")}
        self._remote(wanted)

    def file(self, name: str) -> None:
        """One file, or whatever else lies under the name."""
        if not is_local(self.fs):
            self._remote({name: self.fs.info(name)})
            return
        try:
            with open_regular(name) as file:
                facts = os.fstat(file.fileno())
                head = file.read(HEAD_BYTES)
                file.seek(max(0, facts.st_size - MARK_BYTES))
                tail = file.read(MARK_BYTES)
        except FileNotFoundError:
            self.left_out.append((name, Content("a link to nothing")))
            return
        except IrregularFileError as err:
            self.left_out.append((name, Content(err.kind)))
            return
        if self._is_new(name, facts, "file"):
            self._add(CatalogFile(name, facts.st_size, str(facts.st_mtime_ns), pin_of(facts)), head, tail)

    def done(self, path: str) -> Found:
        """All of it; InputError where there is no file, or one that had to be read cannot be."""
        if self.problems:
            raise InputError("a Parquet file that is whole", _listed(self.problems), self.problems[0][1].fix)
        if not self.files:
            texts = [one.fix for _, one in self.left_out if one.what.startswith("text:")]
            raise InputError(
                "at least one Parquet file",
                f"none under catalog.path={path}" + (f", which has {_listed(self.left_out)}" if self.left_out else ""),
                texts[0] if texts else "correct catalog.path",
            )
        left_out = sorted((spelled(name), spelled(one.what)) for name, one in self.left_out)
        return Found(tuple(self.files[name] for name in sorted(self.files)), tuple(left_out))

    def _walked(self, folder: str) -> Iterator[str]:
        """The names of what is no folder, at any depth, in name order; links to folders are followed."""
        if not self._is_new(folder, os.stat(folder), "folder"):
            return
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
        refuse_table(self.fs, folder)
        for name in names:
            if name.startswith(("_", ".")):
                continue
            inner = os.path.join(folder, name)
            if os.path.isdir(inner):
                yield from self._walked(inner)
            else:
                yield inner

    def _is_new(self, name: str, facts: os.stat_result, what: str) -> bool:
        before = self.seen.setdefault((facts.st_dev, facts.st_ino), name)
        if before != name:
            self.left_out.append((name, Content(f"the same {what} as {before}")))
        return before == name and name not in self.files

    def _remote(self, facts: dict[str, dict[str, object]]) -> None:
        """Objects of a bucket: the two ends of all of them are asked for together."""
        sized = {name: int(str(one["size"] or 0)) for name, one in facts.items() if one["type"] == "file"}
        names = [name for name in sized if sized[name]]
        heads = self._ranges(names, [0] * len(names), [min(HEAD_BYTES, sized[name]) for name in names])
        tails = self._ranges(
            names, [max(0, sized[name] - MARK_BYTES) for name in names], [sized[name] for name in names]
        )
        ends = dict(zip(names, zip(heads, tails, strict=True), strict=True))
        for name, size in sized.items():
            head, tail = ends.get(name, (b"", b""))
            stamp = self.fs.ukey(name)
            file = CatalogFile(self.fs.unstrip_protocol(name), size, stamp, remote_pin(size, stamp))
            self._add(file, head, tail)

    def _ranges(self, names: list[str], starts: list[int], ends: list[int]) -> list[bytes]:
        """A part of each object; VitrineError that names the first which cannot be had."""
        found = self.fs.cat_ranges(names, starts, ends, on_error="return")  # raised, many would not name the object
        for name, one in zip(names, found, strict=True):
            if isinstance(one, BaseException):
                raise _unanswered(self.fs.unstrip_protocol(name), one) from one
        return list(found)

    def _add(self, file: CatalogFile, head: bytes, tail: bytes) -> None:
        found = content(file.path, file.size, head, tail)
        if (found.parquet or found.problem) and spelled(file.path) != file.path:
            self.problems.append((file.path, _ODD_NAME))
        elif found.parquet:
            self.files[file.path] = file
        elif found.problem:
            self.problems.append((file.path, found))
        else:
            self.left_out.append((file.path, found))


def _unanswered(path: str, err: BaseException) -> VitrineError:
    """What a bucket's driver raised for an object that it listed, in three parts."""
    came = f"{path}: {type(err).__name__}: {first_line(err)}"
    if isinstance(err, PermissionError):
        fix = "give these credentials the right to read objects, or leave it out of catalog.path"
        return InputError("an object that may be read", came, fix)
    if isinstance(err, FileNotFoundError):
        fix = "wait until the export is done, then start again"
        return VitrineError("an object that is there as long as it is listed", came, fix)
    return machine_fault(err) or VitrineError(
        "a bucket that gives what it lists", came, "see whether it can be reached, then start again"
    )


def _is_hidden(name: str) -> bool:
    return any(part.startswith(("_", ".")) for part in PurePosixPath(name).parts)


def _listed(found: Sequence[tuple[str, Content]]) -> str:
    more = f"; and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
    return "; ".join(f"{spelled(name)}: {spelled(one.what)}" for name, one in found[:_NAMED]) + more
