"""Which rows figures are measured on: the same ones on the next night, as far as they are there."""

from __future__ import annotations

from pathlib import Path

from index_builders.measure.queries import inside
from index_builders.rows.shards import read_places
from lookup.store.store import Store
from pipeline.publish.figures.drawn_rows import draw_rows
from tests.support.command import run_titles, write_titles
from tests.support.stores import manifest_of

UNITS = ("catalog.partition=kind", "shards.unit_rows=20", "index.text_queries=false")


def drawn(store: Path, partitions: list[str], segments: int, rows: int) -> list[str]:
    """The ids that are drawn of the published snapshot."""
    found = draw_rows(Store.open(str(store)), manifest_of(store).shards, partitions, segments, rows)
    assert len(found.segments) <= segments
    return [one for ref, at in inside(found.segments, found.positions) for one in read_places(ref, at)[0]]


def test_rows_stay_drawn_when_files_are_named_and_cut_otherwise(tmp_path: Path) -> None:
    """Of 200 products in ten units: so many as are asked for, from as many segments; the same in a file of another name
    and with two products more; all where there are no more.
    """
    titles = [f"red lamp number {n}" for n in range(200)]
    kinds = ["a", "b"] * 100
    catalog = write_titles(tmp_path / "c.parquet", titles, 20, kind=kinds)
    assert run_titles(catalog, tmp_path / "store", *UNITS).exit_code == 0
    some = drawn(tmp_path / "store", ["a", "b"], 8, 40)
    assert len(some) == len(set(some)) == 40
    assert {int(one[1:]) % 2 for one in some} == {0, 1}
    assert all(int(one[1:]) % 2 for one in drawn(tmp_path / "store", ["b"], 3, 10))
    assert len(drawn(tmp_path / "store", ["a"], 99, 999)) == 100
    other = write_titles(tmp_path / "other.parquet", [*titles, "a", "b"], 20, kind=[*kinds, "a", "b"])
    assert run_titles(other, tmp_path / "store", *UNITS).exit_code == 0
    again = drawn(tmp_path / "store", ["a", "b"], 8, 40)
    assert len(set(again) & set(some)) >= 30
