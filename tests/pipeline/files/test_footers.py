"""Damaged footers that pyarrow itself does not survive: each is an error in three parts that names the file."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.files.footers import chunks_of
from tests.support.command import TITLES_ONLY, run_titles, told, vitrine, write_titles
from tests.support.stores import publications

NAMED = ("catalog.attributes=[price]",)
OPTIONAL, REQUIRED = b"\x25\x02\x18", b"\x25\x00\x18"  # of a column in the footer's schema, before its name
DOUBLE, INT64, INT32 = b"\x15\x0a", b"\x15\x04", b"\x15\x02"


def write(folder: Path) -> Path:
    """A catalog of two row groups."""
    prices = [12.5, None, 10.0, 200.0]
    return write_titles(folder / "c" / "a.parquet", ["red", "blue", "red dress", "shoe"], 2, price=prices, tag=prices)


def hurt(path: Path, before: bytes, after: bytes) -> None:
    """Change the footer where it has `before`, which it must have once."""
    raw = path.read_bytes()
    start = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")
    assert raw[start:].count(before) == 1
    assert len(before) == len(after)
    path.write_bytes(raw[:start] + raw[start:].replace(before, after))


def refused(folder: Path, path: Path) -> str:
    """What run and plan say came: the same."""
    where = (f"catalog.path={path}", f"store.path={folder / 'store'}", *TITLES_ONLY, *NAMED)
    for done in (
        run_titles(path, folder / "store", *NAMED),
        vitrine("plan", "-c", "configs/weightless.yaml", *where),
    ):
        assert done.exit_code == 2, done.stdout + done.stderr
        expected, came, fix = told(done.stderr)
        assert "a Parquet file" in expected
        assert str(path) in came
        assert "write the file again" in fix
    assert not publications(folder / "store")
    return came


@pytest.mark.parametrize("name", [b"\x02id", b"\x05title", b"\x05price"])
def test_statistics_of_sizes_that_cannot_be(tmp_path: Path, name: bytes) -> None:
    """A bit of the schema turned, and the sizes in every chunk of the column are of another one's shape."""
    path = write(tmp_path)
    hurt(path, OPTIONAL + name, REQUIRED + name)
    assert "size mismatch" in refused(tmp_path, path)


def test_a_column_of_another_type_than_its_chunks(tmp_path: Path) -> None:
    """Of the same width, so that bytes of one could be read as the other; of another, and statistics are too short."""
    path = write(tmp_path)
    hurt(path, DOUBLE + OPTIONAL + b"\x05price", INT64 + OPTIONAL + b"\x05price")
    assert "column price is INT64, and DOUBLE in row group 0" in refused(tmp_path, path)
    path = write(tmp_path)
    hurt(path, DOUBLE + OPTIONAL + b"\x05price", INT32 + OPTIONAL + b"\x05price")
    refused(tmp_path, path)


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    """Of a column that no key names."""
    path = write(tmp_path)
    hurt(path, OPTIONAL + b"\x03tag", OPTIONAL + b"\x03t\xffg")
    refused(tmp_path, path)


def test_columns_that_are_not_read_may_be_damaged(tmp_path: Path) -> None:
    """Nobody asks for their chunks."""
    path = write(tmp_path)
    hurt(path, OPTIONAL + b"\x03tag", REQUIRED + b"\x03tag")
    assert run_titles(path, tmp_path / "store", *NAMED).exit_code == 0


def test_all_chunks_are_looked_at_and_no_byte_is_read(tmp_path: Path) -> None:
    """Chunks come from the footer alone: of a file that is gone, of any of its row groups, also one without rows."""
    path = write(tmp_path)
    with pq.ParquetWriter(path, pq.read_schema(path)) as writer:
        for rows in (2, 0, 1):
            writer.write_table(pq.ParquetFile(write(tmp_path / "other")).read().slice(0, rows))
    metadata = pq.read_metadata(path)
    path.unlink()
    found = chunks_of(str(path), metadata, range(3), ["title", "price"])
    assert [(one.number, one.rows, len(one.pairs)) for one in found] == [(0, 2, 2), (1, 0, 2), (2, 1, 2)]
