"""A file of synonyms: what each line asks for, and lines that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from lookup.lexical.analysis import Analysis
from lookup.lexical.synonyms import Rule, parse_rules
from tests.support.lexical_indexes import found, index_of, titles

SHOP = titles("leather couch", "running shoe", "trainers", "notebook 15", "laptop bag", "运动鞋", "女球鞋")
FILE = """
# what shoppers say
sofa, couch   # both ways
trainers, running shoes
laptop => notebook
运动鞋，球鞋
"""


@pytest.mark.parametrize(
    ("query", "positions"),
    [
        ("sofa", [0]),
        ("sofas", [0]),
        ("trainer", [2, 1]),
        ("running shoes", [1, 2]),
        ("laptop", [4, 3]),
        ("notebook", [3]),
        ("球鞋", [6, 5]),
        ("白运动鞋", [5, 6]),
        ("running", [1]),
    ],
)
def test_a_query_finds_what_its_synonyms_name(query: str, positions: list[int], tmp_path: Path) -> None:
    """Both ways, one way, of several words, in any script; what is named by the word itself comes first. No item of the
    index is built otherwise.
    """
    index = index_of(SHOP, tmp_path / "index")
    assert found(query, index, Analysis(synonyms=FILE)) == positions


def test_a_synonym_of_several_words_needs_all_of_them(tmp_path: Path) -> None:
    """`trainers` finds running shoes, neither what only runs nor any shoe."""
    index = index_of(titles("running watch", "leather shoe", "shoe for running"), tmp_path / "index")
    assert found("trainers", index, Analysis(synonyms=FILE)) == [2]


def test_rules_of_a_file() -> None:
    """Comments and empty lines are nothing; a phrase is not its own synonym."""
    assert parse_rules("# none\n\n a , b ,a # c") == (Rule("a", ("b",)), Rule("b", ("a",)))
    assert parse_rules("a  x => b, a x") == (Rule("a x", ("b",)),)
    assert parse_rules("") == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a, b\nsofa", "line 2: two phrases or more"),
        ("a, , b", "line 1: a phrase on each side"),
        ("=> b", "line 1: a phrase on each side"),
        ("a =>", "line 1: a phrase on each side"),
        ("a => b => c", "line 1: one => at most"),
        ("a, !!", "line 1: words in each phrase"),
    ],
)
def test_a_line_that_cannot_be_read_is_told_by_its_number(content: str, message: str) -> None:
    """Where analysis settings are read, which is before anything is done."""
    with pytest.raises(ValidationError, match=message):
        Analysis(synonyms=content)
