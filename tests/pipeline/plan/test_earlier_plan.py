"""The plan of an earlier run, taken again where a table's version was planned before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from pipeline.files import discover
from tests.support.command import ANY_NIGHT, run_titles, vitrine, words_of_titles
from tests.support.stores import last_log

MORE = ("catalog.table=delta", "catalog.partition=kind", "gates.max_reject_share=1", *ANY_NIGHT)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The Parquet files of catalogs that were opened since the list was emptied."""
    names: list[Any] = []

    class Counted(discover.PartFile):
        def __init__(self, source: Any, **named: Any) -> None:
            names.append(source)
            super().__init__(source, **named)

    monkeypatch.setattr(discover, "PartFile", Counted)
    return names


def table_of(folder: Path, files: int) -> Path:
    """A table of so many files, with an id that stands twice and a category of two spellings."""
    ids = [f"{number}{more}" for number in range(files) for more in "abc"]
    ids[2] = ids[5] = "twice"
    rows = {"id": ids, "title": [f"red tea {one}" for one in ids], "kind": ["Shoes", "shoes", "Hats"] * files}
    parts = pa.array([number // 3 for number in range(len(ids))])
    write_deltalake(folder, pa.table({**rows, "part": parts}), partition_by=["part"])
    return folder


def test_an_unchanged_version_is_planned_without_opening_its_files(tmp_path: Path, opened: list[Any]) -> None:
    """The second night plans the same, as the report and `plan` say it, and opens what it samples at most; what the
    config, the table or its files are otherwise is planned anew.
    """
    table, store = table_of(tmp_path / "t", 30), tmp_path / "s"
    assert run_titles(table, store, *MORE).exit_code == 0
    first = last_log(store, "plan.json")
    opened.clear()
    assert run_titles(table, store, *MORE).exit_code == 0
    assert last_log(store, "plan.json") == first
    assert len({*opened}) <= 24  # of 30 files: 8 that are sampled, 16 whose ids are sized
    for change in ("nothing", "config", "file", "table"):
        opened.clear()
        more = (*MORE, "catalog.attributes=[title,kind]") if change == "config" else MORE
        if change == "file":
            Path(DeltaTable(table).file_uris()[0].removeprefix("file://")).touch()
        elif change == "table":
            DeltaTable(table).delete("id = '7a'")
        planned = vitrine("plan", *words_of_titles(table, store, *more)[1:])
        assert planned.exit_code == 0, planned.stderr
        assert (len({*opened}) == 30) == (change != "nothing"), change


def test_a_kept_plan_that_is_damaged_is_made_anew(tmp_path: Path, opened: list[Any]) -> None:
    """A byte that turned in it does not decide what is read."""
    table, store = table_of(tmp_path / "t", 3), tmp_path / "s"
    assert run_titles(table, store, *MORE).exit_code == 0
    (kept,) = store.glob("runs/*/planned.json")
    raw = kept.read_bytes()
    kept.chmod(0o644)
    kept.write_bytes(raw.replace(b'"first_row": 0', b'"first_row": 9', 1))
    assert kept.read_bytes() != raw
    opened.clear()
    done = run_titles(table, store, *MORE)
    assert done.exit_code == 0, done.stderr
    assert len({*opened}) == 3
