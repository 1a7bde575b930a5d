"""Cleaning text: what a feed did to a title is undone, and nothing else is touched."""

from __future__ import annotations

import subprocess
import sys
import timeit
import unicodedata

import ftfy
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from encoders import text as cleaning
from encoders.names import clean_name
from encoders.text import TextError, clean_text, clean_texts, normalized, plain_name
from tests.support.bounded import within
from tests.support.places import ROOT

_TAGS = "<b> </b> <br/> < > <!-- --> <script> </script>"
_WORDS = "&amp; amp; &lt; gt; &#38; &#x41; &nbsp; & 3 Ã© â€œ ã‘ 红色 ， Ａ ﬁ ½ ´ dress"
PIECES = [
    *_TAGS.split(),
    *_WORDS.split(),
    "<p class='x'>",
    "e\u0301",
    "\u200b",
    "\x00",
    "\x85",
    " ",
    "\n",
    "\ud800",
    "\ufeff",
]
MARKUP = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
# Lone surrogates can come from JSON, though not from Parquet.
ANY_TEXT = st.text(st.characters(codec=None), max_size=60) | MARKUP


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("Red striped dress", "Red striped dress"),
        ("红色条纹连衣裙", "红色条纹连衣裙"),
        ("<p>Red</p><p>dress</p>", "Red dress"),
        ("un<b>believ</b>able", "unbelievable"),
        ("3 < 5 and 5 > 3, I <3 it", "3 < 5 and 5 > 3, I <3 it"),
        ("H&M dress, R&amp;B", "H&M dress, R&B"),
        ("Black&notebook", "Black&notebook"),
        ("&amp;amp;amp; &amp;lt;b&amp;gt;x", "& x"),
        ("a<!-- <b>no</b> --><script>if(a<b){}</script><style>p{}</style>z", "a z"),
        ("5 &#8364; &#x1F600;", "5 € 😀"),
        ("cafÃ© crÃ¨me", "café crème"),
        ("é¡¹é“¾ red", "项链 red"),
        ("ＡＢＣ　１２，新款", "ABC 12,新款"),
        ("e\u0301te\u0301", "été"),
        ("a\x00b\u200bc\ud800d\ufeff", "abcd"),
        ("  two\t\r\n spaces\u3000 \x0b", "two spaces"),
        ("wait\x85 no", "wait... no"),
        ("\x00 <br> ", ""),
        ("👩\u200d👧 gift", "👩\u200d👧 gift"),
    ],
)
def test_what_a_title_says_stays_and_the_rest_goes(raw: str, cleaned: str) -> None:
    """Markup, entities, mojibake, compatibility forms, controls and white space are undone; ordinary text is not."""
    assert clean_text(raw, 100) == cleaned


@given(ANY_TEXT, st.integers(1, 40))
@example("Ã" * 10 + "©", 11)
@settings(max_examples=1500, deadline=None)
def test_cleaning_twice_is_cleaning_once(text: str, max_chars: int) -> None:
    """A cleaned text is within the limit, NFKC, single-spaced, free of controls, encodable, and cleans to itself."""
    cleaned = clean_text(text, max_chars)
    assert clean_text(cleaned, max_chars) == cleaned
    assert len(cleaned) <= max_chars
    assert unicodedata.is_normalized("NFKC", cleaned)
    assert cleaned == " ".join(cleaned.split())
    assert not any(unicodedata.category(char) in ("Cc", "Cs") for char in cleaned)
    cleaned.encode()


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2FFF, blacklist_characters="<&"), max_size=40))
@settings(max_examples=500, deadline=None)
def test_what_skips_the_repair_is_what_ftfy_would_leave(text: str) -> None:
    """Text without markup comes out as NFKC and white space alone would have it, unless ftfy itself would repair it."""
    # A letter in front: of fillers and marks alone nothing is visible, and nothing is left.
    visible = "x" + "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cf"))
    if ftfy.fix_encoding(visible) == visible:
        once = " ".join(unicodedata.normalize("NFKC", visible).split())
        if ftfy.fix_encoding(once) == once and not set("<&") & set(once):
            assert clean_text(visible, 1000) == once


def test_the_cut_counts_characters_and_leaves_no_space_at_the_end() -> None:
    """The limit counts whole characters after cleaning."""
    assert clean_text("红色 连衣裙", 3) == "红色"
    assert clean_text("<b>abcdef</b>", 4) == "abcd"


def test_none_is_the_empty_text() -> None:
    """A missing text is an empty one, in place."""
    assert clean_texts([None, "a  b", ""], 10) == ["", "a b", ""]


@pytest.mark.parametrize("piece", ["<!--", "&amp;", "&#38;#38;", "<script>", "Ã", "<b ", "&lt;", "é ", "  ", "amp;&"])
def test_a_megabyte_of_one_piece_is_cleaned_at_once(piece: str) -> None:
    """No repeated piece makes cleaning quadratic: a 1 MB title takes milliseconds."""
    title = piece * (2**20 // len(piece))
    assert min(timeit.repeat(lambda: clean_text(title, 2000), number=1, repeat=3)) < 0.5


# By what it is nested in: what each pass but the last leaves is work for the next one.
_DEEP = 80_000
NESTED = {
    "full width": "&" + "#65286;" * (_DEEP // 2),
    "entities": "&#5&#5&#5&#5&#4" * (_DEEP // 5) + "8" + ";" * _DEEP,
    "inline tags": "<b" * _DEEP + ">" * _DEEP,
    "other tags": "<p" * _DEEP + ">" * _DEEP,
    "comments": "<!--" * _DEEP + "-->" * _DEEP,
    "mojibake": "Ã" + "ƒ" * _DEEP,
    "mojibake twice": "一" + ("Ã" + "\x83" * _DEEP).encode().decode("latin-1"),
}


@pytest.mark.parametrize("way", NESTED)
def test_what_is_nested_deep_ends(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes over a text cost no more than a few times its length, then it is given up; names end all the same."""
    text, cost, paid = NESTED[way], [0], cleaning._Work.affords

    def counted(work: cleaning._Work, passed: str) -> bool:
        cost[0] += len(passed)
        return paid(work, passed)

    monkeypatch.setattr(cleaning._Work, "affords", counted)
    with within(60):
        assert clean_texts(["tea", text, None], 10_000)[::2] == ["tea", ""]
        assert cost[0] <= 8 * len(text) + 300_000
        for clean in (plain_name, clean_name):
            assert clean(clean(text)) == clean(text)


def test_nested_text_of_a_titles_length_is_cleaned_to_its_end() -> None:
    """A hundred levels in a title are resolved, as ever; what is given up has an error that says why."""
    assert (
        clean_text("<b" * 100 + ">" * 100 + "tea", 1000)
        == clean_text("&" + "#65286;" * 100 + "amp;lt;b>tea", 1000)
        == "tea"
    )
    with pytest.raises(TextError, match="too deep to be cleaned"):
        clean_text(NESTED["inline tags"], 10_000)


@given(st.text(st.sampled_from("ÃÂƒ\x83³\xa0 é€œ™â“”Ð°а一x?\x1a\ufffd"), max_size=30), st.booleans())
@settings(max_examples=500, deadline=None)
def test_mojibake_is_undone_as_ftfy_does_it(text: str, twice: bool) -> None:
    """Step by step, within what may be done for it, comes to what ftfy makes of a text in one call."""
    text = text.encode().decode("latin-1") if twice else text
    assert cleaning._repaired(text, cleaning._Work(text)) == ftfy.fix_encoding(text)


@given(
    st.text(
        st.characters(min_codepoint=0x300, max_codepoint=0x36F)
        | st.sampled_from("ae각か\u3099\uff9e\u0f73\u0344\u05b0"),
        min_size=2,
    )
)
@settings(max_examples=500, deadline=None)
def test_sorted_marks_are_normalized_as_unicode_says(text: str) -> None:
    """Marks that are sorted before come out as `unicodedata` has them; 100,000 of them on one letter in no time."""
    long = "x" * 1_000 + text
    for form in ("NFC", "NFKC"):
        assert normalized(form, long) == unicodedata.normalize(form, long)  # type: ignore[arg-type]


def test_many_marks_on_a_letter_end() -> None:
    """50,000 of one kind before as many of another, which `unicodedata` sorts by insertion, are sorted at once."""
    text = "a" + "\u0301" * 50_000 + "\u0316" * 50_000
    with within(10):
        assert normalized("NFC", text) == "\xe1" + "\u0316" * 50_000 + "\u0301" * 49_999
        assert clean_texts([text], 10_000) == ["\xe1" + "\u0316" * 9_999]


def test_clean_titles_never_load_the_repair_library() -> None:
    """English and Chinese titles take the short way: ftfy, which is slow to import, stays unimported."""
    code = (
        "import sys; from encoders.text import clean_texts as c; c(['Red dress, 5-pack', '红色，新款', 'a <b>x'], 99); "
    )
    code += "assert 'ftfy' not in sys.modules"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
