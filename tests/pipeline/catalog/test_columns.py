"""Reading a catalog: which files, which columns, whatever types a writer chose, and which rows are refused for what."""

import datetime
import decimal
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.text import clean_text
from foundation.errors import InputError, VitrineError
from pipeline.catalog import columns
from pipeline.catalog.rows import read_unit
from pipeline.catalog.schema import refuse_missing
from pipeline.config.load import load_config
from pipeline.config.sections import CatalogConfig
from pipeline.files.discover import list_files, open_file
from pipeline.photos.root import image_root
from tests.support.units import fused_units, write_catalog

LIMIT = 2**28  # bytes of a unit
PHOTO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def settings(**keys: Any) -> CatalogConfig:
    """A catalog of titles and paths, unless told otherwise."""
    return CatalogConfig(**({"path": "unused", "text": ("title",), "attributes": ()} | keys))


def read(folder: Path, table: pa.Table, duplicates: tuple[int, ...] = (), **keys: Any) -> pa.Table:
    """What becomes of a table that is written to Parquet and read as one unit."""
    path = write_catalog(folder / "one.parquet", table)
    unit = read_unit(str(path), [0], 0, duplicates, settings(**keys), LIMIT)
    unit.validate(full=True)
    return unit


def products(**more: Any) -> pa.Table:
    columns = {"id": ["a", "b", "c"], "title": ["tea", "jam", "bun"], "image_link": ["a.jpg", None, "c.jpg"]}
    return pa.table({**columns, **more})


def not_utf8(*values: bytes | None) -> pa.Array:
    return pa.array(values, pa.binary()).view(pa.string())


# --- files ---


def test_a_file_a_folder_and_a_glob(tmp_path: Path) -> None:
    """A file is itself; a folder gives its Parquet files at any depth in name order; a glob gives what matches."""
    for name in ("b.parquet", "a.parquet", "deep/c.parq", "_temporary/d.parquet", ".hidden/e.parquet"):
        write_catalog(tmp_path / name, products())
    (tmp_path / "notes.txt").write_text("no Parquet")

    def names(path: Path) -> list[str]:
        return [str(Path(file.path).relative_to(tmp_path)) for file in list_files(str(path))]

    assert names(tmp_path / "b.parquet") == ["b.parquet"]
    assert names(tmp_path) == ["a.parquet", "b.parquet", "deep/c.parq"]
    assert names(tmp_path / "[ab].par*") == ["a.parquet", "b.parquet"]


def test_a_folder_with_brackets_in_its_name_is_no_glob(tmp_path: Path) -> None:
    """What exists under the very path is meant, folder or file; its photos start in that folder."""
    path = write_catalog(tmp_path / "feed [old]" / "part [1].parquet", products())
    for name in (path, path.parent):
        assert [file.path for file in list_files(str(name))] == [str(path)]
        assert image_root(None, str(name)) == str(path.parent)


def test_a_changed_file_has_another_stamp(tmp_path: Path) -> None:
    """Size and stamp are those of the file, and writing it again changes the stamp."""
    path = write_catalog(tmp_path / "a.parquet", products())
    before = list_files(str(path))[0]
    assert before.size == path.stat().st_size
    path.touch()
    assert list_files(str(path))[0].stamp != before.stamp


@pytest.mark.parametrize("name", ["absent", "absent/*.parquet", "empty"])
def test_a_path_without_files_is_refused(tmp_path: Path, name: str) -> None:
    """A path that does not exist, a glob without matches and a folder without Parquet are refused by name."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=name.replace("*", ".")):
        list_files(str(tmp_path / name))


@pytest.mark.parametrize("url", ["nosuch://bucket/catalog", "s3://bucket/catalog", "https://shop.example/a.parquet"])
def test_a_url_without_a_driver_is_refused(url: str) -> None:
    """A URL that nothing installed can read is an InputError that says what to install."""
    with pytest.raises(InputError, match=r"(?s)catalog.path=.*driver.*aiohttp and requests for https://"):
        list_files(url)


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    """Text, nothing at all and half a file are an InputError that names the file."""
    whole = write_catalog(tmp_path / "whole.parquet", products()).read_bytes()
    for content in (b"id,title\n1,tea\n", b"", whole[: len(whole) // 2]):
        (tmp_path / "wrong.parquet").write_bytes(content)
        with pytest.raises(InputError, match=r"wrong\.parquet"):
            open_file(str(tmp_path / "wrong.parquet"))


def test_a_damaged_row_group_is_an_error_and_not_other_text(tmp_path: Path) -> None:
    """A flipped bit in a column's pages is a VitrineError that names the file and the row group."""
    path = tmp_path / "one.parquet"
    pq.write_table(products(), path, write_page_checksum=True, compression="none", use_dictionary=False)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"jam", b"ham", 1))
    with pytest.raises(VitrineError, match=r"row groups 0 to 0 of .*one\.parquet"):
        read_unit(str(path), [0], 0, (), settings(), LIMIT)


# --- columns ---


def test_columns_are_renamed_by_the_map(tmp_path: Path) -> None:
    """A canonical column reads the column of the file that the map names, for every role."""
    table = pa.table({"sku": ["a"], "name": ["tea"], "picture": ["a.jpg"], "kind": ["Food > Tea"], "eur": [1.5]})
    names = {"id": "sku", "title": "name", "image_link": "picture", "product_type": "kind", "price": "eur"}
    unit = read(tmp_path, table, columns=names, partition="product_type", attributes=("title", "price"))
    row = unit.to_pylist()[0]
    assert (row["id"], row["partition"], row["text"], row["reject"]) == ("a", "Food", "tea", None)
    assert row["attributes"] == {"title": "tea", "price": 1.5}
    assert row["photos"] == [{"bytes": None, "path": "a.jpg"}]


def test_all_wrong_columns_are_told_at_once() -> None:
    """Missing columns, with the nearest, and columns of a type that does not fit are listed in one message, each with
    the keys that ask for it.
    """
    table = pa.table({"id": [True], "titel": ["tea"], "image_link": [3], "price": [{"eur": 1}]})
    with pytest.raises(InputError) as caught:
        refuse_missing(table.schema, settings(attributes=("price",)), "one.parquet", ["title"])
    for said in (
        "'title' (nearest: 'titel'), for catalog.text;",
        "'id' has the type bool, which cannot be an id;",
        "'image_link' has the type int64, which cannot be a photo, for catalog.image;",
        "'price' has the type struct",
        "cannot be an attribute, for catalog.attributes;",
        "correct catalog.text, catalog.image, catalog.attributes, or say which column",
        "catalog.columns.title=titel",
    ):
        assert said in str(caught.value)


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """Which of two columns of one name is meant cannot be known."""
    table = pa.Table.from_arrays([pa.array(["a"])] * 4, names=["id", "title", "title", "image_link"])
    with pytest.raises(InputError, match="'title' is there 2 times"):
        read(tmp_path, table)


TEXT_TYPES = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.int32(), pa.large_string()),
]


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_text_of_any_encoding_reads_the_same(tmp_path: Path, kind: pa.DataType) -> None:
    """Strings, large, view or dictionary, give equal units of plain types in every role."""
    columns = {
        "id": ["a", "b", None],
        "title": ["tea", None, "bun"],
        "image_link": [None, "b.jpg", " "],
        "product_type": ["Food > Tea", None, "Food"],
        "version": ["1", None, "2"],
        "brand": ["x", None, "y"],
    }
    keys = {"partition": "product_type", "version_column": "version", "attributes": ("brand", "title")}
    plain = read(tmp_path, pa.table(columns), **keys)
    table = pa.table({name: pa.array(values, pa.string()).cast(kind) for name, values in columns.items()})
    assert read(tmp_path, table, **keys).equals(plain)
    assert plain.column("partition").to_pylist() == ["Food", "_none", "Food"]
    assert plain.column("reject").to_pylist() == [None, None, "missing_id"]


def test_integer_ids_are_their_digits(tmp_path: Path) -> None:
    """int64 ids become strings, null stays missing."""
    unit = read(tmp_path, products(id=pa.array([-1, 2**62, None])))
    assert unit.column("id").to_pylist() == ["-1", str(2**62), None]
    assert unit.column("reject").to_pylist() == [None, None, "missing_id"]


def test_a_column_of_nothing_but_nulls_is_empty(tmp_path: Path) -> None:
    """A column without any value, which pandas writes with the type null, is text, photo or attribute all the same."""
    nothing = pa.nulls(3)
    unit = read(tmp_path, products(title=nothing, brand=nothing), attributes=("brand",))
    assert unit.column("reject").to_pylist() == [None, "no_modality", None]
    assert unit.schema.field("attributes").type == pa.struct([("brand", pa.string())])


LISTS = [
    pa.list_(pa.string()),
    pa.large_list(pa.large_string()),
    pa.list_(pa.string_view()),
    pa.list_(pa.dictionary(pa.int32(), pa.string())),
]


@pytest.mark.parametrize("kind", LISTS, ids=str)
def test_attributes_reach_the_shard_with_plain_types(tmp_path: Path, kind: pa.DataType) -> None:
    """Lists, dictionaries, decimals, times, numbers and nulls among them are carried by plain values."""
    day, moment = datetime.date(2026, 2, 28), datetime.datetime(2026, 2, 28, 12, 30, tzinfo=datetime.UTC)
    values = {
        "tags": (pa.array([["x", None], None, []], kind), pa.list_(pa.string())),
        "price": (pa.array([decimal.Decimal("19.99"), None, decimal.Decimal("-3.10")]), pa.decimal128(4, 2)),
        "colour": (pa.array(["red", None, "red"]).dictionary_encode(), pa.string()),
        "size": (pa.array([1, None, 3], pa.int16()).dictionary_encode(), pa.int16()),
        "seen": (pa.array([moment, None, moment], pa.timestamp("us", "UTC")), pa.timestamp("us", "UTC")),
        "day": (pa.array([day, None, day]), pa.date32()),
        "rating": (pa.array([4.5, None, float("nan")], pa.float32()), pa.float32()),
        "sold": (pa.array([True, None, False]), pa.bool_()),
    }
    table = products(**{name: array for name, (array, _) in values.items()})
    carried = read(tmp_path, table, attributes=tuple(values)).column("attributes").combine_chunks()
    assert carried.type == pa.struct([(name, plain) for name, (_, plain) in values.items()])
    for name, (array, _) in values.items():
        assert repr(pc.struct_field(carried, name).to_pylist()) == repr(array.to_pylist())


def test_what_is_searched_is_carried_as_it_was_written(tmp_path: Path) -> None:
    """A column that is text and attribute is cleaned for the tower alone; null stays null, and blank is not null."""
    titles = ["<b>tea</b>", "jam &amp; bun", None, "Acme™", " "]
    table = pa.table({"id": list("abcde"), "title": titles})
    unit = read(tmp_path, table, attributes=("title",), image=None)
    assert [row["title"] for row in unit.column("attributes").to_pylist()] == titles
    assert unit.column("text").to_pylist() == ["tea", "jam & bun", None, "AcmeTM", None]


# --- photos ---


def struct_list(values: list[Any], item: pa.DataType = PHOTO, large: bool = False) -> pa.Array:
    return pa.array(values, pa.large_list(item) if large else pa.list_(item))


ONLY_BYTES = pa.struct([("bytes", pa.large_binary())])
PHOTO_COLUMNS = {
    "paths": (pa.array(["a", " ", None]), [[(None, "a")], None, None]),
    "bytes": (pa.array([b"1", b"", None]), [[(b"1", None)], None, None]),
    "binary_view": (pa.array([b"1", b"2", None], pa.binary_view()), [[(b"1", None)], [(b"2", None)], None]),
    "structs": (
        pa.array([{"bytes": b"1", "path": "a"}, {"bytes": None, "path": "b"}, None], PHOTO),
        [[(b"1", "a")], [(None, "b")], None],
    ),
    "structs_without_path": (
        pa.array([{"bytes": b"1"}, {"bytes": None}, None], ONLY_BYTES),
        [[(b"1", None)], None, None],
    ),
    "lists": (pa.array([["a", None, "b"], [], None]), [[(None, "a"), (None, "b")], None, None]),
    "lists_of_structs": (
        struct_list([[{"bytes": b"1", "path": "a"}, None], None, [{"bytes": None, "path": "c"}]]),
        [[(b"1", "a")], None, [(None, "c")]],
    ),
    "large_lists": (
        struct_list([[{"bytes": b"1"}, {"bytes": b"2"}], None, []], ONLY_BYTES, large=True),
        [[(b"1", None), (b"2", None)], None, None],
    ),
}


def pairs(unit: pa.Table) -> list[Any]:
    rows = unit.column("photos").to_pylist()
    return [row and [(photo["bytes"], photo["path"]) for photo in row] for row in rows]


@pytest.mark.parametrize("what", PHOTO_COLUMNS)
def test_photos_come_as_paths_bytes_structs_and_lists(tmp_path: Path, what: str) -> None:
    """Every form of a photo column gives the photos of each row in order, and null where there is none."""
    column, want = PHOTO_COLUMNS[what]
    assert pairs(read(tmp_path, products(image_link=column))) == want


def test_more_images_follow_the_main_one(tmp_path: Path) -> None:
    """The photos of additional_image_link come after that of image_link, of other forms too, and stand in for it."""
    more = struct_list(
        [[{"bytes": b"1", "path": "a2"}], [{"bytes": None, "path": "b2"}, {"bytes": b"3", "path": None}], None]
    )
    unit = read(tmp_path, products(additional_image_link=more), more_images="additional_image_link")
    assert pairs(unit) == [[(None, "a.jpg"), (b"1", "a2")], [(None, "b2"), (b"3", None)], [(None, "c.jpg")]]


# --- rows that are refused ---


def test_reasons_of_rejects_and_their_order(tmp_path: Path) -> None:
    """Of several faults a row has one reason: not UTF-8, then no id, then a repeated id, then nothing to embed."""
    table = pa.table(
        {
            "id": ["a", None, " ", "b", None, "c", "d"],
            "title": not_utf8(b"tea", b"\xff", b"jam", b"bun", None, None, b"\x00"),
            "image_link": ["a.jpg", None, None, None, None, None, None],
        }
    )
    unit = read(tmp_path, table, duplicates=(1, 3, 5))
    want = [None, "invalid_text", "missing_id", "duplicate_id", "missing_id", "duplicate_id", "no_modality"]
    assert unit.column("reject").to_pylist() == want


@pytest.mark.parametrize("name", ["id", "title", "product_type", "version", "brand", "tags"])
def test_text_that_is_not_utf8_rejects_its_row_where_it_counts(tmp_path: Path, name: str) -> None:
    """In id, text, partition or version the row is `invalid_text`; an attribute is null and the row is kept."""
    plain = pa.array(["a", "b", "c"])
    columns = {"product_type": plain, "version": plain, "brand": plain, "tags": pa.array([["x"], None, ["y"]])}
    wrong = not_utf8(b"a", b"caf\xe9", b"c")
    table = products(**columns)
    at = table.schema.get_field_index(name)
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), wrong)
    table = table.set_column(at, name, lists if name == "tags" else wrong)
    keys = {"partition": "product_type", "version_column": "version", "attributes": ("brand", "tags")}
    path = write_catalog(tmp_path / "one.parquet", table)
    unit = read_unit(str(path), [0], 0, (), settings(**keys), LIMIT)
    carried = name in ("brand", "tags")
    assert unit.column("reject").to_pylist() == [None, None if carried else "invalid_text", None]
    if carried:
        want = [["a"], None, ["c"]] if name == "tags" else ["a", None, "c"]
        assert [row[name] for row in unit.column("attributes").to_pylist()] == want


def test_a_photo_path_that_is_not_utf8_costs_the_photo_only(tmp_path: Path) -> None:
    """The row keeps a photo that cannot be found, so that it is degraded and not quietly without a photo."""
    unit = read(tmp_path, products(image_link=not_utf8(b"a.jpg", b"caf\xe9.jpg", None)))
    assert pairs(unit) == [[(None, "a.jpg")], [(None, "caf\\xe9.jpg")], None]
    assert unit.column("reject").to_pylist() == [None, None, None]


@pytest.mark.parametrize(
    ("levels", "want"),
    [(1, ["Fruit", "Fruit", "_none", "_none", "Veg"]), (2, ["Fruit > Apple", "Fruit", "_none", "_none", "Veg > Root"])],
)
def test_partitions_are_the_first_levels_of_a_path(tmp_path: Path, levels: int, want: list[str]) -> None:
    """White space does not count, deeper levels are cut, null and blank are `_none`."""
    paths = ["Fruit>Apple > Red", " Fruit ", None, " > ", "Veg >\tRoot"]
    table = pa.table({"id": list("abcde"), "title": ["x"] * 5, "image_link": ["y"] * 5, "product_type": paths})
    unit = read(tmp_path, table, partition="product_type", partition_levels=levels)
    assert unit.column("partition").to_pylist() == want


def test_long_text_is_cut_after_it_is_cleaned(tmp_path: Path) -> None:
    """max_text_chars counts characters of each cleaned column."""
    unit = read(tmp_path, products(title=["<b>" + "é" * 50, "jam", None]), max_text_chars=20)
    assert unit.column("text").to_pylist() == ["é" * 20, "jam", None]


# --- elsewhere than on a local disk ---


def test_a_catalog_and_its_photos_in_a_bucket(tmp_path: Path, demo: Path) -> None:
    """fsspec URLs give the same rows and vectors as the local files they are copies of."""
    bucket = fsspec.filesystem("memory")
    bucket.put(str(demo), f"/{tmp_path.name}", recursive=True)
    url = f"memory://{tmp_path.name}"

    def embedded(catalog: str, root: str) -> list[Any]:
        more = [
            f"catalog.path={catalog}",
            f"catalog.image_root={root}",
            f"store.path={tmp_path}/store",
            "shards.unit_rows=30",
        ]
        units = fused_units(load_config("configs/weightless.yaml", more, {}).config)
        return [table.drop_columns(["photo_fingerprint"]).to_pylist() for _, table in units]

    remote = embedded(f"{url}/catalog", url)
    assert remote == embedded(str(demo / "catalog"), str(demo))
    assert sum(map(len, remote)) == 120
    assert {row["degraded"] for unit in remote for row in unit} == {None}
    assert embedded(f"{url}/catalog/*.parquet", f"file://{tmp_path}")[0][0]["degraded"] == "image_not_found"
    bucket.rm(f"/{tmp_path.name}", recursive=True)


@given(
    st.lists(
        st.none()
        | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
        | st.text("ab ，！＆＜红色、。&<;é\u3000\t\n", max_size=30),
        max_size=20,
    ),
    st.integers(1, 20),
)
def test_a_column_is_cleaned_as_its_texts_are_one_by_one(texts: list[str | None], max_chars: int) -> None:
    """Cleaning a whole column with Arrow gives what clean_text gives for each of its texts."""
    found = columns.cleaned(pa.array(texts, pa.string()), max_chars).to_pylist()
    assert found == [clean_text(text or "", max_chars) for text in texts]


@given(st.lists(st.lists(st.sampled_from(["", "a", "红", "b c"]), min_size=3, max_size=3), max_size=8))
def test_columns_are_joined_as_their_rows_are(rows: list[list[str]]) -> None:
    """Joining whole columns gives what joining the non-empty texts of each row gives; null where there is none."""
    arrays = [pa.array([row[i] for row in rows], pa.string()) for i in range(3)]
    found = columns.joined(arrays, len(rows)).to_pylist()
    assert found == ["\n".join(filter(None, row)) or None for row in rows]
