"""One lexical index: its scores are BM25F, its best are the best, under any filter and over any partitions."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import InputError, IntegrityError
from lookup.lexical.analysis import Analysis
from lookup.lexical.files import FILES
from lookup.lexical.index import LexicalIndex
from tests.support.lexical_indexes import TITLE, Row, asked, index_of, titles
from tests.support.lexical_peer import bm25f

LATIN = ["red", "blue", "shoe", "shoes", "running", "run", "case", "the", "of", "café"]
WORDS = [*LATIN, "iphone", "15", "iphone15", "xm4", "500", "ml", "2.50", "牛仔裤", "牛仔", "鞋", "Чай", "🎧"]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join) | st.none()
FIELDS = {"title": 2.0, "brand": 1.0}
ROWS = st.lists(st.fixed_dictionaries({"title": TEXTS, "brand": TEXTS}), min_size=1, max_size=40)
QUERIES = st.lists(st.sampled_from([*WORDS, "shose", "unheard"]), max_size=5).map(" ".join)


def best(scores: Sequence[float], k: int, mask: np.ndarray) -> list[int]:
    """The k best of those above zero, by score as the index gives it, then position."""
    order = sorted((-score, row) for row, score in enumerate(scores) if score > 0 and mask[row])
    return [row for _, row in order[:k]]


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, text=QUERIES, k=st.integers(1, 12), seed=st.integers(0, 9), share=st.sampled_from([0.0, 0.3, 1.0]))
def test_scores_are_bm25f_and_the_best_are_exact(rows: list[Row], text: str, k: int, seed: int, share: float) -> None:
    """Scores are those of a calculation that knows no index; hits are min(k, rows that match and meet the filter), the
    best of them, equal ones by position.
    """
    with tempfile.TemporaryDirectory() as folder:
        index = index_of(rows, Path(folder, "index"), FIELDS)
        query, statistics = asked(text, [index])
        own = index.scores(query, statistics, np.arange(len(rows)))
        np.testing.assert_allclose(own, bm25f(rows, FIELDS, Analysis(), query), rtol=1e-5)
        mask = np.random.default_rng(seed).random(len(rows)) < share
        for over in (mask, None):
            scores, positions = index.search(query, statistics, k, over)
            assert positions.tolist() == best(own.tolist(), k, np.ones(len(rows)) if over is None else over)
            assert scores.tolist() == own[positions].tolist()


@settings(max_examples=30, deadline=None)
@given(rows=ROWS, text=QUERIES, cut=st.integers(0, 40))
def test_partitions_merged_are_one_index_of_all_rows(rows: list[Row], text: str, cut: int) -> None:
    """A row scores the same, to the last bit, in its partition and in one index of all."""
    with tempfile.TemporaryDirectory() as folder:
        whole = index_of(rows, Path(folder, "whole"), FIELDS)
        parts = [index_of(some, Path(folder, str(at)), FIELDS) for at, some in enumerate((rows[:cut], rows[cut:]))]
        query, statistics = asked(text, parts)
        assert (query, statistics) == asked(text, [whole])
        scores = [part.scores(query, statistics, np.arange(part.rows)) for part in parts]
        everywhere = whole.scores(query, statistics, np.arange(len(rows)))
        assert np.concatenate(scores).tolist() == everywhere.tolist()


def test_many_rows_of_common_words_are_searched_exactly(tmp_path: Path) -> None:
    """70,000 rows, two blocks of postings, words of every frequency: hits are those of all scores, sorted."""
    rng = np.random.default_rng(3)
    drawn = np.minimum(rng.zipf(1.3, (70_000, 5)), 5_000)
    rows = titles(*(" ".join(f"w{chr(97 + one % 26)}{'x' * (one // 26 % 3)} {one}" for one in row) for row in drawn))
    index = index_of(rows, tmp_path / "index")
    mask = rng.random(len(rows)) < 0.2
    for text in ("wb 1", "wb 1 2 3", "4000", "wb 17 300", "wc 2 2 900 wd", "wb"):
        query, statistics = asked(text, [index])
        own = index.scores(query, statistics, np.arange(len(rows)))
        for over, k in ((None, 10), (None, 1000), (mask, 10), (np.arange(len(rows)) % 1000 == 1, 100)):
            scores, positions = index.search(query, statistics, k, over)
            order = np.lexsort((np.arange(len(rows)), -own))
            order = order[(own[order] > 0) & (True if over is None else over[order])][:k]
            assert positions.tolist() == order.tolist(), (text, k)
            assert scores.tolist() == own[order].tolist()


@pytest.mark.parametrize("role", FILES)
def test_a_damaged_file_is_an_integrity_error(role: str, tmp_path: Path) -> None:
    """Each file, cut anywhere or replaced, is told by its path."""
    index_of(titles("red shoe", "blue shoe 15"), tmp_path / "index")
    paths = {role: tmp_path / "index" / name for role, name in FILES.items()}
    whole = paths[role].read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:-4], b"x" * len(whole)):
        paths[role].write_bytes(damaged)
        with pytest.raises(IntegrityError, match=paths[role].name):
            LexicalIndex.open(paths, 2, TITLE, Analysis())


def test_an_index_of_other_rows_or_settings_is_refused(tmp_path: Path) -> None:
    """Files that belong to other rows, fields or another analysis are an IntegrityError that says which."""
    index_of(titles("red shoe", None), tmp_path / "index")
    paths = {role: tmp_path / "index" / name for role, name in FILES.items()}
    for rows, fields, analysis, wrong in (
        (3, TITLE, Analysis(), "rows 3"),
        (2, {"brand": 1.0}, Analysis(), "fields"),
        (2, TITLE, Analysis(languages=("german",)), "analysis"),
    ):
        with pytest.raises(IntegrityError, match=wrong):
            LexicalIndex.open(paths, rows, fields, analysis)
    assert LexicalIndex.open(paths, 2, TITLE, Analysis(synonyms="a, b", stop_words=False)).rows == 2


def test_what_cannot_be_asked_is_an_input_error(tmp_path: Path) -> None:
    """k below one, a mask of another length and positions that are none are told."""
    index = index_of(titles("red shoe"), tmp_path / "index")
    query, statistics = asked("shoe", [index])
    with pytest.raises(InputError, match="k: 0"):
        index.search(query, statistics, 0)
    with pytest.raises(InputError, match="mask"):
        index.search(query, statistics, 1, np.ones(2, np.bool_))
    with pytest.raises(InputError, match="positions from 0 to 0"):
        index.scores(query, statistics, np.array([1]))
