"""Where a feed comes from: a file, a folder, a glob, a URL or stdin, compressed or not, as streams of its bytes."""

from __future__ import annotations

import glob
import io
import os
import stat
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from foundation.errors import InputError
from foundation.regular_files import IrregularFileError, open_regular
from pipeline.feeds.syntax.base import HEAD_BYTES
from pipeline.files.storage import filesystem, is_local, objects_below
from pipeline.files.table_logs import refuse_part_of_table, refuse_table, refuse_tables_among

STDIN = "-"
SAMPLE = "sample:"  # before the name of a map: the sample that ships with it
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}
_LOOKED_AT = 4  # bytes by which compressions are known
_SAMPLES = Path(__file__).parent / "samples"


class FeedFile:
    """A file of the feed: what it is called, its bytes, and how many of them have been read."""

    def __init__(self, name: str, opener: Callable[[], BinaryIO], size: int | None, path: str | None) -> None:
        self.name, self.size, self._opener, self._path = name, size, opener, path
        self._taken = 0  # bytes, as they lie there
        self._once = size is None  # it can be read once: its head is kept, and what follows it open
        self._kind: str | None = None
        self._rest: Any = None

    @cached_property
    def head(self) -> bytes:
        """Its first HEAD_BYTES, decompressed."""
        stream = self._decompressed()
        try:
            found = _read_fully(stream, HEAD_BYTES, self.name)
        finally:
            if not self._once:
                stream.close()
        self._rest = stream if self._once else None
        return found

    def forget_head(self) -> None:
        """Free the head's memory, of which a feed of many files would hold as many; whoever asks has it read again."""
        if not self._once:
            self.__dict__.pop("head", None)

    @property
    def local_path(self) -> str | None:
        """Where it lies on this machine, as it is; None for anything that must be read as a stream."""
        return self._path if self.compression is None else None

    @cached_property
    def compression(self) -> str | None:
        """How its bytes are compressed, by what they begin with."""
        if self._once:
            self.head  # noqa: B018 - what it begins with is known when it is opened
            return self._kind
        with self._opener() as raw:
            return _compression(raw.read(_LOOKED_AT))

    @property
    def taken(self) -> int:
        """Bytes of it that have been read."""
        return self._taken

    def open(self) -> BinaryIO:
        """All of its bytes, decompressed, behind errors that name the file. Of a stream once."""
        if self._once:
            head = self.head
            return cast(BinaryIO, _Named(_Joined(head, self._rest), self.name))
        self._taken = 0
        return cast(BinaryIO, _Named(self._decompressed(), self.name))

    def _decompressed(self) -> Any:
        raw = _Counted(self._opener(), self._count)
        start = raw.read(_LOOKED_AT)
        self._kind = _compression(start)
        whole = _Joined(start, raw)
        return whole if self._kind is None else pa.CompressedInputStream(_Readable(whole), self._kind)

    def _count(self, number: int) -> None:
        self._taken += number


def find_feed(source: str) -> list[FeedFile]:
    """The files of a feed in name order: `source` is a file, a folder, a glob, an fsspec URL, `-` for stdin, or
    `sample:NAME`. InputError where there is none, and for the folder of a table, which is a catalog as it lies.
    """
    if source == STDIN:
        if sys.stdin is None:  # as a shell closes it: <&-
            raise InputError("a feed on stdin", "stdin is closed", "pipe a feed into the command, or name a file")
        return [FeedFile("stdin", lambda: cast(BinaryIO, sys.stdin.buffer), None, None)]
    if source.startswith(SAMPLE):
        return [_sample(source)]
    fs, root = filesystem(source, "SOURCE")
    if not is_local(fs):
        return _remote(fs, root, source)
    if os.path.isdir(root):
        refuse_table(fs, root)
        refuse_part_of_table(fs, root)
        names = sorted(entry.path for entry in os.scandir(root) if not entry.name.startswith(("_", ".")))
        found = [name for name in names if os.path.isfile(name)]
    else:
        found = [root] if os.path.lexists(root) else sorted(filter(os.path.isfile, glob.glob(root, recursive=True)))
    if not found:
        what = "which has no file" if os.path.isdir(root) else "which does not exist"
        raise InputError(
            "a file, a folder, a glob, a URL, or - for stdin", f"SOURCE {source}, {what}", "correct SOURCE"
        )
    return [_local(name) for name in found]


def folders_in(source: str, but: Path | None) -> list[str]:
    """Names of the folders inside of a local folder SOURCE, of which nothing is read, but one: the catalog's."""
    if not os.path.isdir(source):
        return []
    found = [entry for entry in os.scandir(source) if entry.is_dir() and not entry.name.startswith(("_", "."))]
    return sorted(one.name for one in found if but is None or Path(one.path).resolve() != but.resolve())


# --- inside ---


def _sample(source: str) -> FeedFile:
    name = source.removeprefix(SAMPLE)
    samples = {path.name.partition(".")[0]: path for path in sorted(_SAMPLES.iterdir()) if path.name[0] not in "_."}
    if name not in samples:
        raise InputError(f"sample: and one of {', '.join(samples)}", source, "name one of these")
    return _local(str(samples[name]))


def _local(name: str) -> FeedFile:
    try:
        mode = os.stat(name).st_mode
        if stat.S_ISFIFO(mode):  # as a shell gives: <(command)
            return FeedFile(name, lambda: open(name, "rb"), None, None)
        with open_regular(name) as file:
            size = os.fstat(file.fileno()).st_size
    except (IrregularFileError, OSError) as err:
        raise InputError("a file that can be read", f"SOURCE {name}: {err.strerror}", "correct SOURCE") from err
    return FeedFile(name, lambda: open_regular(name), size, name)


def _remote(fs: Any, root: str, source: str) -> list[FeedFile]:
    try:
        if glob.has_magic(root):
            names = sorted(fs.glob(root))
        elif fs.isdir(root):
            below = sorted(objects_below(fs, root))
            refuse_tables_among(below)
            names = [name for name in below if not name.rsplit("/", 1)[-1].startswith(("_", "."))]
        else:
            names = [root] if fs.exists(root) else []
        sizes = {name: fs.info(name).get("size") for name in names}
    except OSError as err:
        raise InputError("a URL that can be read", f"SOURCE {source}: {err}", "correct SOURCE") from err
    if not names:
        raise InputError("a URL of a feed", f"SOURCE {source}, where nothing lies", "correct SOURCE")

    def opener(name: str) -> Callable[[], BinaryIO]:
        return lambda: cast(BinaryIO, fs.open(name, "rb"))

    return [FeedFile(fs.unstrip_protocol(name), opener(name), int(sizes[name] or 0), None) for name in names]


def _compression(start: bytes) -> str | None:
    return next((kind for mark, kind in _COMPRESSED.items() if start.startswith(mark)), None)


def _read_fully(stream: Any, size: int, name: str) -> bytes:
    parts = []
    while size > 0 and (part := _read(stream, size, name)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _read(stream: Any, size: int, name: str) -> bytes:
    try:
        return bytes(stream.read(size))
    except (OSError, EOFError, pa.ArrowInvalid) as err:
        said = (str(err).splitlines() or [type(err).__name__])[0]
        fix = "fetch or export the file again; nothing was written"
        raise InputError("a file that is whole", f"{name}: {said}", fix) from err


class _Counted:
    """A stream that tells how much of it was read."""

    def __init__(self, raw: BinaryIO, count: Callable[[int], None]) -> None:
        self._raw, self._tell_count = raw, count

    def read(self, size: int = -1) -> bytes:
        found = self._raw.read(size)
        self._tell_count(len(found))
        return found

    def close(self) -> None:
        if self._raw is not sys.stdin.buffer:
            self._raw.close()


class _Joined:
    """What was read already, and then the rest."""

    def __init__(self, start: bytes, rest: Any) -> None:
        self._start, self._rest = start, rest

    def read(self, size: int = -1) -> bytes:
        if self._start:
            found, self._start = (self._start, b"") if size < 0 else (self._start[:size], self._start[size:])
            return found if size >= 0 else found + self._rest.read()
        return bytes(self._rest.read(size))

    def close(self) -> None:
        self._rest.close()


class _Readable(io.RawIOBase):
    """A stream as Arrow takes one."""

    def __init__(self, raw: _Joined) -> None:
        self._raw = raw

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._raw.read(size)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Named(io.RawIOBase):
    """A stream whose errors say which file it is of."""

    def __init__(self, raw: Any, name: str) -> None:
        self._raw, self._name = raw, name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def read(self, size: int = -1) -> bytes:
        return _read(self._raw, size, self._name)

    def close(self) -> None:
        self._raw.close()
        super().close()
