"""Delta tables through the command: the rows of a version, and nothing else."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.command import ANY_NIGHT, run_titles, told, vitrine, words_of_titles
from tests.support.shop_tables import found_in, rows_read
from tests.support.stores import last_log, manifest_of

DELTA = ("catalog.table=delta", *ANY_NIGHT)


def products(ids: Sequence[str], words: str = "red tea", **more: Sequence[Any]) -> pa.Table:
    """Products of some ids, whose titles name them."""
    titles = [f"{words} {name}" for name in ids]
    return pa.table({"id": pa.array(ids, pa.string()), "title": pa.array(titles, pa.string()), **more})


def texts_encoded(store: Path) -> int:
    """Of the last run."""
    report = json.loads(last_log(store, "run.json"))
    return int(report["texts_encoded"])


def test_a_table_through_its_nights(tmp_path: Path) -> None:
    """Deleted and overwritten rows are never found; an unchanged version encodes nothing, a new one only what is new;
    an older version is read by its number and by its time.
    """
    table, store = tmp_path / "t", tmp_path / "s"
    write_deltalake(table, products(["a", "b", "c"]))
    assert run_titles(table, store, *DELTA).exit_code == 0
    assert found_in(store).keys() == {"a", "b", "c"}
    assert texts_encoded(store) == 3
    assert run_titles(table, store, *DELTA).exit_code == 0
    assert texts_encoded(store) == 0
    DeltaTable(table).delete("id = 'b'")
    DeltaTable(table).update({"title": "'red jam c'"}, predicate="id = 'c'")
    write_deltalake(table, products(["d"]), mode="append")
    assert run_titles(table, store, *DELTA).exit_code == 0
    assert {name: of["title"] for name, of in found_in(store).items()} == {
        "a": "red tea a", "c": "red jam c", "d": "red tea d"
    }  # fmt: skip
    assert texts_encoded(store) == 2
    done = run_titles(table, store, *DELTA, "catalog.version=0")
    assert done.exit_code == 0, done.stderr
    assert found_in(store).keys() == {"a", "b", "c"}
    assert f"the Delta table {table}, version 0: 1 files" in done.stdout
    now = datetime.datetime.now(datetime.UTC).isoformat()
    assert run_titles(table, store, *DELTA, f"catalog.version='{now}'").exit_code == 0
    assert found_in(store).keys() == {"a", "c", "d"}


def test_partitions_of_a_table(tmp_path: Path) -> None:
    """Values of partition columns come of the log, typed: null, odd characters, dates and numbers alike."""
    more = {
        "kind": ["A&B", None, "x=y/z", "ü"],
        "day": pa.array([1, 2, 3, 4], pa.date32()),
        "year": pa.array([2024, 2025, 2026, 2026], pa.int32()),
    }
    write_deltalake(tmp_path / "t", products(["a", "b", "c", "d"], **more), partition_by=["kind", "day", "year"])
    attributes = "catalog.attributes=[title,kind,day,year]"
    mine = rows_read(tmp_path / "t", *DELTA, attributes, "catalog.partition=kind")
    theirs = pa.table(DeltaTable(tmp_path / "t").scan().read_all()).to_pylist()
    assert [{name: one[name] for name in theirs[0]} for one in mine] == sorted(theirs, key=lambda one: one["id"])
    done = run_titles(f"file://{tmp_path}/t", tmp_path / "s", *DELTA, attributes, "catalog.partition=kind")
    assert done.exit_code == 0, done.stderr
    assert sorted(one.name for one in manifest_of(tmp_path / "s").partitions) == ["A&B", "_none", "x=y/z", "ü"]
    assert found_in(tmp_path / "s", where="year > 2024").keys() == {"b", "c", "d"}


def test_columns_by_their_physical_names(tmp_path: Path) -> None:
    """Column mapping is honoured: what the log calls a column counts, not what files do; a column added later is null
    in older files, and told.
    """
    mapping = {"delta.columnMapping.mode": "name"}
    write_deltalake(tmp_path / "t", products(["a", "b"], kind=["x", "y"]), partition_by=["kind"], configuration=mapping)
    schema = json.loads(DeltaTable(tmp_path / "t").schema().to_json())
    assert schema["fields"][0]["metadata"]["delta.columnMapping.physicalName"] != "id"
    more = (*DELTA, "catalog.partition=kind", "catalog.attributes=[title,kind,price]")
    rename_in_log(tmp_path / "t", "title", "name")
    add_in_log(tmp_path / "t", "price", "double")
    done = run_titles(tmp_path / "t", tmp_path / "s", *more, "catalog.columns.title=name")
    assert done.exit_code == 2
    assert "no column 'price'" in told(done.stderr)[1]
    done = run_titles(tmp_path / "t", tmp_path / "s", *more[:-1], "catalog.columns.title=name",
                      "catalog.attributes=[title,kind]")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert found_in(tmp_path / "s", where="kind = x") == {"a": {"title": "red tea a", "kind": "x"}}


def test_columns_that_came_later(tmp_path: Path) -> None:
    """A column that older files lack is null in their rows, and told by file."""
    write_deltalake(tmp_path / "t", products(["a"]))
    write_deltalake(tmp_path / "t", products(["b"], price=[2.5]), mode="append", schema_mode="merge")
    done = run_titles(tmp_path / "t", tmp_path / "s", *DELTA, "catalog.attributes=[title,price]")
    assert done.exit_code == 0, done.stderr
    assert "columns that some files lack, null in all of their rows" in done.stdout
    assert {name: of["price"] for name, of in found_in(tmp_path / "s").items()} == {"a": None, "b": 2.5}


def last_metadata(table: Path) -> dict[str, Any]:
    """The newest description of a table in its log."""
    lines = [json.loads(line) for log in sorted((table / "_delta_log").glob("*.json")) for line in log.open()]
    return next(dict(one["metaData"]) for one in reversed(lines) if "metaData" in one)


def commit(table: Path, *actions: dict[str, Any]) -> None:
    """Write a version by hand, as another system does."""
    number = DeltaTable(table).version() + 1
    text = "\n".join(json.dumps(one) for one in actions)
    (table / "_delta_log" / f"{number:020}.json").write_text(text)


def rename_in_log(table: Path, name: str, other: str) -> None:
    """Call a column otherwise, without writing a file anew."""
    meta = last_metadata(table)
    schema = json.loads(meta["schemaString"])
    for one in schema["fields"]:
        one["name"] = other if one["name"] == name else one["name"]
    commit(table, {"metaData": {**meta, "schemaString": json.dumps(schema)}})


def add_in_log(table: Path, name: str, kind: str) -> None:
    """Add a column that no file has."""
    meta = last_metadata(table)
    schema = json.loads(meta["schemaString"])
    ids = {"delta.columnMapping.id": 9, "delta.columnMapping.physicalName": "col-9"}
    schema["fields"].append({"name": name, "type": kind, "nullable": True, "metadata": ids})
    configuration = {**meta["configuration"], "delta.columnMapping.maxColumnId": "9"}
    commit(table, {"metaData": {**meta, "schemaString": json.dumps(schema), "configuration": configuration}})
