"""Folders like `category=Shoes`: columns that stand in the path."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from tests.support.command import ANY_NIGHT, run_titles, told, vitrine, words_of_titles, write_titles
from tests.support.shop_tables import found_in, rows_read
from tests.support.stores import manifest_of


def test_rows_are_those_of_pyarrow(tmp_path: Path) -> None:
    """Folders of several depths, percent signs and nulls give the rows that pyarrow.dataset reads: whole numbers where
    all of a column are, else text; with a leading zero a number is text.
    """
    folders = {
        "kind=A%26B/year=2025/code=01": "a",
        "kind=__HIVE_DEFAULT_PARTITION__/year=2026/code=2": "b",
        "kind=plain/year=-7": "c",
        "kind=x%3Dy%2Fz": "d",
    }
    for folder, name in folders.items():
        write_titles(tmp_path / "c" / folder / "part-0.parquet", ["red tea", "red jam"], id=[f"{name}1", f"{name}2"])
    fields = [("id", pa.string()), ("title", pa.string()), ("kind", pa.string()), ("year", pa.int64())]
    partitioning = ds.partitioning(pa.schema([*fields[2:], ("code", pa.string())]), flavor="hive")
    theirs = ds.dataset(tmp_path / "c", partitioning=partitioning).to_table().to_pylist()
    mine = rows_read(tmp_path / "c", "catalog.attributes=[title,kind,year,code]", "catalog.partition=kind")
    assert [{name: one[name] for name in theirs[0]} for one in mine] == sorted(theirs, key=lambda one: one["id"])
    assert {one["partition"] for one in mine} == {"A&B", "_none", "plain", "x=y/z"}


def test_a_year_of_folders_is_a_number_in_filters(tmp_path: Path) -> None:
    """A column of folders that has whole numbers only is one of numbers."""
    for year in (2024, 2025, 2026):
        write_titles(tmp_path / f"c/year={year}/a.parquet", ["red tea", "blue tea"], id=[f"{year}r", f"{year}b"])
    done = run_titles(tmp_path / "c", tmp_path / "s", "catalog.attributes=[title,year]")
    assert done.exit_code == 0, done.stderr
    assert found_in(tmp_path / "s", where="year >= 2025").keys() == {"2025r", "2025b", "2026r", "2026b"}
    assert manifest_of(tmp_path / "s").attribute_types["year"] == "int64"
    write_titles(tmp_path / "c/year=next/a.parquet", ["red tea"], id=["next"])
    refused = run_titles(tmp_path / "c", tmp_path / "s", "catalog.attributes=[title,year]", *ANY_NIGHT)
    assert refused.exit_code != 0
    assert "year" in told(refused.stderr)[1]


def test_a_file_that_moves_to_another_folder_changes_its_rows(tmp_path: Path) -> None:
    """Partition, attribute and text come of the folder anew, though the file is the same."""
    for kind in ("Shoes", "Hats"):
        write_titles(tmp_path / f"c/kind={kind}/a.parquet", ["red one", "blue one"], id=[f"{kind}1", f"{kind}2"])
    more = ("catalog.partition=kind", "catalog.attributes=[title,kind]", "catalog.text=[title,kind]", *ANY_NIGHT)
    assert run_titles(tmp_path / "c", tmp_path / "s", *more).exit_code == 0
    (tmp_path / "c/kind=Hats").rename(tmp_path / "c/kind=Bags")
    done = run_titles(tmp_path / "c", tmp_path / "s", *more)
    assert done.exit_code == 0, done.stderr
    assert [one.name for one in manifest_of(tmp_path / "s").partitions] == ["Bags", "Shoes"]
    assert found_in(tmp_path / "s", "bags", where="kind = Bags").keys() == {"Hats1", "Hats2"}
    explained = vitrine("explain", tmp_path / "s", "Hats1")
    assert explained.exit_code == 0, explained.stderr
    assert "Bags" in explained.stdout


def test_ids_of_folders(tmp_path: Path) -> None:
    """The id can stand in the path, too: of a file for each product."""
    for name in ("7", "8"):
        write_titles(tmp_path / f"c/sku={name}/a.parquet", [f"red tea {name}"])
    done = run_titles(tmp_path / "c", tmp_path / "s", "catalog.columns.id=sku")
    assert done.exit_code == 0, done.stderr
    assert found_in(tmp_path / "s").keys() == {"7", "8"}


@pytest.mark.parametrize("command", ["plan", "run"])
def test_what_no_folder_has_is_named_beside_what_folders_have(tmp_path: Path, command: str) -> None:
    """A column that neither files nor folders have is refused with the columns of both."""
    write_titles(tmp_path / "c/kind=Shoes/a.parquet", ["red tea"])
    words = words_of_titles(tmp_path / "c", tmp_path / "s", "catalog.partition=kinds")
    refused = vitrine(command, *words[1:])
    assert refused.exit_code == 2
    assert "no column 'kinds' (nearest: 'kind')" in told(refused.stderr)[1]
    assert "it has id, title, kind" in told(refused.stderr)[1]
