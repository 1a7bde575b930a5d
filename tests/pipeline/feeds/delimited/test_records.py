"""CSV and its kin through the command: every dialect comes back equal, and what is broken costs only itself."""

from __future__ import annotations

import contextlib
import csv
import io
import random
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foundation.errors import InputError
from pipeline.feeds import import_feed
from pipeline.feeds.delimited import records, text_encoding
from pipeline.feeds.source import FeedFile
from pipeline.feeds.syntax.base import ReadOptions
from pipeline.feeds.syntax.delimited import Syntax
from tests.support.command import told
from tests.support.feeds import column, import_rows, import_text

TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\0\ufdd0\ufdd1"), max_size=8
)
ODD = st.lists(st.sampled_from(["a", '"', "'", ",", ";", "\t", "\n", "\r\n", "é", " ", '5" x', '""']), max_size=5).map(
    "".join
)


def read_back(raw: bytes, options: ReadOptions) -> tuple[list[list[str]], list[Any], Syntax]:
    """(records, bad rows, the syntax) of a file of these bytes."""
    syntax = Syntax(FeedFile("feed", lambda: io.BytesIO(raw), len(raw), None), options)
    found, bad = list[list[str]](), list[Any]()
    for rows in syntax.read():
        columns = [one.to_pylist() for one in rows.batch.columns]
        found += [[value or "" for value in row] for row in zip(*columns, strict=True)]
        bad += rows.bad
    return found, bad, syntax


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(TEXTS | ODD, min_size=3, max_size=3), min_size=1, max_size=12),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "gb18030"]),
    block=st.sampled_from([7, 64, 2**22]),
)
def test_what_pythons_csv_writes_comes_back_equal(
    rows: list[list[str]], delimiter: str, quoting: int, end: str, encoding: str, block: int, monkeypatch: Any
) -> None:
    """Any delimiter, quoting, end of line, encoding and place where a block ends: the values are those written."""
    rows = [[f"id{n}", *row[1:]] for n, row in enumerate(rows)]
    if end == "\n" and quoting == csv.QUOTE_MINIMAL:  # before 3.13 Python does not quote a carriage return there
        rows = [[value.replace("\r", "") for value in row] for row in rows]
    written = io.StringIO(newline="")
    writer = csv.writer(written, delimiter=delimiter, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    writer.writerow(["id", "title", "brand"])
    writer.writerows(rows)
    monkeypatch.setattr(text_encoding, "BLOCK_BYTES", block)
    options = ReadOptions(encoding=None if "utf" in encoding else encoding, delimiter=delimiter, quote='"')
    found, bad, _ = read_back(written.getvalue().encode(encoding), options)
    assert not bad
    assert found == rows


@settings(max_examples=60)
@given(
    rows=st.lists(st.lists(ODD, min_size=2, max_size=2), min_size=3, max_size=12),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_the_dialect_is_found(rows: list[list[str]], delimiter: str, encoding: str) -> None:
    """Where records have five values, the delimiter that separates them is found whatever stands inside of them."""
    rows = [[f"id{n}", "x", *row, "y"] for n, row in enumerate(rows)]
    written = io.StringIO(newline="")
    writer = csv.writer(written, delimiter=delimiter)
    writer.writerow(["id", "link", "title", "brand", "color"])
    writer.writerows(rows)
    found, bad, syntax = read_back(written.getvalue().encode(encoding), ReadOptions())
    assert not bad
    assert syntax.found["quotes"] in ("double", "none")
    assert found == rows


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), block=st.sampled_from([50, 2**22]))
def test_a_line_that_is_cut_or_opened_costs_itself_alone(seed: int, block: int) -> None:
    """Of records with quoted lines some lose their last quote or a value: those are bad rows, all others are there."""
    rng = random.Random(seed)
    lines, good, broken = ["id,title,brand\n"], list[list[str]](), 0
    for n in range(60):
        title = rng.choice(["plain", "with, comma", "two\nlines", 'a "quote"', ""])
        text = title.replace('"', '""')
        if title == "plain" and rng.random() < 0.2:
            lines.append(rng.choice([f'{n},"broken {n},b\n', f"{n},too few\n", f'{n},"a"b"c",b\n', f"{n},a,b,c\n"]))
            broken += 1
        else:
            lines.append(f'{n},"{text}",b\n')
            good.append([str(n), title, "b"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_encoding, "BLOCK_BYTES", block)
        found, bad, _ = read_back("".join(lines).encode(), ReadOptions(delimiter=",", quote='"'))
    assert found == good
    assert len(bad) == broken
    starts = {line.partition(",")[0]: number for number, line in _starts(lines)}
    assert [one.line for one in bad] == [starts[str(one.row - 1)] for one in bad]


def _starts(lines: list[str]) -> list[tuple[int, str]]:
    """(line of the file where it begins, record)."""
    found, line = [], 1
    for record in lines:
        found.append((line, record))
        line += record.count("\n")
    return found


def test_a_broken_quote_far_down_is_one_bad_row_with_its_row_and_line(tmp_path: Path) -> None:
    """Behind it nothing is lost; `--bad-rows stop` ends there, and says what was expected."""
    lines = [f'{n},"title {n}",b' for n in range(1, 90_001)]
    lines[80_000] = '80001,"title 80001,b'
    text = "id,title,brand\n" + "\n".join(lines) + "\n"
    rows, report = import_rows(tmp_path, text)
    assert len(rows) == 89_999
    assert report["rejected"] == {"bad_row": 1}
    (example,) = report["examples"]
    assert (example["row"], example["line"], example["came"]) == (80_001, 80_002, "'80001,\"title 80001,b'")
    stopped = import_text(tmp_path, text, "--bad-rows", "stop")
    assert stopped.exit_code == 2
    expected, came, fix = told(stopped.stderr)
    assert expected.startswith('" to close a value that one opens')
    assert "row 80,001, line 80,002" in came
    assert "--bad-rows skip" in fix


@pytest.mark.parametrize("between", [0, 1, 40])
def test_two_stray_quotes_do_not_join_the_rows_between_them(between: int, tmp_path: Path) -> None:
    """One opens a title, another ends one further down: together they are a value of lines that are rows."""
    lines = [f"{n}\ttitle {n}\thttp://x/{n}\ti.jpg" for n in range(100)]
    lines[20] = '20\t"open\thttp://x/20\ti.jpg'
    lines[21 + between] = f'{21 + between}\tscreen of 55"\thttp://x/21\ti.jpg'
    lines[90] = '90\t"two lines,\nof one title"\thttp://x/90\ti.jpg'
    rows, report = import_rows(tmp_path, "id\ttitle\tlink\timage_link\n" + "\n".join(lines), "--quote", "double")
    assert column(rows, "id") == [str(n) for n in range(100) if n != 20]
    assert report["rejected"] == {"bad_row": 1}
    assert (report["examples"][0]["row"], report["examples"][0]["line"]) == (21, 22)
    assert rows[89]["title"].split() == ["two", "lines,", "of", "one", "title"]


def test_a_quote_that_is_never_closed_does_not_swallow_what_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no other quote follows for longer than a record may be."""
    monkeypatch.setattr(records, "MOST_RECORD_BYTES", 2_000)
    monkeypatch.setattr(text_encoding, "BLOCK_BYTES", 1_000)
    lines = [f"{n},title number {n}" for n in range(1_000)]
    lines[3] = '3,"open'
    rows, report = import_rows(tmp_path, "id,title\n" + "\n".join(lines), "--quote", "double")
    assert column(rows, "id") == [str(n) for n in range(1_000) if n != 3]
    assert report["rejected"] == {"bad_row": 1}


def test_lines_that_do_not_decode_are_bad_rows(tmp_path: Path) -> None:
    """In a feed of UTF-8 a few of Latin-1 are counted, with what stood there."""
    lines = [f"{n},café {n}".encode() for n in range(30)]
    lines[7] = b"7,caf\xe9 7"
    rows, report = import_rows(tmp_path, b"id,title\n" + b"\n".join(lines))
    assert column(rows, "title") == [f"café {n}" for n in range(30) if n != 7]
    (example,) = report["examples"]
    assert (example["row"], example["line"], example["came"]) == (8, 9, r"title: 'caf\xe9 7'")
    assert report["found"]["encoding"] == "utf-8"


def test_files_of_two_encodings_that_were_joined_are_both_read(tmp_path: Path) -> None:
    """Lines of UTF-8 in a feed most of which is of a code page are no mojibake."""
    parts = [f"{n},Größe für Küche {n}\n".encode("cp1252" if n % 3 else "utf-8") for n in range(60)]
    rows, report = import_rows(tmp_path, b"id,title\n" + b"".join(parts))
    assert column(rows, "title") == [f"Größe für Küche {n}" for n in range(60)]
    assert report["found"]["encoding"] == "cp1252 and utf-8"


def test_the_encoding_is_found_also_where_it_shows_late(tmp_path: Path) -> None:
    """A feed whose first megabyte is ASCII is read by what its first other letters are."""
    words = ["Küche", "Öl für Möbel", "Grüße aus Köln", "weiß", "Stühle", "Gewürze", "Bücher über Fußböden"]
    lines = [f"{n},plain" for n in range(40_000)] + [f"x{n},{words[n % 7]} und {words[n % 5]}" for n in range(200)]
    rows, report = import_rows(tmp_path, ("id,title\n" + "\n".join(lines)).encode("cp1252"))
    assert rows[-1]["title"] == f"{words[199 % 7]} und {words[199 % 5]}"
    assert not report["rejected"]


def test_what_excel_writes_is_read(tmp_path: Path) -> None:
    """Its `sep=` line, semicolons, carriage returns, decimal commas, in the code page of its country."""
    text = (
        "sep=;\r\nid;title;price\r\n1;Kücheninsel grün;1.299,00 €\r\n2;Öllampe für draußen;8,50 €\r\n3;Bürste;1.250\r\n"
    )
    rows, report = import_rows(tmp_path, text.encode("cp1252"), "--encoding", "cp1252")
    assert column(rows, "title") == ["Kücheninsel grün", "Öllampe für draußen", "Bürste"]
    assert [str(one) for one in column(rows, "price")] == ["1299.0000", "8.5000", "1250.0000"]
    assert column(rows, "price_currency") == ["EUR", "EUR", None]
    assert report["found"] == {"encoding": "cp1252", "delimiter": "semicolon", "quotes": "double", "decimal_mark": ","}


def test_old_ends_of_lines_and_three_hundred_columns(tmp_path: Path) -> None:
    """Carriage returns alone end lines where there is nothing else; columns are as many as there are."""
    names = ["id", *(f"extra {n}" for n in range(299))]
    text = "\r".join([",".join(names), *(",".join([str(row), *["v"] * 299]) for row in range(5))])
    rows, report = import_rows(tmp_path, text)
    assert len(rows) == 5
    assert len(rows[0]) == 300
    assert len(report["carried"]) == 299


def test_inches_in_a_table_without_quoting_are_characters(tmp_path: Path) -> None:
    """A TSV whose values begin with quotes that nobody closes has none: they are kept as they are."""
    lines = "\n".join(f'{n}\t"Best" pan of {n}" width\tblack' for n in range(30))
    rows, report = import_rows(tmp_path, f"id\ttitle\tcolor\n{lines}\n", name="feed.tsv")
    assert report["found"]["quotes"] == "none"
    assert rows[3]["title"] == '"Best" pan of 3" width'
    assert not report["rejected"]


PIECES = [
    b"1,a,2\n",
    b'"',
    b"'",
    b",",
    b";",
    b"\t",
    b"\n",
    b"\r",
    b"\0",
    b"\xe9",
    "é\ufeff".encode(),
    b"12,50",
    b"<b>x</b>",
    b"{",
]


@settings(max_examples=150)
@given(
    raw=st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=30).map(b"".join),
    named=st.booleans(),
    block=st.sampled_from([5, 64, 2**22]),
)
def test_no_bytes_end_an_import_but_by_its_own_words(raw: bytes, named: bool, block: int) -> None:
    """Whatever a file holds: a catalog, bad rows, or an error in three parts."""
    raw = b"id,title,price,image\n" + raw if named else raw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_encoding, "BLOCK_BYTES", block)
        patch.setattr(import_feed, "find_feed", lambda _: [FeedFile("feed", lambda: io.BytesIO(raw), len(raw), None)])
        with contextlib.suppress(InputError):
            report = import_feed.import_feed(import_feed.ImportRequest("feed", None), lambda *_: None)
            assert report.rows_written + sum(report.rejected.values()) == report.rows_read


def test_a_long_value_of_many_lines_beside_a_broken_quote_is_read(tmp_path: Path) -> None:
    """Where records are told apart one by one, a value may be as long as elsewhere."""
    long = "\n".join(["x" * 1000] * 300)
    rows, report = import_rows(tmp_path, f'id,title,brand\n1,"a",b\n2,"{long}",b\n3,"broken,b\n4,"ok",b\n')
    assert column(rows, "title") == ["a", long, "ok"]
    assert [(one["row"], one["line"]) for one in report["examples"]] == [(3, 303)]


def test_the_line_of_names_again_is_no_item(tmp_path: Path) -> None:
    """Where files were put together, mark of their encoding and all; an item that has one name alone stays."""
    text = "id,title\n1,a\nid,mine\n\ufeffid,title\n2,b\nid,title\n3,c\n"
    rows, report = import_rows(tmp_path, text)
    assert [(row["id"], row["title"]) for row in rows] == [("1", "a"), ("id", "mine"), ("2", "b"), ("3", "c")]
    assert [(one["row"], one["line"], one["came"]) for one in report["examples"]] == [
        (3, 4, "the line of names again"),
        (5, 6, "the line of names again"),
    ]


def test_a_stray_line_before_all_others_decides_nothing(tmp_path: Path) -> None:
    """A feed of UTF-8 whose first letter beyond ASCII is one of Latin-1, a megabyte before the rest, is UTF-8."""
    lines = [b"0,caf\xe9", *[b"%d,plain" % n for n in range(1, 600_000)], *[f"{n}x,café".encode() for n in range(90)]]
    rows, report = import_rows(tmp_path, b"id,title\n" + b"\n".join(lines))
    assert rows[-1]["title"] == "café"
    assert report["found"]["encoding"] == "cp1252 and utf-8"


def test_a_value_longer_than_what_tells_the_dialect_is_one(tmp_path: Path) -> None:
    """A first item with half a megabyte of lines in quotes does not make quotes characters as any."""
    long = "<p>warm</p>\n" * 50_000
    rows, report = import_rows(tmp_path, f'id,title\n1,"{long}"\n2,"red, and blue"\n')
    assert column(rows, "id") == ["1", "2"]
    assert rows[1]["title"] == "red, and blue"
    assert report["found"]["quotes"] == "double"


def test_places_of_many_bad_rows_take_no_time_of_their_own(tmp_path: Path) -> None:
    """A feed whose every second row is bad is read about as fast as one of good rows, and each has its place."""
    lines = [f"{n},a title of a product" + ",red" * (n % 2) for n in range(1, 130_001)]
    began = time.process_time()
    _, report = import_rows(tmp_path, "id,title,color\n" + "\n".join(lines))
    assert time.process_time() - began < 6  # s; it takes about 1.5, and 45 where each is looked for by itself
    assert report["rejected"] == {"bad_row": 65_000}
    assert [one["line"] for one in report["examples"]] == [3, 5, 7, 9, 11]
