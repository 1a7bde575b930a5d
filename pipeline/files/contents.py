"""What a file holds, told by its first and last bytes: names prove nothing, and many writers give none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.files.table_logs import ICEBERG_METADATA

PARQUET, ENCRYPTED = b"PAR1", b"PARE"
MARK_BYTES = 4  # of either end; the last 4 bytes of a whole file are its mark
HEAD_BYTES = 512  # that are looked at to say what else a file is
_SMALLEST = 12  # two marks and the length of a footer

_PARQUET_NAMES = (".parquet", ".parq", ".pq")
_UNFINISHED = (".tmp", ".temp", ".part", ".partial", ".inprogress", ".filepart", ".crdownload", ".download", ".upload")
_BACKUPS = (".bak", ".old", ".orig", "~")
# What else lies in export folders, by its first bytes.
_KINDS = (
    (b"\x1f\x8b", "compressed by gzip"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (b"BZh", "compressed by bzip2"),
    (b"PK\x03\x04", "a ZIP archive or an Excel sheet"),
    (b"ORC", "an ORC file"),
    (b"Obj\x01", "an Avro file"),
    (b"ARROW1", "an Arrow file"),
    (b"FEA1", "a Feather file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"crc\x00", "a checksum"),
    (b"\x89PNG", "a photo"),
    (b"\xff\xd8\xff", "a photo"),
)
_ICEBERG = "the metadata of an Iceberg table"
_IMPORT = "make a catalog of it: vitrine import FEED --to FOLDER (docs/feeds.md)"


@dataclass(frozen=True)
class Content:
    """What a file was found to be. `parquet`: it is read. `problem`: it was meant to be read and cannot be. Else it is
    left out.
    """

    what: str
    parquet: bool = False
    problem: bool = False
    fix: str = "write it again, or leave it out: names that begin with _ or . are"


def content(name: str, size: int, head: bytes, tail: bytes) -> Content:
    """What the file `name` of `size` bytes is: `head` its first bytes, `tail` its last four."""
    claims = name.lower().endswith(_PARQUET_NAMES)
    if size == 0:
        return Content("empty: 0 bytes")
    if name.lower().endswith(_UNFINISHED):
        return Content("unfinished, by its name")
    if name.lower().endswith(_BACKUPS):
        return Content("a backup, by its name")
    if ENCRYPTED in (head[:4], tail) and size >= _SMALLEST:
        return Content("encrypted Parquet", problem=True, fix="write it without encryption: Vitrine has no keys")
    starts, ends = head.startswith(PARQUET), tail == PARQUET and size >= _SMALLEST
    if starts and ends:
        return Content("Parquet", parquet=True)
    if starts:
        return Content("Parquet without its end: cut, or still being written", problem=True)
    if ends:
        return Content("Parquet with a damaged beginning", problem=True)
    kind = _kind(name, head)
    return Content(kind, problem=claims, fix=_fix(kind))


def _kind(name: str, head: bytes) -> str:
    for mark, what in _KINDS:
        if head.startswith(mark):
            return what
    if b"\0" in head:
        return "no Parquet"
    text = head.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if text.startswith(("{", "[")):
        return _ICEBERG if name.endswith(ICEBERG_METADATA) else "text: JSON"
    if text.startswith("<"):
        return "text: XML or HTML"
    first, ending = text.partition("\n")[0], PurePosixPath(name).suffix.lower()
    if "\t" in first or ending == ".tsv":
        return "text: TSV"
    return "text: CSV" if "," in first or ";" in first or ending == ".csv" else "text"


def _fix(kind: str) -> str:
    if kind == _ICEBERG:
        return "set catalog.table=iceberg, which reads the table by it (the extra `iceberg`)"
    return _IMPORT if kind.startswith("text: ") else "write the catalog as Parquet"
