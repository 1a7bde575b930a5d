"""Texts as terms: one way of writing is another's, in every script."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from index_builders.lexical.runs import run_of
from lookup.lexical.analysis import Analysis
from lookup.lexical.words import folded, word_pattern, words_of
from tests.support.lexical_indexes import block, titles
from tests.support.lexical_peer import length_of
from tests.support.places import ROOT

SAME = [
    ("iPhone-15", "iphone 15", "IPHONE15", "ｉＰｈｏｎｅ１５"),
    ("WH-1000XM4", "WH1000XM4", "wh 1000 xm4", "wh-1000 XM 4"),
    ("500ml", "500 ml", "500ML", "500㎖", "500.0 ml", "٥٠٠ml"),
    ("1,000 pcs", "1000 pcs", "1000pcs"),
    ("women's", "women’s", "Women's"),
    ("café", "CAFE", "cafe\u0301", "caf\u00ad\u00e9"),
    ("running", "runs", "run"),
    ("Straße", "STRASSE"),
    ("牛仔裤", "⽜仔裤"),
    ("ﾅｲｷ", "ナイキ"),
]
PAIRS = [pair for group in SAME for pair in itertools.combinations(group, 2)]


@pytest.mark.parametrize(("one", "two"), PAIRS)
def test_ways_of_writing_are_one(one: str, two: str) -> None:
    """Case, width, accents, hyphens, units and codes do not tell texts apart."""
    for role in ("item", "query"):
        assert sorted(Analysis().terms(one, role)) == sorted(Analysis().terms(two, role)) != []


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ("!? -- /", []),
        ("the of", ["the", "of"]),
        ("shoes of the runner", ["shoe", "of", "the", "runner"]),
        ("鞋", ["鞋"]),
        ("牛仔裤15寸", ["牛仔", "仔裤", "15", "寸", "15寸"]),
        ("나이키 운동화", ["나이", "이키", "운동", "동화"]),
        ("xbox360 v2.50", ["xbox", "360", "v", "2.5", "xbox360", "360v", "v2.5"]),
        ("हिन्दी ❤️🎧", ["हिन्दी", "❤", "🎧"]),
        ("10.5.8", ["10.5.8"]),
    ],
)
def test_terms_of_an_item(text: str, terms: list[str]) -> None:
    """Stems, numbers without needless zeros, pairs of neighbours of scripts without spaces, pictures."""
    assert Analysis().terms(text, "item") == terms


def test_stop_words_are_left_out_of_queries_that_have_others() -> None:
    """They say nothing beside other words, and are asked for where there are none, or when so configured."""
    assert Analysis().terms("shoes of the runner", "query") == ["shoe", "runner"]
    assert Analysis().terms("of the", "query") == ["of", "the"]
    assert Analysis(stop_words=False).terms("the shoe", "query") == ["the", "shoe"]
    assert Analysis(languages=("german",)).terms("der Schuh", "query") == ["schuh"]


def test_stems_of_several_languages() -> None:
    """Each word has its stem in every language, once; without languages it is as it is written."""
    assert Analysis(languages=("english", "german")).terms("häuser shoes", "item") == ["hauser", "haus", "shoe", "shos"]
    assert Analysis(languages=()).terms("running shoes", "item") == ["running", "shoes"]


def test_identity_is_of_what_items_have() -> None:
    """Languages are another index; synonyms and stop words, which act on queries, are not."""
    one = Analysis()
    assert one.identity == Analysis(stop_words=False, synonyms="sofa, couch").identity
    assert one.identity != Analysis(languages=("english", "german")).identity
    assert len(one.identity) == 64


def test_languages_without_a_stemmer_are_told() -> None:
    """The message names the language and those that there are."""
    with pytest.raises(ValidationError, match=r"no stemmer for klingon; there are .*english"):
        Analysis(languages=("klingon",))


@given(st.text(max_size=60))
def test_folding_is_idempotent_and_words_are_of_it(text: str) -> None:
    """Whatever the characters, a folded text is folded already and has the same words."""
    once = folded(text)
    assert folded(once) == once
    assert words_of(once) == words_of(text)


@given(st.lists(st.text(max_size=30) | st.none(), min_size=1, max_size=6))
def test_a_block_has_the_terms_of_its_texts(texts: list[str | None]) -> None:
    """What is cut and counted for many rows at once is what each text has by itself."""
    analysis = Analysis()
    run = run_of(block(titles(*texts)), ["title"], analysis)
    terms = [term for term, size in zip(run.terms, run.sizes.tolist(), strict=True) for _ in range(size)]
    found = sorted(zip(run.rows.tolist(), terms, run.counts[:, 0].tolist(), strict=True))
    each = [analysis.terms(text or "", "item") for text in texts]
    assert found == sorted((row, term, own.count(term)) for row, own in enumerate(each) for term in set(own))
    assert run.lengths[:, 0].tolist() == [length_of(text or "") for text in texts]


def test_words_are_cut_in_time_that_grows_with_the_text() -> None:
    """A long text of marks, apostrophes or commas is cut in a moment."""
    for text in ("a" + "\u0301" * 200_000, "a'" * 100_000, "1," * 100_000, "1.2" * 70_000, "鞋" * 200_000):
        assert word_pattern().findall(folded(text))


def test_terms_are_the_same_in_every_process() -> None:
    """Neither the hash seed of Python nor its locale decides a term."""
    terms = "a.terms('Café WH-1000XM4 牛仔裤', 'item')"
    code = f"from lookup.lexical.analysis import Analysis; a = Analysis(); print(a.identity, {terms})"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONUTF8": "1"},
            capture_output=True,
            check=True,
        )
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout != b""
