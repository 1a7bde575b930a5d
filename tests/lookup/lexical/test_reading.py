"""What a shopper typed: misspelled, cut otherwise, a code, one character."""

from __future__ import annotations

import random
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookup.lexical.index import LexicalIndex
from lookup.lexical.query import Correction
from lookup.lexical.spelling import distances, signatures
from tests.support.lexical_indexes import asked, found, index_of, titles

SHOP = titles(
    "oak chair",
    "wireless headphones WH-1000XM4",
    "power shot camera",
    "notebook computer",
    "iPhone 15 case",
    "case for iphone15",
    "牛仔裤 女",
    "鞋",
    "运动鞋男",
    "case of 12 pans",
    "gift ❤️",
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> LexicalIndex:
    """The titles above, indexed."""
    return index_of(SHOP, tmp_path_factory.mktemp("shop") / "index")


@pytest.mark.parametrize(
    ("query", "position", "word", "to"),
    [
        ("chiar", 0, "chiar", "chair"),
        ("oak chairr", 0, "chairr", "chair"),
        ("haedphoens", 1, "haedphoens", "headphones"),
        ("powershot", 2, "powershot", "power shot"),
        ("wirelesss", 1, "wirelesss", "wireless"),
    ],
)
def test_a_word_that_no_product_has_is_corrected_and_told(
    query: str, position: int, word: str, to: str, shop: LexicalIndex
) -> None:
    """One edit, two in long words, two words written as one; the query says what was looked for."""
    assert found(query, shop)[0] == position
    assert asked(query, [shop])[0].corrections == (Correction(word, (to,)),)


@pytest.mark.parametrize("query", ["note book", "notebook", "notebooks", "NOTEBOOK"])
def test_one_word_that_is_typed_as_two(query: str, shop: LexicalIndex) -> None:
    """And any other way of typing it, finds it without a correction."""
    assert found(query, shop) == [3]
    assert asked(query, [shop])[0].corrections == ()


@pytest.mark.parametrize("query", ["chair", "xy", "ca", "wh1001xm9", "仔牛裤", "zzzzqqqq", "❤", "12345"])
def test_what_is_known_short_a_code_or_near_nothing_is_not_corrected(query: str, shop: LexicalIndex) -> None:
    """Codes, numbers and scripts without spaces are looked for as they are."""
    assert asked(query, [shop])[0].corrections == ()


def test_a_query_of_thousands_of_words_is_answered(shop: LexicalIndex) -> None:
    """Eight words of it are corrected, each of at most 40 letters; the others are looked for as they are."""
    query = asked(" ".join(["chiar", "x" * 5000, *(f"code{at}" for at in range(3000))]), [shop])[0]
    assert [one.word for one in query.corrections] == ["chiar"]
    assert 0 in found("chiar " * 2000 + "oak " * 2000, shop)
    assert len(asked(" ".join(f"chair{one}" for one in "abcdefghijklmnop"), [shop])[0].corrections) == 8


def test_a_corrected_word_counts_less(tmp_path: Path) -> None:
    """Where another word of the query is met exactly, that product comes first."""
    index = index_of(titles("chair", "oak"), tmp_path / "index")
    assert found("chiar oak", index) == [1, 0]


def test_a_word_is_corrected_to_what_all_partitions_have(tmp_path: Path) -> None:
    """What one partition knows is not corrected in another; what none knows becomes the more frequent of all."""
    one = index_of(titles("chair", "chain"), tmp_path / "one")
    two = index_of(titles("chiar", "chain", "chain"), tmp_path / "two")
    assert asked("chiar", [one, two])[0].corrections == ()
    assert asked("chaix", [one, two])[0].corrections == (Correction("chaix", ("chain", "chair")),)
    assert asked("chiar", [one])[0].corrections == (Correction("chiar", ("chair",)),)


@pytest.mark.parametrize("query", ["iphone15", "iphone 15", "iPhone-15", "IPHONE15"])
def test_codes_are_found_as_they_are_typed(query: str, shop: LexicalIndex) -> None:
    """Both ways of writing come before what has only a part."""
    assert set(found(query, shop)[:2]) == {4, 5}


@pytest.mark.parametrize("query", ["WH1000XM4", "wh-1000xm4", "wh 1000 xm4", "wh1000 xm4"])
def test_model_numbers_are_found_as_they_are_typed(query: str, shop: LexicalIndex) -> None:
    """However the letters and digits are parted."""
    assert found(query, shop) == [1]


@pytest.mark.parametrize(
    ("query", "positions"), [("鞋", [7, 8]), ("仔", [6]), ("牛仔", [6]), ("裤", [6]), ("❤️", [10]), ("猫", [])]
)
def test_one_character_is_found_wherever_it_stands(query: str, positions: list[int], shop: LexicalIndex) -> None:
    """Alone, or at any place of a longer run; nothing where no product has it."""
    assert found(query, shop) == positions


@pytest.mark.parametrize(
    ("query", "positions"), [("of", [9]), ("the of", [9]), ("the chair", [0]), ("", []), ("?!", [])]
)
def test_stop_words_alone_are_asked_for(query: str, positions: list[int], shop: LexicalIndex) -> None:
    """Beside others they are not; a query without a word finds nothing."""
    assert found(query, shop) == positions


def edits(one: str, two: str) -> int:
    """Optimal string alignment, from its definition."""
    rows = [[i + j if not i or not j else 0 for j in range(len(two) + 1)] for i in range(len(one) + 1)]
    for i in range(1, len(one) + 1):
        for j in range(1, len(two) + 1):
            ways = [rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + (one[i - 1] != two[j - 1])]
            if i > 1 and j > 1 and one[i - 2 : i] == two[j - 2 : j][::-1]:
                ways.append(rows[i - 2][j - 2] + 1)
            rows[i][j] = min(ways)
    return rows[-1][-1]


WORDS = st.text("abcdeé", min_size=1, max_size=8)


@given(WORDS, st.lists(WORDS, max_size=8), st.sampled_from([1, 2]))
def test_distances_are_those_of_the_definition(word: str, others: list[str], most: int) -> None:
    """Up to the most that is asked for; above that, some number above."""
    for one, distance in zip(others, distances(word, others, most).tolist(), strict=True):
        assert min(distance, most + 1) == min(edits(word, one), most + 1)


@given(WORDS.filter(lambda word: len(word) > 2), st.randoms(use_true_random=False))
def test_an_edit_changes_few_bits_of_a_signature(word: str, chance: random.Random) -> None:
    """Six at most, two of them of letters, so that no word within reach is passed over."""
    at, letter = chance.randrange(len(word) - 1), chance.choice(string.ascii_lowercase)
    for edited in (
        word[:at] + word[at + 1 :],
        word[:at] + letter + word[at:],
        word[:at] + letter + word[at + 1 :],
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
    ):
        one, two = signatures([word, edited]).tolist()
        assert (one ^ two).bit_count() <= 6
        assert ((one ^ two) & 0xFFFFFFFF).bit_count() <= 2
