"""The words of a query that are left out one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookup.why.words import MOST, words_left_out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("red summer dress", [("red", "summer dress"), ("summer", "red dress"), ("dress", "red summer")]),
        ("men's t-shirt", [("men's", "t-shirt"), ("t-shirt", "men's")]),
        ("红裙 Acme", [("红", "裙 Acme"), ("裙", "红 Acme"), ("Acme", "红裙")]),
        ("dress", []),
        ("🎉 !", []),
        ("", []),
    ],
)
def test_each_word_is_left_out_once(text: str, expected: list[tuple[str, str]]) -> None:
    """Words as they stand between spaces; of scripts that put none, each character."""
    assert words_left_out(text) == expected


@given(st.text(max_size=400))
def test_no_text_has_too_many_or_an_empty_rest(text: str) -> None:
    """Whatever is asked, there are a bounded number of questions, and each of them asks for something."""
    found = words_left_out(text)
    assert len(found) <= MOST
    assert all(rest.strip() and word in text for word, rest in found)
