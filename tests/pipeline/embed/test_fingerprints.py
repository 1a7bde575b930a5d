"""Fingerprints: equal for equal rows however Arrow holds them, other for anything that changed, photos included."""

import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from lookup.store.store import Store
from pipeline.catalog.names import id_hashes
from pipeline.config.encoding import encoding_identity
from pipeline.config.load import Config
from pipeline.config.sections import CatalogConfig
from pipeline.embed.fingerprints import fingerprint_rows, photo_fingerprints, shard_name, text_fingerprints
from pipeline.run import Request, run
from tests.support.command import config_for
from tests.support.units import write_catalog

PHOTO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
ATTRIBUTES = pa.struct(
    [
        ("title", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("price", pa.float64()),
        ("cents", pa.decimal128(10, 2)),
        ("new", pa.bool_()),
    ]
)
SCHEMA = pa.schema(
    [
        ("row", pa.int32()),
        ("text", pa.string()),
        ("photos", pa.list_(PHOTO)),
        ("attributes", ATTRIBUTES),
        ("seen", pa.timestamp("us")),
        ("text_fingerprint", pa.binary(16)),
    ]
)


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


TEXT = st.text("ab\0é茶", max_size=4)
PHOTOS = st.fixed_dictionaries({"bytes": maybe(st.binary(max_size=3)), "path": maybe(TEXT)})
ROW = st.fixed_dictionaries(
    {
        "row": st.integers(0, 9),
        "text": maybe(TEXT),
        "photos": maybe(st.lists(PHOTOS, max_size=2)),
        "attributes": st.fixed_dictionaries(
            {
                "title": maybe(TEXT),
                "tags": maybe(st.lists(maybe(TEXT), max_size=2)),
                "price": maybe(st.sampled_from([0.0, 1.5])),
                "cents": maybe(st.sampled_from([Decimal("19.99"), Decimal("-0.01"), Decimal(0)])),
                "new": maybe(st.booleans()),
            }
        ),
        "seen": maybe(st.integers(0, 3)),
        "text_fingerprint": maybe(st.binary(min_size=16, max_size=16)),
    }
)
ROWS = st.lists(ROW, max_size=12)


def table(rows: list[Any]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SCHEMA)


@given(ROWS, ROWS, ROWS, st.data())
def test_the_name_depends_on_values_only(
    before: list[Any], rows: list[Any], after: list[Any], data: st.DataObject
) -> None:
    """Slices of longer tables, chunks and what lies in the buffers of nulls leave the name as it is."""
    want = shard_name("e", table(rows))
    assert shard_name("e", table(before + rows + after).slice(len(before), len(rows))) == want
    cut = data.draw(st.integers(0, len(rows)))
    assert shard_name("e", pa.concat_tables([table(rows[:cut]), table(rows[cut:])])) == want
    gaps = table([row for one in rows for row in (one, *before)])
    kept = pa.array([at % (1 + len(before)) == 0 for at in range(gaps.num_rows)], pa.bool_())
    assert shard_name("e", gaps.filter(kept)) == want


@given(ROWS, ROWS)
def test_other_values_have_another_name(one: list[Any], other: list[Any]) -> None:
    """Two tables have one name exactly when their rows are equal."""
    assert (shard_name("e", table(one)) == shard_name("e", table(other))) == table(one).equals(table(other))


@given(st.lists(ROW, min_size=1, max_size=6), st.data())
def test_any_changed_value_changes_the_name(rows: list[Any], data: st.DataObject) -> None:
    """One other value in one place of one row, a row more, rows in another order, another encoding: another name."""
    at, key = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.sampled_from(SCHEMA.names))
    value = data.draw(ROW)[key]
    changed = [row if i != at else {**row, key: value} for i, row in enumerate(rows)]
    name = shard_name("e", table(rows))
    assert (shard_name("e", table(changed)) == name) == (changed == rows)
    assert (shard_name("e", table(rows[::-1])) == name) == (rows[::-1] == rows)
    assert shard_name("e", table([*rows, rows[-1]])) != name
    assert shard_name("f", table(rows)) != name
    assert shard_name("e", table(rows).rename_columns(["rows", *SCHEMA.names[1:]])) != name


@pytest.mark.parametrize("kind", [pa.string(), pa.list_(pa.string()), pa.int32(), pa.bool_(), ATTRIBUTES], ids=str)
def test_rows_of_null_count(kind: pa.DataType) -> None:
    """A column is told from the same column with one null row more."""
    names = {shard_name("e", pa.table({"x": pa.nulls(n, kind)})) for n in range(20)}
    assert len(names) == 20


@given(st.lists(maybe(TEXT)))
def test_texts_are_told_apart(texts: list[str | None]) -> None:
    """16 bytes each, null for none, equal exactly when the texts are."""
    found = text_fingerprints(pa.array(texts, pa.string())).to_pylist()
    assert [one is None for one in found] == [text is None for text in texts]
    assert len(set(found)) == len(set(texts))


@given(st.lists(maybe(TEXT)))
def test_id_hashes_are_those_of_the_ids(ids: list[str | None]) -> None:
    """xxh3 of the UTF-8 of each id that is there."""
    want = [xxh3_64_intdigest(name.encode()) for name in ids if name is not None]
    assert id_hashes(pa.array(ids, pa.string())).tolist() == want


# --- photos ---


def identities(photos: list[Any], how: str, root: Path, versions: list[str | None] | None = None) -> list[bytes | None]:
    settings = CatalogConfig(path="unused", image_identity=how, max_photo_bytes=1000, version_column="version")  # type: ignore[arg-type]
    rows = [
        None
        if row is None
        else [{"bytes": None, "path": one} if isinstance(one, str) else {"bytes": one, "path": None} for one in row]
        for row in photos
    ]
    found = pa.array(versions or [None] * len(rows), pa.string())
    return photo_fingerprints(pa.array(rows, pa.list_(PHOTO)), found, settings, str(root)).to_pylist()


def test_stat_sees_the_file_and_not_its_bytes(tmp_path: Path) -> None:
    """Another mtime or size is another photo; absent is one too; order and number of photos count."""
    path = tmp_path / "a.jpg"
    path.write_bytes(b"one")
    seen = [identities([["a.jpg"]], "stat", tmp_path)]
    os.utime(path, ns=(1, 1))
    seen.append(identities([["a.jpg"]], "stat", tmp_path))
    path.write_bytes(b"more")
    os.utime(path, ns=(1, 1))
    seen.append(identities([["a.jpg"]], "stat", tmp_path))
    path.write_bytes(b"same")
    os.utime(path, ns=(1, 1))
    assert identities([["a.jpg"]], "stat", tmp_path) == seen[-1]
    path.unlink()
    seen.append(identities([["a.jpg"]], "stat", tmp_path))
    rows = [["a.jpg", "b.jpg"], ["b.jpg", "a.jpg"], ["b.jpg"], ["a\0b"], ["http://a/b"], ["c" * 5000]]
    seen += [[one] for one in identities(rows, "stat", tmp_path)]
    assert len({one for row in seen for one in row}) == 10


def test_bytes_sees_what_is_in_the_file(tmp_path: Path) -> None:
    """mtime and name do not count, content does; pipes, devices and files outside of the root are not opened."""
    for name, content in {"a.jpg": b"one", "b.jpg": b"one", "c.jpg": b"two", "../outside": b"one"}.items():
        (tmp_path / "root").mkdir(exist_ok=True)
        (tmp_path / "root" / name).write_bytes(content)
    root = tmp_path / "root"
    os.mkfifo(root / "pipe")
    (root / "zeros").symlink_to("/dev/zero")
    before = identities([["a.jpg"], ["b.jpg"], ["c.jpg"]], "bytes", root)
    os.utime(root / "a.jpg", ns=(1, 1))
    assert identities([["a.jpg"], ["b.jpg"], ["c.jpg"]], "bytes", root) == before
    assert before[0] == before[1] != before[2]
    assert identities([[b"one"], [b"two"]], "stat", root) == [before[0], before[2]]
    others = identities([["../outside"], ["pipe"], ["zeros"], ["absent"], None], "bytes", root)
    assert len({*before, *others}) == 7
    assert others[-1] is None


def test_version_sees_the_column_only(tmp_path: Path) -> None:
    """Path and version are the identity; the file is not touched."""
    found = identities(
        [["a.jpg"], ["a.jpg"], ["a.jpg"], ["b.jpg"], [b"x"], [b"x"]],
        "version",
        tmp_path,
        ["1", "1", "2", "1", "1", "2"],
    )
    assert found[0] == found[1]
    assert found[4] == found[5]
    assert len(set(found)) == 4


def test_a_photo_without_a_version_is_told_by_its_file(tmp_path: Path) -> None:
    """A version that says nothing would keep the old vector of a new photo for ever."""
    found = []
    for content in (b"one", b"another"):
        (tmp_path / "a.jpg").write_bytes(content)
        found += identities([["a.jpg"], ["a.jpg"], ["a.jpg"]], "version", tmp_path, [None, "", "1"])
    assert found[0] == found[1] != found[3]
    assert found[2] == found[5]


def test_everything_that_decides_a_vector_is_in_the_encoding(tmp_path: Path) -> None:
    """Encoders, fusion, kept towers and photo limits change it; how the machine is used does not."""

    def identity(*more: str) -> str:
        return encoding_identity(config_for(tmp_path, tmp_path / "store", *more).settings.embedding)

    changes = [
        "encoders.text.dim=64", "encoders.image.dim=64", "fusion.text_weight=0.4", "shards.towers=false",
        "catalog.max_photo_bytes=5", "catalog.max_photo_pixels=5", "catalog.max_photo_seconds=5",
    ]  # fmt: skip
    assert len({identity(), *map(identity, changes)}) == 1 + len(changes)
    assert identity("run.workers=7", "run.photo_threads=7", "shards.unit_rows=7", "encoders.device=cuda") == identity()


# --- through the whole run ---


@pytest.mark.parametrize("how", ["stat", "bytes"])
def test_a_touched_photo(how: str, demo: Path, tmp_path: Path) -> None:
    """New content under an old path is encoded again; a new mtime alone is, too, unless bytes are the identity."""
    photo = tmp_path / "photos" / "p.jpg"
    photo.parent.mkdir()
    good = sorted(demo.glob("photos/*/*.jpg"))
    photo.write_bytes(good[0].read_bytes())
    (tmp_path / "photos" / "q.jpg").write_bytes(good[1].read_bytes())
    products = {"id": ["p", "q"], "title": ["tea", "jam"], "image_link": ["photos/p.jpg", "photos/q.jpg"]}
    write_catalog(
        tmp_path / "catalog" / "a.parquet", pa.table({**products, "product_type": ["a", "a"]}), row_group_rows=1
    )
    plain = (
        "catalog.text=[title]",
        "catalog.attributes=[title]",
        f"catalog.image_identity={how}",
        "shards.unit_rows=1",
    )
    config: Config = config_for(tmp_path, tmp_path / "store", *plain)

    def reused_and_vector() -> tuple[int, np.ndarray[Any, Any]]:
        report = run(Request(config))
        store = Store.open(str(tmp_path / "store"))
        shard = store.manifest(store.current() or "").shards.entries[0]
        assert shard.file is not None
        vector = pq.read_table(store.backend.local(shard.file.path)).column("embedding")[0].as_py()
        return report.units_reused, np.array(vector)

    _, first = reused_and_vector()
    assert reused_and_vector()[0] == 2
    os.utime(photo, ns=(1, 1))
    assert reused_and_vector()[0] == (1 if how == "stat" else 2)
    photo.write_bytes(good[2].read_bytes())
    reused, other = reused_and_vector()
    assert reused == 1
    assert not np.array_equal(first, other)


def test_the_fingerprint_of_a_text_covers_the_columns_that_are_read_alone(tmp_path: Path) -> None:
    """A text that moves from one column to another is another text; without such columns it is the text's alone."""
    settings = CatalogConfig(path=str(tmp_path))
    fields = [
        {"title": "a", "description": None},
        {"title": None, "description": "a"},
        {"title": "a", "description": ""},
    ]
    table = pa.table(
        {
            "text": ["a", "a", None],
            "photos": pa.nulls(3, pa.list_(PHOTO)),
            "version": pa.nulls(3, pa.string()),
            "text_fields": fields,
        }
    )
    found = fingerprint_rows(table, settings, "").column("text_fingerprint").to_pylist()
    assert found[0] != found[1]
    assert found[2] is None
    plain = table.set_column(3, "text_fields", pa.array([{}] * 3, pa.struct([])))
    assert fingerprint_rows(plain, settings, "").column("text_fingerprint").to_pylist() == (
        text_fingerprints(table.column("text")).to_pylist()
    )
