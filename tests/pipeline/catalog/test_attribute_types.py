"""Attributes have one kind over all files, partitions and nights: else a filter would mean some of them only."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from lookup.filters.values import sort_of, type_name, type_named
from lookup.store.store import Store
from tests.support.command import ANY_NIGHT, TITLES_ONLY, run_titles, told, vitrine, write_titles
from tests.support.stores import manifest_of, publications, publish_by_hand

NAMED = ("catalog.attributes=[price]", "catalog.partition=kind", *ANY_NIGHT)
SOME = pa.array([Decimal("19.99")], pa.decimal128(10, 2))


def write(folder: Path, **prices: Sequence[Any]) -> None:
    """A file of each of `prices`, whose name is the file's, the category and the beginning of the ids."""
    for name, values in prices.items():
        path = write_titles(
            folder / "c" / f"{name}.parquet", ["red"] * len(values), price=values, kind=[name] * len(values)
        )
        ids = pa.array([f"{name}{number}" for number in range(len(values))])
        pq.write_table(pq.read_table(path).set_column(0, "id", ids), path)


def night(folder: Path, *more: str) -> Result:
    return run_titles(folder / "c", folder / "store", *NAMED, *more)


def planned(folder: Path, *more: str) -> Result:
    """What `vitrine plan` says of the next night."""
    where = (f"catalog.path={folder / 'c'}", f"store.path={folder / 'store'}", *NAMED, *more)
    return vitrine("plan", "-c", "configs/weightless.yaml", *TITLES_ONLY, *where)


def found(folder: Path, where: str) -> list[str]:
    done = vitrine("search", folder / "store", "--text", "red", "-k", 50, "--json", "--where", where)
    assert done.exit_code == 0, done.stderr
    return sorted(hit["id"] for hit in json.loads(done.stdout)["hits"])


def test_numbers_of_every_type_are_one_kind(tmp_path: Path) -> None:
    """Whole numbers, fractions, decimals and files without a value: filtered exactly, and named in the manifest."""
    write(tmp_path, a=[10, 2**53 + 1], b=[12.5, 9.5], c=SOME, d=pa.array([200], pa.uint64()), e=[None])
    write(tmp_path, f=pa.array([None], pa.string()))
    done = night(tmp_path)
    assert done.exit_code == 0, done.stderr
    assert manifest_of(tmp_path / "store").attribute_types == {"price": "double"}
    assert "attributes: price (double)" in vitrine("inspect", tmp_path / "store").stdout
    assert found(tmp_path, "price <= 19.99") == ["a0", "b0", "b1", "c0"]
    assert found(tmp_path, "price = 9007199254740993") == ["a1"]
    assert found(tmp_path, "price = 9007199254740992") == []
    assert found(tmp_path, "price is null") == ["e0", "f0"]


def test_text_among_numbers_is_refused_before_anything_is_encoded(tmp_path: Path, encoded: list[str]) -> None:
    """By plan and run, with each file's type and both ways out; declared as a price it is read."""
    write(tmp_path, a=[10, 200], b=[12.5], c=SOME, d=["12.99 USD", "100.00 USD"])
    for done in (night(tmp_path), planned(tmp_path)):
        assert done.exit_code == 2
        expected, came, fix = told(done.stderr)
        assert "price of one kind in all files" in expected
        for kind, name in (
            ("number (int64)", "a"),
            ("number (double)", "b"),
            ("(decimal128(10, 2))", "c"),
            ("text (string)", "d"),
        ):
            assert f"{kind} in {tmp_path / 'c' / name}.parquet" in came
        assert "catalog.prices=[price]" in fix
    assert not encoded
    assert not publications(tmp_path / "store")
    assert night(tmp_path, "catalog.prices=[price]").exit_code == 0
    assert found(tmp_path, "price < 20") == ["a0", "b0", "c0", "d0"]
    assert manifest_of(tmp_path / "store").attribute_types == {"price": "price"}
    hits = vitrine("search", tmp_path / "store", "--text", "red", "-k", 50, "--json").stdout
    for shown in ('"price": 10\n', '"price": 12.5\n', '"price": 19.99\n', '"price": "12.99 USD"\n'):
        assert shown in hits


def test_a_category_of_another_type_is_not_published(tmp_path: Path) -> None:
    """--category after the feed turned the price into text: refused with both types, and filters work as before."""
    write(tmp_path, a=[10.0, 200.0], b=[12.5])
    assert night(tmp_path).exit_code == 0
    published = publications(tmp_path / "store")
    write(tmp_path, a=["10.00 USD", "200.00 USD"])
    done = night(tmp_path, "--category=a")
    assert done.exit_code == planned(tmp_path, "--category=a").exit_code == 2
    expected, came, fix = told(done.stderr)
    assert "the type of price as in the published snapshot" in expected
    assert "the type of price: string instead of double" in came
    assert "run the whole catalog once" in fix
    assert publications(tmp_path / "store") == published
    write(tmp_path, a=pa.array([Decimal("10.10"), Decimal("200.00")], pa.decimal128(10, 2)))
    assert night(tmp_path, "--category=a").exit_code == 0
    assert found(tmp_path, "price <= 12.5") == ["a0", "b0"]
    assert manifest_of(tmp_path / "store").attribute_types == {"price": "double"}


def test_an_empty_column_is_known_without_statistics(tmp_path: Path) -> None:
    """A file has a say as soon as one row has a value, in whatever row group; footers are not asked."""
    write(tmp_path, a=[10.0], b=pa.nulls(3, pa.string()))
    empty = pq.read_table(tmp_path / "c" / "b.parquet")
    pq.write_table(empty, tmp_path / "c" / "b.parquet", write_statistics=False)
    assert planned(tmp_path).exit_code == 0
    late = empty.set_column(2, "price", pa.array([None, None, "12.50 EUR"]))
    pq.write_table(late, tmp_path / "c" / "b.parquet", write_statistics=False, row_group_size=1)
    done = planned(tmp_path)
    assert done.exit_code == 2
    assert re.search(r"number \(double\) in .*text \(string\) in", told(done.stderr)[1])


def test_a_category_is_not_refused_for_another_file(tmp_path: Path) -> None:
    """What the run does not read does not stop it."""
    write(tmp_path, a=[10.0], b=[12.5])
    assert night(tmp_path).exit_code == 0
    write(tmp_path, a=[11.0], b=["12.50 EUR"])
    assert night(tmp_path, "--category=a").exit_code == 0
    assert found(tmp_path, "price < 12") == ["a0"]


def test_a_feed_of_another_type_is_refused_until_it_is_meant(tmp_path: Path, encoded: list[str]) -> None:
    """A whole run after the price turned into text: a gate names both types before anything is encoded."""
    write(tmp_path, a=[10.0], b=[12.5])
    assert night(tmp_path).exit_code == 0
    write(tmp_path, a=["10.00 USD"], b=["12.50 USD"])
    encoded.clear()
    done = night(tmp_path)
    assert done.exit_code == planned(tmp_path).exit_code == 3
    assert "price: double in the parent, string now" in told(done.stderr)[1]
    assert "price: double in the parent, string now" in told(planned(tmp_path).stderr)[1]
    assert planned(tmp_path, "gates.max_changed_types=1").exit_code == 0
    assert not encoded
    assert found(tmp_path, "price < 12") == ["a0"]
    assert night(tmp_path, "gates.max_changed_types=1").exit_code == 0
    assert vitrine("search", tmp_path / "store", "--text", "red", "--where", "price < 12").exit_code == 2


def older(store: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Publish the snapshot again as an earlier version would have written it."""
    snapshot, raw, segments = Store.open(str(store)).published()[1].written()
    fields = json.loads(raw)
    change(fields)
    raw = json.dumps(fields, indent=1).encode()
    name = f"{snapshot.rpartition('-')[0]}-{_digest(raw)}"
    (store / "snapshots" / f"{name}.json").write_bytes(raw)
    (store / "snapshots" / f"{name}.segments").write_bytes(segments)
    publish_by_hand(store, name)


def _digest(raw: bytes) -> str:
    from blake3 import blake3

    return blake3(raw).hexdigest()[:16]


def test_types_of_an_older_store_are_those_of_its_shards(tmp_path: Path) -> None:
    """A manifest without types opens as it did, and a category of another type is refused all the same."""
    write(tmp_path, a=[10.0], b=[12.5], c=[None])
    assert night(tmp_path).exit_code == 0
    older(tmp_path / "store", lambda fields: fields.pop("attribute_types"))
    assert manifest_of(tmp_path / "store").attribute_types == {}
    assert found(tmp_path, "price < 12") == ["a0"]
    write(tmp_path, a=["10.00 USD"])
    done = night(tmp_path, "--category=a")
    assert done.exit_code == 2
    assert "the type of price: string instead of double" in done.stderr
    write(tmp_path, a=[11.0])
    assert night(tmp_path, "--category=a").exit_code == 0
    assert manifest_of(tmp_path / "store").attribute_types == {"price": "double"}


TYPES = [
    *(
        pa.string(),
        pa.bool_(),
        pa.int8(),
        pa.uint64(),
        pa.float16(),
        pa.float32(),
        pa.float64(),
        pa.date32(),
        pa.date64(),
    ),
    *(pa.decimal128(10, 2), pa.decimal256(60, 0), pa.list_(pa.string()), pa.null(), type_named("price")),
    *(
        pa.timestamp(unit, zone)
        for unit in ("s", "ms", "us", "ns")
        for zone in (None, "UTC", "+02:00", "Europe/Berlin")
    ),
]


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_a_type_is_read_back_from_its_name(kind: pa.DataType) -> None:
    """Manifests name types; every one that an attribute can have is understood again."""
    assert type_named(type_name(kind)) == kind
    assert sort_of(type_named(type_name(kind))) == sort_of(kind)
