"""The table of related products as a Parquet file: how it is written, and read where it is of an earlier snapshot.

Rows are in the order of partitions and positions; a row group has rows of one partition, and so many that memory is
bounded. The schema's metadata (`vitrine.related`, JSON) says what the file was made of. Same rows, same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from foundation.disk import replacing
from foundation.errors import InputError
from foundation.machine import machine_fault
from lookup.personal.related import block_rows

FORMAT = 1
_KEY = b"vitrine.related"
_IDS = 1 << 19  # related ids of a row group: 10 MB of ids of 20 bytes
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("partition", pa.string(), nullable=False),
        pa.field("related", pa.list_(pa.field("element", pa.string(), nullable=False)), nullable=False),
        pa.field("scores", pa.list_(pa.field("element", pa.float32(), nullable=False)), nullable=False),
    ]
)


class Part(BaseModel):
    """A partition of a table: its rows, the index that was asked, and 64 hex digits of all that decides them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    rows: int
    index: str
    made_of: str


class About(BaseModel):
    """What a table was made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    snapshot: str
    k: int
    collapse: str | None
    settings: dict[str, str | None]  # digests of what queries are made by, and the metric
    partitions: tuple[Part, ...]

    @property
    def group_rows(self) -> int:
        """Rows of a row group, but for the last of a partition: whole blocks."""
        block = block_rows(self.k)
        return block * max(1, _IDS // (self.k * block))


@contextmanager
def table_writer(path: Path, about: About) -> Iterator[Callable[[pa.Table], None]]:
    """A function that writes one row group; the file is at `path` when the block is left, whole or not at all."""
    schema = SCHEMA.with_metadata({_KEY: about.model_dump_json().encode()})
    with (
        replacing(path) as scratch,
        pq.ParquetWriter(
            scratch,
            schema,
            compression="zstd",
            use_dictionary=["partition"],
            write_statistics=["id", "partition"],
            write_page_checksum=True,
        ) as writer,
    ):
        yield lambda table: writer.write_table(
            table.replace_schema_metadata(schema.metadata).combine_chunks(), row_group_size=len(table)
        )


@dataclass(frozen=True)
class EarlierTable:
    """A table of before, open."""

    path: Path
    about: About
    _file: pq.ParquetFile
    parts: dict[str, Part]  # by name
    _first: dict[str, int]  # row group of each partition

    def groups(self, part: Part) -> Iterator[pa.Table]:
        """The row groups of a partition; InputError where one is not as it was written."""
        for number, rows in enumerate(_cuts(part.rows, self.about.group_rows)):
            with _reading(self.path):
                table = self._file.read_row_group(self._first[part.name] + number, use_threads=False)
            if len(table) != rows or set(table.column("partition").unique().to_pylist()) != {part.name}:
                raise _unusable(self.path, f"other rows than those of {part.name!r} in their row group")
            yield table


@contextmanager
def earlier_table(path: Path) -> Iterator[EarlierTable]:
    """The table at `path`; InputError where there is none, or something else."""
    with _reading(path):
        file = pq.ParquetFile(path, page_checksum_verification=True)
    with file:
        about = _about(path, file.schema_arrow)
        first, groups = dict[str, int](), 0
        for part in about.partitions:
            first[part.name] = groups
            groups += len(_cuts(part.rows, about.group_rows))
        if groups != file.num_row_groups or sum(part.rows for part in about.partitions) != file.metadata.num_rows:
            came = f"{file.metadata.num_rows} rows in {file.num_row_groups} row groups, which are not those it names"
            raise _unusable(path, came)
        yield EarlierTable(path, about, file, {part.name: part for part in about.partitions}, first)


def _about(path: Path, schema: pa.Schema) -> About:
    raw = (schema.metadata or {}).get(_KEY)
    if raw is None:
        raise _unusable(path, f"a Parquet file of other origin, with the columns {', '.join(schema.names[:5])}")
    try:
        about = About.model_validate_json(raw)
    except ValidationError as err:
        raise _unusable(path, f"one of another version: {err.errors()[0]['msg']}") from err
    if about.format != FORMAT or about.k < 1 or not schema.equals(SCHEMA):
        raise _unusable(path, f"one of format {about.format}, with the columns {', '.join(schema.names[:5])}")
    return about


def _cuts(rows: int, most: int) -> Sequence[int]:
    """How many of `rows` each row group has."""
    return [min(most, rows - start) for start in range(0, rows, most)]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowInvalid) as err:
        raise machine_fault(err) or _unusable(path, str(err).strip().partition("\n")[0]) from err


def _unusable(path: Path, came: str) -> InputError:
    return InputError(
        f"a table of `vitrine related` in {path}, or no file at all",
        came,
        "name another one with --earlier, or another --out; where it was a table, delete it: all is then made anew",
    )
