"""Columns as their file marks them."""

from __future__ import annotations

import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.shop_tables import rows_read


def test_uuids_and_json_are_texts(tmp_path: Path) -> None:
    """As DuckDB and Iceberg write them, in every role and as fields of structs; nulls are nulls."""
    ids = [uuid.uuid4() for _ in range(3)]
    column = pa.array([one.bytes for one in ids], pa.uuid())
    some = pa.array([ids[0].bytes, None, ids[2].bytes], pa.uuid())
    more = {"kind": some, "info": pa.array(['{"a": 1}', None, "[]"], pa.json_())}
    nested = pa.StructArray.from_arrays([some], names=["ref"])
    catalog = tmp_path / "c.parquet"
    pq.write_table(pa.table({"id": column, "title": ["tea"] * 3, **more, "of": nested}), catalog)
    words = ("catalog.columns.ref=of.ref", "catalog.attributes=[kind,info,ref]", "catalog.partition=kind")
    found = {one["id"]: one for one in rows_read(catalog, *words)}
    assert list(found) == sorted(map(str, ids))
    assert [found[str(one)]["info"] for one in ids] == ['{"a": 1}', None, "[]"]
    assert [found[str(one)]["ref"] for one in ids] == [str(ids[0]), None, str(ids[2])]
    assert [found[str(one)]["partition"] for one in ids] == [str(ids[0]), "_none", str(ids[2])]
