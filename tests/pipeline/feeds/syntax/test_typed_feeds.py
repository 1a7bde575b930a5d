"""JSON lines and documents from the door, and tables."""

from __future__ import annotations

import gzip
import io
import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from tests.support.command import told, vitrine
from tests.support.feeds import column, import_rows, import_text, imported

ROWS = [
    {"id": n, "title": f"lämp {n}", "price": f"{n}.50 EUR", "tags": ["a", "b"] if n % 2 else "a"} for n in range(50)
]


def test_lines_and_documents_are_told_apart(tmp_path: Path) -> None:
    """A list, an object around it, lines, one line alone, an object whose lists are no items: by what they hold."""
    lines = "\n".join(map(json.dumps, ROWS))
    texts = {
        "lines": (lines, "json_lines", 50),
        "packed": (gzip.compress(lines.encode()), "json_lines", 50),
        "one line": (json.dumps(ROWS[0]), "json_lines", 1),
        "a list": (json.dumps(ROWS), "json_document", 50),
        "a pretty list": (json.dumps(ROWS, indent=2), "json_document", 50),
        "inside": (json.dumps({"total": 50, "items": ROWS}), "json_document", 50),
        "inside, with odd ones": (json.dumps({"items": [*ROWS, None, "odd"]}), "json_document", 50),
        "pages": (
            "\n".join(json.dumps({"items": ROWS[at : at + 10]}, indent=1) for at in range(0, 50, 10)),
            "json_document",
            50,
        ),
        "lists in a line": (json.dumps({"id": "1", "title": "a", "variants": [{"id": "2"}]}), "json_lines", 1),
        "utf-16": (lines.encode("utf-16"), "json_lines", 50),
    }
    for name, (text, syntax, count) in texts.items():
        (tmp_path / name).mkdir()
        rows, report = import_rows(tmp_path / name, text, name="feed.bin")
        assert (name, report["syntax"], len(rows)) == (name, syntax, count)
        assert column(rows, "id")[0] in ("0", "1")


def test_a_document_on_one_line_whose_items_lie_deep_says_what_to_do(tmp_path: Path) -> None:
    """It is no item: a map names where they are, and reads them."""
    text = json.dumps({"data": {"items": ROWS}})
    done = import_text(tmp_path, text)
    assert done.exit_code == 2
    assert told(done.stderr)[2] == "say `items:` in a map"
    own = tmp_path / "own.yaml"
    own.write_text("extends: jsonl\nsyntax: json_document\nitems: data.items\n")
    assert len(import_rows(tmp_path, text, "--as", own)[0]) == 50


def test_a_line_that_is_no_object_is_a_bad_row(tmp_path: Path) -> None:
    """Counted, with its row and line; `--bad-rows stop` writes nothing."""
    good = [json.dumps(one, ensure_ascii=False).encode() for one in ROWS]
    raw = b"\n".join(
        [*good[:3], b'{"id": "broken', b"", *good[3:6], b"[1, 2]", b'{"id": "\xff", "title": "t"}', *good[6:]]
    )
    rows, report = import_rows(tmp_path, raw, name="feed.jsonl")
    assert len(rows) == 50
    assert report["rejected"] == {"bad_row": 3}
    assert [(one["row"], one["line"]) for one in report["examples"]] == [(4, 4), (8, 9), (9, 10)]
    done = import_text(tmp_path, raw, "--bad-rows", "stop", name="feed.jsonl")
    assert done.exit_code == 2
    assert "row 4, line 4" in told(done.stderr)[1]


@pytest.mark.parametrize("shape", ['{"a":', "[", '[{"a":'])
def test_items_that_nest_without_end_are_bad_rows(shape: str, tmp_path: Path) -> None:
    """In lines and in documents; those beside them are read."""
    ends = {"[": "]", "{": "}"}
    for depth in (150, 400, 800):
        closing = "".join(ends[one] for one in reversed(shape * depth) if one in ends)
        odd = f'{{"id": "odd", "x": {shape * depth}1{closing}}}'
        for text in (f'{{"id": 1}}\n{odd}\n{{"id": 2}}', f'[{{"id": 1}}, {odd}, {{"id": 2}}]'):
            if depth * shape.count("[") + depth * shape.count("{") > 900 and text[0] == "[":
                continue  # no parser follows, and nobody could say where the next item begins
            rows, report = import_rows(tmp_path, text, name="feed.json")
            assert (column(rows, "id"), report["rejected"]) == (["1", "2"], {"bad_row": 1})


def test_names_that_are_no_text_are_read(tmp_path: Path) -> None:
    """Half a surrogate pair in a key, of an item or inside of one."""
    text = '{"id": 1, "\\ud800": "x", "a": {"\\udfff": "y"}}\n{"id": 2, "a": {"b": "z"}}'
    rows, _ = import_rows(tmp_path, text, name="feed.jsonl")
    assert (rows[0]["\ufffd"], rows[1]["a"]) == ("x", '{"b": "z"}')


def test_a_column_that_only_later_items_have_is_counted(tmp_path: Path) -> None:
    """What the map names is taken whenever it comes; what nobody names and the head lacks is said."""
    lines = [json.dumps({"id": str(n), "title": "x" * 2_000}) for n in range(400)]
    lines.append(json.dumps({"id": "last", "brand": "Late", "mood": "blue"}))
    rows, report = import_rows(tmp_path, "\n".join(lines), name="feed.jsonl")
    assert rows[-1]["brand"] == "Late"
    assert "mood" not in rows[-1]
    assert report["late"] == {"mood": 1}


@pytest.mark.parametrize("given", ["auto", "shopify"])
def test_however_pages_are_put_together_they_are_the_same_products(given: str, tmp_path: Path) -> None:
    """One after the other, in a list as `jq -s` makes, as the products alone, and a product a line."""
    made = [
        {"id": n, "handle": f"h{n}", "title": f"T{n}", "body_html": "", "variants": [{"price": f"{n}.00"}]}
        for n in range(1, 4)
    ]
    pages = [json.dumps({"products": made[:2]}), json.dumps({"products": made[2:]}), json.dumps({"products": []})]
    written = ["".join(pages), f"[{','.join(pages)}]", json.dumps(made), "\n".join(map(json.dumps, made))]
    for text in written:
        rows, report = import_rows(tmp_path, text, "--as", given, name="products.json")
        assert (report["map"], column(rows, "id")) == ("shopify", ["h1", "h2", "h3"])
        assert [int(price) for price in column(rows, "price")] == [1, 2, 3]
    done = import_text(tmp_path, pages[0] + '{"errors": "throttled"}', "--as", given, name="products.json")
    assert done.exit_code == 2  # a page that is none is no end of the feed


def test_pages_of_products_json_are_one_feed(tmp_path: Path) -> None:
    """Several files, or several documents in one."""
    page = json.dumps({"products": [{"handle": "a", "title": "A", "body_html": "", "variants": [{"price": "1.00"}]}]})
    (tmp_path / "1.json").write_text(page)
    (tmp_path / "2.json").write_text(page.replace('"a"', '"b"') + page.replace('"a"', '"c"'))
    rows, report = imported(f"{tmp_path}/*.json", tmp_path / "shop")
    assert column(rows, "id") == ["a", "b", "c"]
    assert report["map"] == "shopify"


TABLE = pa.table(
    {
        "sku": pa.array([1, 2, 3], pa.int64()),
        "name": pa.array(["a", "b", None]).dictionary_encode(),
        "price": pa.array([1.5, 20.25, None]),
        "raw": pa.array([b"x", b"y", b"z"]),
        "more": pa.array([["p", "q"], [], None], pa.list_(pa.string())),
    }
)


@pytest.mark.parametrize("kind", ["parquet", "file", "stream", "feather"])
def test_typed_tables_want_a_map_as_texts_do(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parquet, Arrow's file and stream, from a path and from stdin."""
    sink = io.BytesIO()
    if kind == "parquet":
        pq.write_table(TABLE, sink)
    elif kind == "feather":
        pyarrow.feather.write_feather(TABLE, sink)
    else:
        make = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
        with make(sink, TABLE.schema) as writer:
            writer.write_table(TABLE)
    rows, _ = import_rows(tmp_path, sink.getvalue(), name="feed.bin")
    assert [(row["id"], row["title"], str(row["price"]), row["raw"], row["more"]) for row in rows] == [
        ("1", "a", "1.5000", "x", "p, q"),
        ("2", "b", "20.2500", "y", None),
        ("3", None, "None", "z", None),
    ]
    stdin = io.TextIOWrapper(io.BytesIO(gzip.compress(sink.getvalue())))
    monkeypatch.setattr("pipeline.feeds.source.sys", type("Sys", (), {"stdin": stdin}))
    piped, _ = imported("-", tmp_path / "piped")
    assert piped == rows
    done = import_text(tmp_path, sink.getvalue()[: len(sink.getvalue()) // 2], name="cut.bin")
    assert done.exit_code == 2
    assert "a table that is whole" in done.stderr


def test_every_type_of_a_table_is_a_text_or_what_the_map_says(tmp_path: Path) -> None:
    """Ids in floats have all of their digits, prices of 32 bits their cents, NaN is no value, a map is its JSON."""
    table = pa.table(
        {
            "id": pa.array([9007199254740991.0, 2.5]),
            "title": pa.array([float("nan"), 7.0]),
            "price": pa.array([12.99, 123456.78], pa.float32()),
            "sale_price": pa.array([Decimal("5.000"), Decimal("1.299")], pa.decimal128(10, 3)),
            "rating": pa.array([float("nan"), 4.5]),
            "facts": pa.array([[("a", "b")], None], pa.map_(pa.string(), pa.string())),
        }
    )
    pq.write_table(table, tmp_path / "feed.parquet")
    rows, report = imported(tmp_path / "feed.parquet", tmp_path / "shop")
    assert column(rows, "id") == ["9007199254740991", "2.5"]
    assert column(rows, "title") == [None, "7"]
    assert [str(one) for one in column(rows, "price")] == ["12.9900", "123456.7800"]
    assert column(rows, "sale_price") == [Decimal(5), Decimal("1.299")]
    assert column(rows, "rating") == [None, 4.5]
    assert column(rows, "facts") == ['{"a": "b"}', None]
    assert not report["examples"]


def test_a_table_whose_texts_are_damaged_is_refused(tmp_path: Path) -> None:
    """Where no checksum says so: what is no UTF-8 in a column of texts."""
    pq.write_table(
        pa.table({"id": ["1"], "title": ["a fine title"]}),
        tmp_path / "feed.parquet",
        compression="none",
        use_dictionary=False,
    )
    raw = (tmp_path / "feed.parquet").read_bytes().replace(b"a fine title", b"a \xffine title")
    done = import_text(tmp_path, raw, name="feed.parquet")
    assert done.exit_code == 2
    assert told(done.stderr)[0] == "a table that is whole"


def test_a_column_that_a_table_has_twice_is_refused(tmp_path: Path) -> None:
    """As in a CSV: nobody knows which of the two counts."""
    pq.write_table(pa.table([["1"], ["a"], ["b"]], names=["id", "title", "title"]), tmp_path / "feed.parquet")
    done = vitrine("import", tmp_path / "feed.parquet", "--to", tmp_path / "shop")
    assert done.exit_code == 2
    assert told(done.stderr)[:2] == ("a column title once", "title, title (2), for title")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """With the column, and that such a table is a catalog already."""
    pq.write_table(pa.table({"sku": ["1"], "photo": [b"\xff\xd8\xff"]}), tmp_path / "feed.parquet")
    done = vitrine("import", tmp_path / "feed.parquet", "--to", tmp_path / "shop")
    assert done.exit_code == 2
    assert "texts and numbers in photo" in done.stderr
