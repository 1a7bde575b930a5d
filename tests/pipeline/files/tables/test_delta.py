"""Delta tables through the command: the rows of a version, and nothing else."""

from __future__ import annotations

import datetime
import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, WriterProperties, write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

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
    now = datetime.datetime.now(datetime.UTC)
    later = now + datetime.timedelta(1)
    for when in (now.isoformat(), later.isoformat(" ")[:19], later.date(), "3"):
        assert [one["id"] for one in rows_read(table, *DELTA, f"catalog.version='{when}'")] == ["a", "c", "d"]


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


def test_a_table_in_every_command(tmp_path: Path) -> None:
    """Runs and plans of one category, plans of rows, and photos ahead read the rows of the version as a run does."""
    mapping = {"delta.columnMapping.mode": "name"}
    photos = {"kind": ["x", "y", "y"], "photo": ["1.png", "2.png", None]}
    write_deltalake(tmp_path / "t", products(["a", "b", "c"], **photos), partition_by=["kind"], configuration=mapping)
    words = words_of_titles(tmp_path / "t", tmp_path / "s", *DELTA, "catalog.partition=kind")
    assert vitrine(*words).exit_code == 0
    DeltaTable(tmp_path / "t").update({"title": "'red jam b'"}, predicate="id = 'b'")
    for more in (("--category", "y"), ("--category", "y", "--rows"), ("--rows",)):
        planned = vitrine("plan", *words[1:], *more)
        assert planned.exit_code == 0, planned.stderr
    done = vitrine(*words, "--category", "x")
    assert done.exit_code == 0, done.stderr
    web = (
        "catalog.image=photo",
        "encoders.image={type: photo_descriptors}",
        "catalog.photo_hosts=[cdn.example.com]",
        f"catalog.photo_cache={tmp_path}/cache",
    )
    fetched = vitrine("photos", "fetch", *words[1:], *web)
    assert fetched.exit_code == 0, fetched.stderr
    assert found_in(tmp_path / "s")["b"]["title"] == "red tea b"
    assert vitrine(*words, "--category", "y").exit_code == 0
    assert found_in(tmp_path / "s")["b"]["title"] == "red jam b"


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


@pytest.mark.parametrize("mode", ["none", "name"])
def test_fields_of_structs(tmp_path: Path, mode: str) -> None:
    """By the names that the table gives them, whatever files call them."""
    brands = [{"maker": {"brand": "B1"}}, {"maker": None}, None]
    table = products(["a", "b", "c"], info=brands)
    write_deltalake(tmp_path / "t", table, configuration={"delta.columnMapping.mode": mode})
    more = ("catalog.columns.brand=info.maker.brand", "catalog.attributes=[title,brand]")
    assert [one["brand"] for one in rows_read(tmp_path / "t", *DELTA, *more)] == ["B1", None, None]


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


def test_odd_places(tmp_path: Path) -> None:
    """Spaces, percent signs and other marks in the table's own path, and in its partitions, mean themselves."""
    table = tmp_path / "a b %#\u00fc"
    kinds = pa.array(["x y%", "x y%", "z#?"])
    write_deltalake(table, products(["a", "b", "c"]).append_column("kind", kinds), partition_by=["kind"])
    write_deltalake(table, products(["d"], kind=["x y%"]), mode="append")
    take_away(table, [0])
    theirs = pa.table(DeltaTable(table).scan().read_all()).to_pylist()
    mine = rows_read(table, *DELTA, "catalog.attributes=[title,kind]")
    assert [{name: one[name] for name in ("id", "title", "kind")} for one in mine] == sorted(
        theirs, key=lambda one: one["id"]
    )
    assert [one["id"] for one in mine] == ["a", "b", "c"]


def z85(raw: bytes) -> str:
    """Bytes, a multiple of four, as ZeroMQ's Z85 has them."""
    letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
    words = (int.from_bytes(raw[at : at + 4], "big") for at in range(0, len(raw), 4))
    return "".join(letters[word // 85**place % 85] for word in words for place in range(4, -1, -1))


def take_away(table: Path, rows: Sequence[int]) -> None:
    """Delete rows of the only file of a table by a deletion vector, as Spark does; the protocol: magic number, then a
    64-bit roaring bitmap.
    """
    bitmap = BitMap(rows).serialize()
    raw = struct.pack("<Iqi", 1681511377, 1, 0) + bitmap
    raw += b"\0" * (-len(raw) % 4)
    lines = [json.loads(line) for log in sorted((table / "_delta_log").glob("*.json")) for line in log.open()]
    add = next(one["add"] for one in reversed(lines) if "add" in one)
    vector = {"storageType": "i", "pathOrInlineDv": z85(raw), "sizeInBytes": len(raw), "cardinality": len(rows)}
    gone = {"path": add["path"], "deletionTimestamp": 1, "dataChange": True}
    features = ["deletionVectors"]
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features}
    commit(table, {"protocol": protocol}, {"remove": gone}, {"add": {**add, "deletionVector": vector}})


def test_rows_that_deletion_vectors_take_away(tmp_path: Path) -> None:
    """They are neither read nor counted, whatever their row groups; what is left stands where it stood in its file."""
    names = [f"p{number:02}" for number in range(40)]
    table, store, gone = tmp_path / "t", tmp_path / "s", [0, 3, *range(7, 14), 20, 39]
    properties = WriterProperties(max_row_group_size=7)
    write_deltalake(table, products([*names[:-1], names[5]]), writer_properties=properties)
    assert run_titles(table, store, *DELTA).exit_code == 0
    take_away(table, gone)
    assert len(pa.table(DeltaTable(table).scan().read_all())) == 40 - len(gone)
    done = run_titles(table, store, *DELTA)
    assert done.exit_code == 0, done.stderr
    left = {name for number, name in enumerate(names) if number not in gone}
    assert found_in(store).keys() == left
    assert manifest_of(store).rows == len(left)
    assert texts_encoded(store) == 0
    assert f"without {len(gone)} rows that deletion vectors take away" in done.stdout
    explained = vitrine("explain", store, "p21")
    assert "row 21" in explained.stdout, explained.stdout


@given(st.data())
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
def test_rows_are_those_of_the_library(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """After any appends, deletes, updates and overwrites, the rows that a run reads are those that deltalake reads."""
    table = tmp_path_factory.mktemp("table") / "t"
    write_deltalake(table, products(["0-0"], kind=["x"]), partition_by=["kind"])
    steps = data.draw(st.lists(st.sampled_from(["append", "delete", "update", "overwrite"]), min_size=1, max_size=5))
    for number, step in enumerate(steps, 1):
        ids = [f"{number}-{row}" for row in range(data.draw(st.integers(1, 4)))]
        kinds = [data.draw(st.sampled_from(["x", "y z", None, "1"])) for _ in ids]
        if step in ("append", "overwrite"):
            write_deltalake(table, products(ids, kind=kinds), mode=step)
        elif step == "delete":
            DeltaTable(table).delete(f"id like '%-{data.draw(st.integers(1, 3))}'")
        else:
            DeltaTable(table).update({"title": f"'red {number}'"}, predicate="kind = 'x'")
    version = data.draw(st.integers(0, DeltaTable(table).version()))
    theirs = pa.table(DeltaTable(table, version=version).scan().read_all()).to_pylist()
    more = (*DELTA, f"catalog.version={version}", "catalog.attributes=[title,kind]")
    mine = rows_read(table, *more) if theirs else []
    assert [{name: one[name] for name in ("id", "title", "kind")} for one in mine] == sorted(
        theirs, key=lambda one: one["id"]
    )


@pytest.mark.parametrize(
    ("more", "came"),
    [
        (("catalog.table=null",), "a Delta table: its own log says which of its files count"),
        (("catalog.version=9",), "catalog.version=9; the latest is 0"),
        (("catalog.version=-1",), "catalog.version=-1"),
        (("catalog.version=yesterday",), "yesterday"),
        (("catalog.version=99999999999999999999999",), "catalog.version=99999999999999999999999; the latest is 0"),
        (("catalog.version=2019-05-01",), "catalog.version=2019-05-01T00:00:00+00:00, before version 0 of 20"),
        (("catalog.table=null", "catalog.version=0"), "catalog.version=0, and catalog.table is null"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, more: Sequence[str], came: str) -> None:
    """By plan, with the key that helps."""
    write_deltalake(tmp_path / "t", products(["a"]))
    refused = vitrine("plan", *words_of_titles(tmp_path / "t", tmp_path / "s", *DELTA, *more)[1:])
    assert refused.exit_code == 2, refused.stdout
    assert came in told(refused.stderr)[1]
    assert "catalog." in told(refused.stderr)[2]


def test_folders_of_a_table_are_no_catalogs_of_their_own(tmp_path: Path) -> None:
    """Rows that were deleted lie in them still, so they are refused as the table is, with its path; a glob of files
    reads them on purpose.
    """
    table = tmp_path / "t"
    write_deltalake(table, products(["a", "b"], kind=["x", "x"]), partition_by=["kind"])
    DeltaTable(table).delete("id = 'a'")
    (tmp_path / "link").symlink_to(table / "kind=x")
    for path in (table / "kind=x", f"{table}/kind=*", table / "_delta_log", tmp_path / "link"):
        refused = run_titles(path, tmp_path / "s")
        assert refused.exit_code == 2, path
        assert f"a folder of a Delta table, {table}" in told(refused.stderr)[1]
        assert f"catalog.path={table} and catalog.table=delta" in told(refused.stderr)[2]
    assert {one["id"] for one in rows_read(f"{table}/kind=x/*.parquet")} == {"a", "b"}
    for path in (table, table / "kind=x"):
        refused = vitrine("import", path, "--to", tmp_path / "out")
        assert refused.exit_code == 2, path
        assert "catalog.table=delta" in told(refused.stderr)[2]
        assert not (tmp_path / "out").exists()


def features(*names: str) -> dict[str, Any]:
    """The action by which a table asks these of its readers."""
    asked = {"readerFeatures": names, "writerFeatures": names}
    return {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **asked}}


@pytest.mark.parametrize(
    ("vector", "came"),
    [
        (("u", "ab^-aqEH.-t@S}K{vb[*k^"), "deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin"),
        (("i", "0" * 20), "Invalid magic"),
    ],
)
def test_deletion_vectors_that_cannot_be_read_are_refused(tmp_path: Path, vector: tuple[str, str], came: str) -> None:
    """No row is guessed to be there: a missing file of vectors and a damaged vector are named, with exit 2."""
    write_deltalake(tmp_path / "t", products(["a", "b"]))
    add = json.loads((tmp_path / f"t/_delta_log/{0:020}.json").read_text().splitlines()[-1])["add"]
    kind, where = vector
    named = {"storageType": kind, "pathOrInlineDv": where, "offset": 1, "sizeInBytes": 16, "cardinality": 1}
    gone = {"path": add["path"], "deletionTimestamp": 1, "dataChange": True}
    commit(tmp_path / "t", features("deletionVectors"), {"remove": gone}, {"add": {**add, "deletionVector": named}})
    refused = run_titles(tmp_path / "t", tmp_path / "s", *DELTA)
    assert refused.exit_code == 2, refused.stdout
    assert came in told(refused.stderr)[1]


def test_features_of_tables(tmp_path: Path) -> None:
    """Those that ask nothing of how rows are read are no hindrance; what the library does not know is refused."""
    write_deltalake(tmp_path / "t", products(["a", "b"]))
    commit(tmp_path / "t", features("typeWidening", "v2Checkpoint", "vacuumProtocolCheck", "timestampNtz"))
    assert [one["id"] for one in rows_read(tmp_path / "t", *DELTA)] == ["a", "b"]
    commit(tmp_path / "t", features("someNewFeature"))
    refused = run_titles(tmp_path / "t", tmp_path / "s", *DELTA)
    assert refused.exit_code == 2
    assert "someNewFeature" in told(refused.stderr)[1]
    refused = run_titles("memory://nowhere/t", tmp_path / "s", *DELTA)
    assert refused.exit_code == 2
    assert "memory://nowhere/t" in told(refused.stderr)[1]


def test_times_between_versions(tmp_path: Path) -> None:
    """A version is as old as its file in the log: a time finds the last before it."""
    table = tmp_path / "t"
    for number in range(4):
        write_deltalake(table, products([str(number)]), mode="append")
        os.utime(table / f"_delta_log/{number:020}.json", (10**9 * (number + 1),) * 2)
    for when, rows in {
        "2001-09-10": 1,
        "2033-05-17": 1,
        "2033-05-19": 2,
        "2065-01-24 12:00": 3,
        "2099-01-01": 4,
    }.items():
        assert len(rows_read(table, *DELTA, f"catalog.version='{when}'")) == rows, when
    for odd in ("true", "1.5", "[1]", "''"):
        refused = run_titles(table, tmp_path / "s", *DELTA, f"catalog.version={odd}")
        assert refused.exit_code == 2
        assert "1 problem" in refused.stderr
        assert "a whole number, a time (ISO 8601) or a name" in refused.stderr


def test_a_folder_that_is_no_table(tmp_path: Path) -> None:
    """`catalog.table=delta` of plain files, and of nothing."""
    (tmp_path / "t").mkdir()
    pq.write_table(products(["a"]), tmp_path / "t" / "a.parquet")
    for path in (tmp_path / "t", tmp_path / "none"):
        refused = run_titles(path, tmp_path / "s", *DELTA)
        assert refused.exit_code == 2
        assert "which has none" in told(refused.stderr)[1]


def test_a_table_that_is_vacuumed_while_it_is_read(tmp_path: Path) -> None:
    """A version whose files are gone is refused with what to do."""
    write_deltalake(tmp_path / "t", products(["a", "b"]))
    write_deltalake(tmp_path / "t", products(["c"]), mode="overwrite")
    DeltaTable(tmp_path / "t").vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    refused = run_titles(tmp_path / "t", tmp_path / "s", *DELTA, "catalog.version=0")
    assert refused.exit_code == 2
    assert "which is gone" in told(refused.stderr)[1]
