"""Large row groups: read in pieces, refused where a piece is too much for a worker, and found again from a hit."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lookup
from foundation.errors import InputError
from pipeline.catalog import pieces, rows
from pipeline.catalog.pieces import PIECE_ROWS
from pipeline.catalog.rows import read_unit
from pipeline.catalog.shown_photos import ShownPhotos
from pipeline.config.sections import CatalogConfig
from pipeline.files.discover import open_file
from pipeline.files.footers import chunks_of
from pipeline.plan import units as plan
from tests.support.command import config_for, run
from tests.support.units import write_catalog

LIMIT = 2**28  # bytes of a unit


def settings(*attributes: str) -> CatalogConfig:
    """A catalog of titles."""
    return CatalogConfig(path="unused", text=("title",), image=None, attributes=attributes)


def repeated(rows: int, kind: pa.DataType) -> pa.Table:
    """One description of 5,400 bytes in every row: a small file, and gigabytes once decoded."""
    dictionary = pa.array(["tea" * 1800], kind)
    title = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), dictionary)
    return pa.table({"id": pa.array(np.arange(rows)), "title": title})


def test_a_column_of_more_than_2_gb_is_read_in_pieces(tmp_path: Path) -> None:
    """Strings that Arrow cannot count in one array, though their file is small, are read piece by piece."""
    first, rows = 13 * PIECE_ROWS, 13 * PIECE_ROWS + 100
    assert rows * 5400 > 2**31
    path = write_catalog(tmp_path / "one.parquet", repeated(rows, pa.string()), row_group_rows=rows)
    unit = read_unit(str(path), [0], first, (), settings(), LIMIT)
    assert unit.column("row").to_pylist() == list(map(int, unit.column("id").to_pylist())) == list(range(first, rows))
    assert set(unit.column("text").to_pylist()) == {"tea" * 1800}


def test_a_row_group_is_not_held_as_it_is_compressed(tmp_path: Path) -> None:
    """While the first rows of 64 MB of text are read, no more is held than a few times these rows."""
    made = np.random.default_rng(0).integers(97, 123, (32_000, 2_000), np.uint8)
    offsets = pa.array(np.arange(0, made.size + 1, 2_000, np.int32))
    title = pa.StringArray.from_buffers(len(made), offsets.buffers()[1], pa.py_buffer(made))
    path = tmp_path / "one.parquet"
    pq.write_table(pa.table({"title": title}), path, use_dictionary=False, compression="none", row_group_size=len(made))
    before = pa.total_allocated_bytes()
    with open_file(str(path)) as file:
        batches = pieces._batches(
            str(path), file, chunks_of(str(path), file.metadata, [0], ["title"]), ["title"], 2**24
        )
        size = next(batches).nbytes
        held = pa.total_allocated_bytes() - before
        del batches  # and what its decoder holds
    assert size < held < 30_000_000


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
@pytest.mark.parametrize("form", ["dictionary", "plain", "list"])
def test_what_a_piece_takes_once_decoded_is_limited(tmp_path: Path, kind: pa.DataType, form: str) -> None:
    """Too much for a worker is refused by file, row group, rows and bytes, whatever the encoding, before it is held."""
    table = repeated(9_000, kind)
    if form == "plain":
        table = table.set_column(1, "title", table["title"].cast(kind))
    if form == "list":
        lists = pa.ListArray.from_arrays(pa.array(np.arange(9_001, dtype=np.int32)), table["title"].combine_chunks())
        table = table.append_column("tags", lists)
    path = write_catalog(tmp_path / "one.parquet", table, row_group_rows=9_000)
    tags = ("tags",) if form == "list" else ()
    read_unit(str(path), [0], 0, (), settings(*tags), 2**28)
    with pytest.raises(InputError) as caught:
        read_unit(str(path), [0], 0, (), settings(*tags), 2**25)
    for said in ("33,554,432 bytes", "one.parquet: rows 0 to ", "row groups 0 to 0", "shards.max_unit_bytes"):
        assert said in str(caught.value)


def test_a_hit_of_a_piece_is_its_row_of_the_file(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of all pieces are found, and the source of a hit, which counts from the row group's first, is its row."""
    table = pa.concat_tables(pq.read_table(path) for path in sorted((demo / "catalog").iterdir()))
    photos = pa.array([(demo / path).read_bytes() for path in table["image_link"].to_pylist()])
    place = table.column_names.index("image_link")
    path = write_catalog(tmp_path / "one.parquet", table.set_column(place, "image_link", photos), len(table))
    for module in (pieces, rows, plan):
        monkeypatch.setattr(module, "PIECE_ROWS", 50)
    attributes = "catalog.attributes=[title]"
    run(config_for(demo, tmp_path / "store", f"catalog.path={path}", attributes))
    reader = lookup.open(str(tmp_path / "store"))
    hits = reader.search("dress", k=200)
    assert len(hits) == len(table) == 120
    assert {hit.source[1] for hit in hits} == {0}
    assert [table["id"][hit.source[2]].as_py() for hit in hits] == [hit.id for hit in hits]
    shown = ShownPhotos.of(reader.manifest).of_hits(hits)
    assert shown == [photos[hit.source[2]].as_py() for hit in hits]
