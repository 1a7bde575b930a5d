"""Columns as warehouses write them, through the command: bytes without the mark of text, numbers as ids."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.catalog import columns
from tests.support.command import TITLES_ONLY, run_titles, told, vitrine, write_titles
from tests.support.stores import last_log, manifest_of

TITLES = ["red dress", "blue shoe", "green hat"]


def photo(shade: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), shade, np.uint8)).save(file, kind)
    return file.getvalue()


def hits(store: Path, *words: str) -> list[dict[str, Any]]:
    done = vitrine("search", str(store), "--text", "red dress", *words, "--json")
    assert done.exit_code == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["hits"]
    return found


def notices(store: Path) -> dict[str, Any]:
    return {one["what"]: one for one in json.loads(last_log(store, "run.json"))["notices"]}


def test_bytes_without_the_mark_are_text(tmp_path: Path) -> None:
    """Ids, titles, categories, attributes, prices and lists of text as BINARY are what they are as strings; bytes that
    are not UTF-8 reject their row, and photo columns of paths are found.
    """
    table = pa.table(
        {
            "id": [b"A", b"B", b"C", b"D"],
            "title": [b"red dress", "caf\u00e9".encode(), b"blue shoe", b"\xff\xfe"],
            "kind": [b"Home &amp; Garden", b"Home & Garden", None, b"Shoes"],
            "brand": [b"Acme", None, b"Zeta", b"Acme"],
            "tags": [[b"new", b"sale"], None, [], [b"new"]],
            "price": [b"12.50 USD", b"9 USD", None, b"1 USD"],
            "image_link": [b"a.png", b"red%20shoe.png", photo(90), b"a.png"],
            "more": [b"a.png, red%20shoe.png", None, b"a.png", None],
        }
    )
    assert {table.schema.field(name).type for name in ("id", "title", "kind", "image_link")} == {pa.binary()}
    pq.write_table(table, tmp_path / "c.parquet")
    for name, shade in (("a.png", 10), ("red shoe.png", 200)):
        (tmp_path / name).write_bytes(photo(shade))
    words = ("catalog.partition=kind", "catalog.attributes=[title,brand,tags,price]", "catalog.prices=[price]",
             "catalog.image_root=null", "encoders.text.dim=32", "catalog.text=[title]", "catalog.more_images=more",
             "gates.max_reject_share=0.5", "catalog.image=image_link")  # fmt: skip
    store = tmp_path / "store"
    where = (f"catalog.path={tmp_path / 'c.parquet'}", f"store.path={store}")
    done = vitrine("run", "-c", "configs/weightless.yaml", *words, *where)
    assert done.exit_code == 0, done.stderr
    report = json.loads(last_log(store, "run.json"))
    assert (report["rejects"], report["degraded"], report["photos"]) == ({"invalid_text": 1}, {}, 6)
    assert {one.name: one.rows for one in manifest_of(store).partitions} == {"Home & Garden": 2, "_none": 1}
    assert [one["id"] for one in hits(store, "--where", "brand = Acme")] == ["A"]
    assert [one["id"] for one in hits(store, "--where", "price < 10")] == ["B"]
    assert {one["id"]: one["attributes"]["title"] for one in hits(store)} == {
        "A": "red dress",
        "B": "caf\u00e9",
        "C": "blue shoe",
    }
    said = notices(store)
    assert [one.partition(":")[0] for one in said["columns_of_bytes"]["examples"]] == [
        "brand", "id", "kind", "price", "tags", "title",
    ]  # fmt: skip
    assert "image_link" in said["sampled_photo_paths"]["told"] or "more" in said["sampled_photo_paths"]["told"]


def test_a_photo_is_never_taken_for_a_path() -> None:
    """Bytes are a path only as one line of text that ends or begins as one."""
    paths = [b"a.jpg", b" x/\xc3\xa9.PNG ", b"file:///srv/a", b"https://shop.example/a?b=1", b"p\\1.webp", b"a.jpg?w=3",
             b"a.jpg,b.png"]  # fmt: skip
    others = [*(photo(9, kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")), b"", b"not found",
              b'{"error": 404}', b"<svg/>\n.svg\n", b"a\nb.jpg", b"\xff.jpg", b"x\0.jpg"]  # fmt: skip
    found = columns.paths_in(pa.array([*paths, None, *others]))
    assert found.to_pylist() == [*(path.decode() for path in paths), *[None] * (1 + len(others))]
    assert columns.paths_in(pa.array([], pa.binary())).to_pylist() == []


WHOLE = {
    "float64": pa.array([1.0, 20.0, None]),
    "float32": pa.array([1.0, 20.0, None], pa.float32()),
    "decimal(38,0)": pa.array([Decimal(1), Decimal(20), None], pa.decimal128(38, 0)),
    "decimal(10,2)": pa.array([Decimal("1.00"), Decimal("20.00"), None], pa.decimal128(10, 2)),
    "decimal(38,10)": pa.array([Decimal(0), Decimal(20), None], pa.decimal128(38, 10)),
    "decimal(76,38)": pa.array([Decimal(0), Decimal(20), None], pa.decimal256(76, 38)),
    "int64": pa.array([1, 20, None]),
    "bytes": pa.array([b"1", b"20", None]),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_whole_numbers_are_ids(kind: str, tmp_path: Path) -> None:
    """1.0 in a column of floats or decimals, with gaps, is the id `1`; null is no id."""
    table = pa.table({"id": WHOLE[kind], "title": TITLES})
    pq.write_table(table, tmp_path / "c.parquet")
    done = run_titles(tmp_path / "c.parquet", tmp_path / "store", "gates.max_reject_share=0.5")
    assert done.exit_code == 0, done.stderr
    first, second, _ = WHOLE[kind].to_pylist()
    assert {one["id"] for one in hits(tmp_path / "store")} == {str(int(first)), str(int(second))}
    assert json.loads(last_log(tmp_path / "store", "run.json"))["rejects"] == {"missing_id": 1}


@pytest.mark.parametrize(
    ("ids", "shown"),
    [
        (pa.array([1.5, 2.0, 3.0]), "no whole number in id: 1.5"),
        (pa.array([1.0, 2.0**53, 3.0]), "a number too large to be exact in id: 9007199254740992.0"),
        (pa.array([Decimal("1.50"), Decimal(2), Decimal(3)], pa.decimal128(9, 2)), "no whole number in id: 1.50"),
        (
            pa.array([Decimal("1e-10"), Decimal(0), Decimal(3)], pa.decimal128(38, 10)),
            "no whole number in id: 0.0000000001",
        ),
    ],
    ids=["float", "too large", "decimal", "small decimal"],
)
def test_other_numbers_are_no_ids(ids: pa.Array, shown: str, tmp_path: Path) -> None:
    """A number that is not whole, or too large for its type to be exact, is a reject that says so; where there are
    more than may be rejected, the catalog is refused with the file and what to write instead.
    """
    pq.write_table(pa.table({"id": ids, "title": TITLES}), tmp_path / "c.parquet")
    done = run_titles(tmp_path / "c.parquet", tmp_path / "store", "gates.least_rows=1")
    assert done.exit_code == 2
    _, came, fix = told(done.stderr)
    assert f"others in 1 of 3 rows, 1 of 3 of {tmp_path / 'c.parquet'}: {shown}" in came
    assert "write id as text or as an integer" in fix
    done = run_titles(tmp_path / "c.parquet", tmp_path / "store")
    assert done.exit_code == 0, done.stderr
    report = json.loads(last_log(tmp_path / "store", "run.json"))
    assert (report["rows_embedded"], report["rejects"]) == (2, {"invalid_number": 1})
    (lost,) = report["details"]
    assert (lost["detail"], lost["example"]) == (shown.partition(": ")[0], f"no id: {shown.partition(': ')[2]}")


def test_other_numbers_are_no_categories(tmp_path: Path) -> None:
    """One row of a fraction is a reject of the partition of those that have none; a file of nothing else is refused,
    however small its share.
    """
    rows = 80
    kind = pa.array([1.5, *(float(number % 2) for number in range(rows - 1))])
    write_titles(tmp_path / "c" / "a.parquet", ["red dress"] * rows, kind=kind)
    more = ("catalog.partition=kind", "gates.least_rows=5")
    done = run_titles(tmp_path / "c", tmp_path / "store", *more)
    assert done.exit_code == 0, done.stderr
    assert json.loads(last_log(tmp_path / "store", "run.json"))["rejects"] == {"invalid_number": 1}
    write_titles(tmp_path / "c" / "b.parquet", ["tea"] * 5, id=[f"B{n}" for n in range(5)], kind=pa.array([0.5] * 5))
    for command in ("plan", "run"):
        where = (f"catalog.path={tmp_path / 'c'}", f"store.path={tmp_path / 'store'}")
        done = vitrine(
            command, "-c", "configs/weightless.yaml", *TITLES_ONLY, *where, *more, "gates.max_reject_share=0.5"
        )
        assert (done.exit_code, f"5 of 5 of {tmp_path / 'c' / 'b.parquet'}" in told(done.stderr)[1]) == (2, True)


def test_bytes_of_one_length_are_no_text(tmp_path: Path) -> None:
    """A UUID as 16 raw bytes is no id: refused by its type."""
    ids = pa.array([bytes([number]) * 16 for number in range(3)], pa.binary(16))
    pq.write_table(pa.table({"id": ids, "title": TITLES}), tmp_path / "c.parquet")
    done = run_titles(tmp_path / "c.parquet", tmp_path / "store")
    assert done.exit_code == 2
    assert "fixed_size_binary[16], which cannot be an id" in told(done.stderr)[1]


@pytest.mark.parametrize("command", ["plan", "run"])
def test_lists_of_a_fixed_size(tmp_path: Path, command: str) -> None:
    """They are read as other lists; with a null row Arrow cannot, and the fix is the writer's. A column that nobody
    uses is not read.
    """
    rows = {"whole": [["new", "sale"]] * 3, "holes": [["new", "sale"], None, ["a", "b"]]}
    tags = {name: pa.array(values, pa.list_(pa.string(), 2)) for name, values in rows.items()}
    pq.write_table(pa.table({"id": ["A", "B", "C"], "title": TITLES, **tags}), tmp_path / "c.parquet")
    where = (f"catalog.path={tmp_path / 'c.parquet'}", f"store.path={tmp_path / 's'}")
    given = (command, "-c", "configs/weightless.yaml", *TITLES_ONLY, *where)
    done = vitrine(*given, "catalog.attributes=[title, holes]")
    assert done.exit_code == 2
    expected, came, fix = told(done.stderr)
    assert "in holes" in expected
    assert "c.parquet" in came
    assert "write holes as a list of variable size" in fix
    assert not list((tmp_path / "s").glob("shards/*"))
    assert vitrine(*given, "catalog.attributes=[title, whole]").exit_code == 0
    if command == "run":
        assert hits(tmp_path / "s", "--where", "whole = sale")[0]["attributes"]["whole"] == ["new", "sale"]


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.string()), pa.large_list(pa.large_string()), pa.list_(pa.binary())], ids=str
)
def test_of_categories_that_are_lists_the_first_counts(tmp_path: Path, kind: pa.DataType) -> None:
    """Rows are in the partition of their first category; none and an empty list are `_none`; plan and run say so once.
    As an attribute the list is whole.
    """
    rows = [["Shoes > Boots", "Men"], [], None, ["Hats", "Shoes"], ["Shoes"]]
    lists = pa.array(rows, pa.list_(pa.string())).cast(kind)
    titles = ["red tea"] * 5
    for name in ("a", "b"):
        ids = [f"{name}{number}" for number in range(5)]
        write_titles(tmp_path / "c" / name, titles, row_group_rows=2, id=ids, product_type=lists)
    more = ("catalog.partition=product_type", "catalog.attributes=[title,product_type]")
    done = run_titles(tmp_path / "c", tmp_path / "s", *more)
    assert done.exit_code == 0, done.stderr
    counts = {one.name: one.rows for one in manifest_of(tmp_path / "s").partitions}
    assert counts == {"Shoes": 4, "Hats": 2, "_none": 4}
    assert done.stdout.count("product_type is a list in 2 of 2 files: the first category of each row counts") == 1
    (hit,) = [one for one in hits(tmp_path / "s", "--category", "hats") if one["id"] == "a3"]
    assert hit["attributes"]["product_type"] == ["Hats", "Shoes"]


def test_fields_of_structs_by_their_paths(tmp_path: Path) -> None:
    """`catalog.columns` can name a field of a struct, of structs in structs too, in any role; a field that some files
    lack is null there. A column whose own name has the dot comes first.
    """
    info = [{"kind": "Shoes", "maker": {"name": "Acme", "since": 1990}}, None]
    write_titles(tmp_path / "c" / "a", ["red tea", "red jam"], id=["a", "b"], info=info)
    write_titles(tmp_path / "c" / "b", ["red pot"], id=["c"], info=[{"kind": "Hats"}])
    literal = pa.table({"id": ["d"], "title": ["red hat"], "info.kind": ["Literal"], "info": info[:1]})
    pq.write_table(literal, tmp_path / "c" / "c")
    columns_of = {"kind": "info.kind", "brand": "info.maker.name", "since": "info.maker.since"}
    more = (*(f"catalog.columns.{name}={path}" for name, path in columns_of.items()), "catalog.partition=kind")
    done = run_titles(tmp_path / "c", tmp_path / "s", *more, "catalog.attributes=[title,brand,since]")
    assert done.exit_code == 0, done.stderr
    counts = {one.name: one.rows for one in manifest_of(tmp_path / "s").partitions}
    assert counts == {"Shoes": 1, "Hats": 1, "Literal": 1, "_none": 1}
    found = {one["id"]: one["attributes"] for one in hits(tmp_path / "s")}
    assert (found["a"]["brand"], found["a"]["since"]) == ("Acme", 1990)
    assert (found["b"]["brand"], found["c"]["brand"]) == (None, None)
    assert f"info.maker.name: {tmp_path / 'c' / 'b'}" in done.stdout
    assert [one["id"] for one in hits(tmp_path / "s", "--where", "since > 1980")] == ["a", "d"]
    refused = run_titles(tmp_path / "c", tmp_path / "s", "catalog.partition=kind", "catalog.columns.kind=info.sort")
    assert refused.exit_code == 2
    assert "no column 'info.sort'" in told(refused.stderr)[1]
