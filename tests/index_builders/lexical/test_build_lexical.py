"""A lexical index as it is built: the same bytes however rows come, in bounded memory, nothing left behind."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import InputError
from index_builders.lexical import build, merge
from index_builders.lexical.build import build_lexical
from lookup.lexical.analysis import Analysis
from tests.support.lexical_indexes import TITLE, asked, block, found, index_of, opened, titles

ROWS = titles("Red shoe 15", None, "", "iPhone-15 case", "牛仔裤 15寸", "Red RED red", "🎧", "Café 2.50")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that lies in a folder, and below it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("cut", [1, 3])
@pytest.mark.parametrize("rows_of_a_run", [1, 2, 50_000])
def test_bytes_do_not_depend_on_how_rows_come(
    cut: int, rows_of_a_run: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks cut otherwise, and runs and merges of other sizes, give the files of one block of all rows."""
    index_of(ROWS, tmp_path / "whole")
    monkeypatch.setattr(build, "_ROWS", rows_of_a_run)
    monkeypatch.setattr(build, "_BYTES", 40)
    monkeypatch.setattr(merge, "_AT_ONCE", 3)
    (tmp_path / "cut").mkdir()
    blocks = [block(ROWS[at : at + cut]) for at in range(0, len(ROWS), cut)]
    build_lexical([block([]), *blocks], ["title"], Analysis(), tmp_path / "cut")
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    assert len(contents(tmp_path / "whole")) == 6


def test_what_was_built_is_told(tmp_path: Path) -> None:
    """Rows, terms, postings, words, bytes and mean lengths of rows that have any are those of the texts."""
    fields = {"title": 1.0, "brand": 1.0}
    rows = [{"title": "red red shoe", "brand": None}, {"title": "blue shoe 7", "brand": "acme"}]
    built = build_lexical([block(rows, fields)], list(fields), Analysis(), tmp_path)
    assert (built.rows, built.terms, built.postings, built.words) == (2, 6, 7, 4)  # acme blue red shoe 7 shoe7
    assert built.mean_length == {"title": 3.0, "brand": 1.0}
    assert built.bytes == sum(map(len, contents(tmp_path).values()))


def test_a_partition_without_a_word_is_an_index_that_finds_nothing(tmp_path: Path) -> None:
    """No rows, and rows of nulls and marks, are indexes like others."""
    for name, rows in (("none", []), ("empty", titles(None, "", "!?"))):
        index = index_of(rows, tmp_path / name)
        assert index.rows == len(rows)
        assert found("red shoe", index) == []
        assert found("", index) == []


def test_fields_are_named_once(tmp_path: Path) -> None:
    """No field, or one twice, is refused."""
    for fields in ([], ["title", "title"]):
        with pytest.raises(InputError, match="fields of a lexical index"):
            build_lexical([block(ROWS)], fields, Analysis(), tmp_path)


def test_long_fields_and_frequent_words_are_counted_as_far_as_counts_go(tmp_path: Path) -> None:
    """A word 300 times counts 255 times, and a field of 300 words is as long as it is."""
    index = index_of(titles("red " * 300, "red"), tmp_path / "index")
    assert index.files.counts[:, 0].tolist() == [255, 1]
    assert index.files.lengths[:, 0].tolist() == [300, 1]
    assert found("red", index) == [0, 1]


@settings(max_examples=60)
@given(texts=st.lists(st.text(max_size=30) | st.none(), min_size=1, max_size=8))
def test_texts_of_any_script_are_found_by_themselves(texts: list[str | None]) -> None:
    """Whatever characters a text has, it is indexed, and found by its own words where it has some."""
    with tempfile.TemporaryDirectory() as folder:
        rows = titles(*texts)
        built = build_lexical([block(rows)], ["title"], Analysis(), Path(folder))
        index = opened(built, Path(folder), TITLE, Analysis())
        for at, text in enumerate(texts):
            query, statistics = asked(text or "", [index])
            if Analysis().terms(text or "", "query"):
                assert at in index.search(query, statistics, len(texts))[1]
            else:
                assert not query.groups


def test_columns_of_other_string_types_are_read_alike(tmp_path: Path) -> None:
    """Large strings and dictionaries, which shards may hand on, are texts too."""
    index_of(ROWS, tmp_path / "whole")
    plain = block(ROWS).column("title")
    for name, column in (("large", plain.cast(pa.large_string())), ("coded", plain.dictionary_encode())):
        (tmp_path / name).mkdir()
        build_lexical([pa.table({"title": column})], ["title"], Analysis(), tmp_path / name)
        assert contents(tmp_path / name) == contents(tmp_path / "whole")
