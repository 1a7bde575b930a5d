"""Iceberg tables through the command: the rows of a snapshot, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.catalog import AVAILABLE_CATALOGS, CatalogType, load_catalog
from pyiceberg.expressions import EqualTo, StartsWith
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import IdentityTransform, TruncateTransform
from pyiceberg.types import DoubleType, IntegerType, LongType, NestedField, StringType, StructType
from pyiceberg.utils.config import Config

from tests.support.command import ANY_NIGHT, run_titles, told, vitrine, words_of_titles
from tests.support.iceberg_tables import FolderCatalog, new_table, take_away
from tests.support.shop_tables import found_in, rows_read
from tests.support.stores import last_log, manifest_of

ICEBERG = ("catalog.table=iceberg", *ANY_NIGHT)
SCHEMA = Schema(
    NestedField(1, "id", StringType(), required=False),
    NestedField(2, "title", StringType(), required=False),
    NestedField(3, "kind", StringType(), required=False),
)
BY_KIND = PartitionSpec(PartitionField(3, 1000, IdentityTransform(), "kind"))
HIDDEN = PartitionSpec(PartitionField(3, 1000, TruncateTransform(1), "kind_trunc"))


def products(ids: Sequence[str], words: str = "red tea", **more: Sequence[Any]) -> pa.Table:
    """Products of some ids, whose titles name them."""
    titles = [f"{words} {name}" for name in ids]
    rest = {"kind": pa.array(["x"] * len(ids), pa.string()), **more}
    return pa.table({"id": pa.array(ids, pa.string()), "title": pa.array(titles, pa.string()), **rest})


def texts_encoded(store: Path) -> int:
    """Of the last run."""
    return int(json.loads(last_log(store, "run.json"))["texts_encoded"])


def by_id(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows in the order of their ids."""
    return sorted(rows, key=lambda one: str(one["id"]))


def test_a_table_through_its_nights(tmp_path: Path) -> None:
    """Deleted and overwritten rows are never found; an unchanged snapshot encodes nothing, a new one only what is new;
    an older one is read by its id and by a tag, the table by its folder, a metadata file and a catalog's name.
    """
    table, store = new_table(tmp_path / "w", SCHEMA), tmp_path / "s"
    path = tmp_path / "w/db/products"
    table.append(products(["a", "b", "c"]))
    first = table.metadata.current_snapshot_id
    table.manage_snapshots().create_tag(first, "before-sale").commit()
    assert run_titles(path, store, *ICEBERG).exit_code == 0
    assert found_in(store).keys() == {"a", "b", "c"}
    assert run_titles(path, store, *ICEBERG).exit_code == 0
    assert texts_encoded(store) == 0
    table.delete(EqualTo("id", "b"))
    table.append(products(["d"]))
    done = run_titles(path, store, *ICEBERG)
    assert done.exit_code == 0, done.stderr
    assert found_in(store).keys() == {"a", "c", "d"}
    assert texts_encoded(store) == 1
    for version in (first, "before-sale"):
        assert [one["id"] for one in rows_read(path, *ICEBERG, f"catalog.version={version}")] == ["a", "b", "c"]
    assert [one["id"] for one in rows_read(table.metadata_location, *ICEBERG)] == ["a", "c", "d"]


def test_a_table_by_the_name_of_its_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """catalog.namespace.table, of a catalog that pyiceberg itself is configured for."""
    new_table(tmp_path, SCHEMA).append(products(["a", "b"]))
    monkeypatch.setenv("PYICEBERG_CATALOG__SHOP__TYPE", "in-memory")
    monkeypatch.setenv("PYICEBERG_CATALOG__SHOP__WAREHOUSE", str(tmp_path))
    monkeypatch.setattr("pyiceberg.catalog._ENV_CONFIG", Config())
    made = lambda name, conf: FolderCatalog(name, **conf)  # noqa: E731
    monkeypatch.setitem(AVAILABLE_CATALOGS, CatalogType.IN_MEMORY, made)  # their own needs a database's driver
    assert load_catalog("shop").load_table("db.products").scan().to_arrow().num_rows == 2
    done = run_titles("shop.db.products", tmp_path / "s", *ICEBERG)
    assert done.exit_code == 0, done.stderr
    assert found_in(tmp_path / "s").keys() == {"a", "b"}


def test_columns_by_the_ids_of_their_fields(tmp_path: Path) -> None:
    """A renamed column is found in older files; a new column of a dropped one's name is not the dropped one."""
    table = new_table(tmp_path, SCHEMA)
    table.append(products(["a"], kind=["old"]))
    with table.update_schema(allow_incompatible_changes=True) as update:
        update.rename_column("title", "name")
        update.delete_column("kind")
    with table.update_schema() as update:
        update.add_column("kind", StringType())
        update.add_column("price", DoubleType())
    rows = {"id": ["b"], "name": ["red jam b"], "kind": ["new"], "price": [2.5]}
    table.append(pa.table(rows))
    columns = ("catalog.columns.title=name", "catalog.attributes=[title,kind,price]", "catalog.partition=kind")
    done = run_titles(tmp_path / "db/products", tmp_path / "s", *ICEBERG, *columns)
    assert done.exit_code == 0, done.stderr
    assert found_in(tmp_path / "s") == {
        "a": {"title": "red tea a", "kind": None, "price": None},
        "b": {"title": "red jam b", "kind": "new", "price": 2.5},
    }
    assert sorted(one.name for one in manifest_of(tmp_path / "s").partitions) == ["_none", "new"]
    assert "columns that some files lack" in done.stdout


def test_fields_of_structs_by_their_ids(tmp_path: Path) -> None:
    """A renamed field is found in older files; a new one of its old name is null there."""
    info = StructType(NestedField(5, "brand", StringType(), required=False))
    table = new_table(tmp_path, Schema(*SCHEMA.fields, NestedField(4, "info", info, required=False)))
    table.append(products(["a"], info=[{"brand": "old"}]))
    with table.update_schema() as update:
        update.rename_column(("info", "brand"), "maker")
    with table.update_schema() as update:
        update.add_column(("info", "brand"), StringType())
    table.append(products(["b"], info=[{"maker": "M", "brand": "B"}]))
    theirs = [(one["info"]["maker"], one["info"]["brand"]) for one in by_id(table.scan().to_arrow().to_pylist())]
    names = ("catalog.columns.maker=info.maker", "catalog.columns.brand=info.brand")
    mine = rows_read(tmp_path / "db/products", *ICEBERG, *names, "catalog.attributes=[title,maker,brand]")
    assert [(one["maker"], one["brand"]) for one in mine] == theirs == [("old", None), ("M", "B")]


@pytest.mark.parametrize("spec", [BY_KIND, HIDDEN], ids=["identity", "hidden"])
def test_partitioned_tables(tmp_path: Path, spec: PartitionSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Partitions of the table are no columns of their own, whatever its folders are called."""
    cut = lambda of, _: lambda values: pc.utf8_slice_codeunits(values, 0, of.width)  # noqa: E731
    monkeypatch.setattr(TruncateTransform, "pyarrow_transform", cut)  # the library's own is in another package
    table = new_table(tmp_path, SCHEMA, spec)
    table.append(products(["a", "b", "c", "d"], kind=["x y", None, "é=", "1"]))
    mine = rows_read(tmp_path / "db/products", *ICEBERG, "catalog.attributes=[title,kind]", "catalog.partition=kind")
    theirs = by_id(table.scan().to_arrow().to_pylist())
    assert [{name: one[name] for name in theirs[0]} for one in mine] == theirs
    assert [one["partition"] for one in mine] == ["x y", "_none", "é=", "1"]


@pytest.mark.parametrize("vectors", [False, True], ids=["positions", "vectors"])
def test_rows_that_position_deletes_take_away(tmp_path: Path, vectors: bool) -> None:
    """They are neither read nor counted; what is left stands where it stood in its file."""
    table, store = new_table(tmp_path / "w", SCHEMA), tmp_path / "s"
    for part in range(2):
        table.append(products([f"{part}-{row:02}" for row in range(20)]))
    files = sorted(task.file.file_path for task in table.scan().plan_files())
    take_away(table, {files[0]: [0, 5, 6, 19], files[1]: [1]}, vectors=vectors)
    theirs = {one["id"] for one in table.scan().to_arrow().to_pylist()}
    assert len(theirs) == 35
    done = run_titles(tmp_path / "w/db/products", store, *ICEBERG)
    assert done.exit_code == 0, done.stderr
    assert found_in(store).keys() == theirs
    assert manifest_of(store).rows == 35
    assert "without 5 rows that are deleted in it" in done.stdout


def test_equality_deletes_are_refused(tmp_path: Path) -> None:
    """Nobody would find out which rows these take away: the message says how to be rid of them."""
    table = new_table(tmp_path, SCHEMA)
    table.append(products(["a", "b"]))
    take_away(table, {"": [0]}, equality=True)
    refused = run_titles(tmp_path / "db/products", tmp_path / "s", *ICEBERG)
    assert refused.exit_code == 2
    assert "equality deletes" in told(refused.stderr)[1]
    assert "rewrite_data_files" in told(refused.stderr)[2]


def _files_without_ids(table: Table, folder: Path) -> None:
    import pyarrow.parquet as pq

    folder.mkdir()
    pq.write_table(products(["z"]).drop_columns("kind"), folder / "plain.parquet")
    table.add_files([str(folder / "plain.parquet")])


def test_files_that_were_added_as_they_were(tmp_path: Path) -> None:
    """They have no ids of fields: the table's mapping of names counts."""
    table = new_table(tmp_path, SCHEMA)
    _files_without_ids(table, tmp_path / "plain")
    with table.update_schema() as update:
        update.rename_column("title", "name")
    theirs = table.scan().to_arrow().to_pylist()
    mine = rows_read(tmp_path / "db/products", *ICEBERG, "catalog.columns.title=name")
    assert [(one["id"], one["title"]) for one in mine] == [(one["id"], one["name"]) for one in theirs]


@given(st.data())
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
def test_rows_are_those_of_the_library(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """After any appends, deletes, overwrites and deletes by position, a run reads the rows that pyiceberg reads."""
    folder = tmp_path_factory.mktemp("table")
    table = new_table(folder, SCHEMA)
    table.append(products(["0-0", "0-1"]))
    steps = data.draw(st.lists(st.sampled_from(["append", "delete", "overwrite", "positions"]), min_size=1, max_size=5))
    for number, step in enumerate(steps, 1):
        some = products([f"{number}-{row}" for row in range(data.draw(st.integers(1, 4)))])
        files = [task.file for task in table.scan().plan_files()]
        if step == "append":
            table.append(some)
        elif step == "overwrite":
            table.overwrite(some)
        elif step == "delete":
            table.delete(StartsWith("id", f"{data.draw(st.integers(0, number))}-"))
        elif files:
            chosen = data.draw(st.sampled_from(files))
            take_away(table, {chosen.file_path: [data.draw(st.integers(0, chosen.record_count - 1))]})
    theirs = by_id(table.scan().to_arrow().to_pylist())
    live = list(table.scan().plan_files())
    mine = rows_read(folder / "db/products", *ICEBERG, "catalog.attributes=[title,kind]") if theirs and live else []
    assert [{name: one[name] for name in ("id", "title", "kind")} for one in mine] == theirs


@pytest.mark.parametrize(
    ("more", "came"),
    [
        (("catalog.table=null",), "an Iceberg table: its own log says which of its files count"),
        (("catalog.version=9",), "no such snapshot"),
        (("catalog.version=nightly",), "no such snapshot"),
        (("catalog.table=delta",), "which has none"),
        (("catalog.path=nowhere",), "which is none"),
        (("catalog.table=null", "catalog.path={}/data"), "a folder of an Iceberg table"),
        (("catalog.table=null", "catalog.path={}/metadata"), "a folder of an Iceberg table"),
        (("catalog.table=null", "catalog.path={}/metadata/v1.metadata.json"), "the metadata of an Iceberg table"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, more: Sequence[str], came: str) -> None:
    """By plan, with the key that helps."""
    table = tmp_path / "db/products"
    new_table(tmp_path, SCHEMA).append(products(["a"]))
    next((table / "metadata").glob("00001-*")).rename(table / "metadata/v1.metadata.json")
    words = words_of_titles(table, tmp_path / "s", *ICEBERG, *(one.format(table) for one in more))
    refused = vitrine("plan", *words[1:])
    assert refused.exit_code == 2, refused.stdout
    assert came in told(refused.stderr)[1]
    assert "catalog." in told(refused.stderr)[2]


def test_a_number_that_grew(tmp_path: Path) -> None:
    """A column that was widened is one number in all files, old and new."""
    table = new_table(tmp_path, Schema(*SCHEMA.fields, NestedField(4, "stock", IntegerType(), required=False)))
    table.append(products(["a"], stock=pa.array([1], pa.int32())))
    with table.update_schema() as update:
        update.update_column("stock", LongType())
    table.append(products(["b"], stock=pa.array([2**40], pa.int64())))
    done = run_titles(tmp_path / "db/products", tmp_path / "s", *ICEBERG, "catalog.attributes=[title,stock]")
    assert done.exit_code == 0, done.stderr
    assert found_in(tmp_path / "s", where="stock >= 1").keys() == {"a", "b"}
    assert found_in(tmp_path / "s", where="stock > 5").keys() == {"b"}


def test_what_columns_are_where_files_lack_them(tmp_path: Path) -> None:
    """A column that came with a default has it in older files, but not where its own value is null."""
    table = new_table(tmp_path, SCHEMA)
    table.append(products(["a"]))
    path = Path(table.metadata_location.removeprefix("file://"))
    meta = json.loads(path.read_text())
    field = {"id": 9, "name": "shop", "type": "string", "required": False, "initial-default": "main"}
    meta["schemas"][0]["fields"].append(field)
    meta["last-column-id"] = 9
    (path.parent / "99999-by-hand.metadata.json").write_text(json.dumps(meta))
    mine = rows_read(tmp_path / "db/products", *ICEBERG, "catalog.attributes=[title,shop]")
    assert [one["shop"] for one in mine] == ["main"]
