"""Texts that vary between epochs."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from encoders.training.text_variation import TextVariation

TEXTS = ["red running shoes for men", "blue mug", "hat", "红色连衣裙", "a b c d e f g h"]


@given(st.integers(0, 2**32 - 1), st.integers(0, 10**6), st.floats(0, 0.99), st.floats(0, 1))
def test_a_varied_text_has_words_of_the_text(seed: int, step: int, drop: float, swap: float) -> None:
    """Never empty, no word that the text has not, none more often, and the same for the same seed and step."""
    how = TextVariation(drop, swap)
    found = how.vary(TEXTS, seed, step)
    assert found == how.vary(TEXTS, seed, step)
    for text, varied in zip(TEXTS, found, strict=True):
        words = Counter(varied.split())
        assert words
        assert words <= Counter(text.split())
        if not drop:
            assert words == Counter(text.split())


def test_each_kind_does_what_it_says() -> None:
    """Words are dropped, and neighbours swapped, about as often as asked; with nothing asked texts stay as they are."""
    text = " ".join(f"w{n}" for n in range(200))
    (dropped,) = TextVariation(drop=0.25).vary([text], 0, 0)
    assert 120 < len(dropped.split()) < 180
    (swapped,) = TextVariation(swap=0.2).vary([text], 0, 0)
    moved = sum(a != b for a, b in zip(text.split(), swapped.split(), strict=True))
    assert 40 < moved < 130
    assert TextVariation().vary([text], 0, 0) == [text]
    assert TextVariation(drop=0.5).vary(TEXTS, 0, 0) != TextVariation(drop=0.5).vary(TEXTS, 0, 1)


def test_synonyms_stand_in_for_each_other() -> None:
    """A word or phrase is replaced by what finds it, the longest first and whatever its case; others stay, and so does
    what finds it.
    """
    rules = [("trainers", ("running shoes", "shoes")), ("scarlet", ("red",)), ("crimson", ("red",))]
    how = TextVariation(synonym=1.0, synonyms=rules)
    found = {how.vary(["Red running shoes for men"], 0, step)[0] for step in range(30)}
    assert found == {"scarlet trainers for men", "crimson trainers for men"}
    assert how.vary(["scarlet hats"], 0, 0) == ["scarlet hats"]
    assert TextVariation(synonym=0.0, synonyms=rules).vary(["red"], 0, 0) == ["red"]
