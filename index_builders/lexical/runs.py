"""Rows as a sorted run of postings: what one block of a partition adds to its lexical index.

A block's texts are cut into words as one text, each distinct word is analysed once, and the rest is arithmetic on
arrays: a million titles are a matter of seconds. Runs follow one another by row, so merging them (merge.py) sorts
nothing but their vocabularies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lookup.lexical.analysis import Analysis
from lookup.lexical.spelling import LONGEST, SHORTEST
from lookup.lexical.words import Kind, folded, kind_of, pairs_of, word_pattern

_MOST_WORDS = 65_535  # that a length can say
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Run:
    """The postings of some rows, by term, then row."""

    terms: list[str]  # sorted
    sizes: Ints  # (terms,): postings of each
    rows: npt.NDArray[np.int32]  # (postings,): from the first of the run
    counts: npt.NDArray[np.uint8]  # (postings, fields)
    lengths: npt.NDArray[np.uint16]  # (rows, fields)
    words: list[str]  # those that misspellings are corrected to, sorted
    word_rows: Ints  # (words,): rows that have each


@dataclass(frozen=True)
class _Field:
    """What one field's texts are: occurrences of terms and of words of letters, by row of the run."""

    terms: Ints  # (occurrences,): numbers of `Numbers`
    rows: Ints
    letters: Ints  # (words of letters,): numbers of `Numbers`
    letter_rows: Ints
    lengths: Ints  # (rows,)


class Numbers:
    """Strings numbered as they come."""

    def __init__(self) -> None:
        self.of: dict[str, int] = {}

    def number(self, text: str) -> int:
        """The number of `text`, a new one where it has none."""
        return self.of.setdefault(text, len(self.of))

    def by_order(self) -> tuple[list[str], Ints]:
        """The strings in order of code points, and the place of each number among them."""
        ordered = sorted(self.of)
        places = np.empty(len(ordered), np.int64)
        places[[self.of[one] for one in ordered]] = np.arange(len(ordered))
        return ordered, places


def run_of(block: pa.Table, fields: Sequence[str], analysis: Analysis) -> Run:
    """The run of a block: string columns named as `fields`, null where a row has no text."""
    terms, words = Numbers(), Numbers()
    found = [_field(block.column(name), analysis, terms, words) for name in fields]
    rows, wide = block.num_rows, len(fields)
    ordered, places = terms.by_order()
    keys = [((places[one.terms] * rows + one.rows) * wide + at) for at, one in enumerate(found)]
    distinct, counts = np.unique(np.concatenate(keys), return_counts=True)
    postings, starts = _first_of_each(distinct // wide)
    table = np.zeros((len(postings), wide), np.uint8)
    table[np.repeat(np.arange(len(postings)), np.diff(starts)), distinct % wide] = np.minimum(counts, 255)
    letters, letter_places = words.by_order()
    pairs = np.unique(np.concatenate([letter_places[one.letters] * rows + one.letter_rows for one in found]))
    return Run(
        ordered,
        np.bincount(postings // max(rows, 1), minlength=len(ordered)),
        (postings % max(rows, 1)).astype(np.int32),
        table,
        np.stack([np.minimum(one.lengths, _MOST_WORDS) for one in found], axis=1).astype(np.uint16),
        letters,
        np.bincount(pairs // max(rows, 1), minlength=len(letters)),
    )


def _first_of_each(values: Ints) -> tuple[Ints, Ints]:
    """The distinct of sorted `values`, and where the run of each begins, with the end of the last."""
    starts = np.flatnonzero(np.diff(values, prepend=-1))
    return values[starts], np.append(starts, len(values))


def _field(column: pa.ChunkedArray, analysis: Analysis, terms: Numbers, words: Numbers) -> _Field:
    """One column of texts. Line ends are between rows, and in no word."""
    texts = column.to_pylist()
    text = folded("\n".join(one.replace("\n", " ") if one else "" for one in texts))
    coded = pa.array(word_pattern().findall(text), pa.string()).dictionary_encode()
    distinct, codes = coded.dictionary.to_pylist(), coded.indices.to_numpy().astype(np.int64)
    is_end = codes == (distinct.index("\n") if "\n" in distinct else -1)
    rows = np.cumsum(is_end)
    own = [[] if one == "\n" else [terms.number(term) for term in analysis.word_terms(one)] for one in distinct]
    kinds = np.array([-1 if one == "\n" else kind_of(one) for one in distinct], np.int64)
    weights = np.array([0 if one == "\n" else _length(one) for one in distinct], np.int64)
    is_word = [kind == Kind.LETTERS and _corrected_to(one) for one, kind in zip(distinct, kinds, strict=True)]
    letters = np.array([words.number(one) if yes else -1 for one, yes in zip(distinct, is_word, strict=True)], np.int64)
    occurring, of_words = _spread(own, codes)
    joined, before = _joined(codes, kinds, distinct, analysis, terms)
    is_letters = letters[codes] >= 0
    return _Field(
        np.concatenate([occurring, joined]),
        np.concatenate([rows[of_words], rows[before]]),
        letters[codes[is_letters]],
        rows[is_letters],
        np.bincount(rows, weights[codes], minlength=len(texts)).astype(np.int64)[: len(texts)],
    )


def _corrected_to(word: str) -> bool:
    """Whether a misspelling may mean `word`."""
    return SHORTEST <= len(word) <= LONGEST


def _length(word: str) -> int:
    return len(pairs_of(word)) if kind_of(word) == Kind.RUN else 1


def _spread(own: list[list[int]], codes: Ints) -> tuple[Ints, Ints]:
    """The terms of each word of a text, given those of each distinct word; and which word each is of."""
    sizes = np.array([len(one) for one in own], np.int64)
    flat = np.array([term for one in own for term in one], np.int64)
    starts = np.cumsum(sizes) - sizes
    each = sizes[codes]
    of_words = np.repeat(np.arange(len(codes)), each)
    within = np.arange(len(of_words)) - np.repeat(np.cumsum(each) - each, each)
    return flat[starts[codes][of_words] + within], of_words


def _joined(codes: Ints, kinds: Ints, distinct: list[str], analysis: Analysis, terms: Numbers) -> tuple[Ints, Ints]:
    """The terms that neighbours have together, see `Analysis.joined`; and the word that each begins with."""
    one, two = kinds[codes[:-1]], kinds[codes[1:]]
    is_number = (one == Kind.NUMBER) & (two >= 0)
    before = np.flatnonzero((is_number | ((one >= 0) & (two == Kind.NUMBER))) & (one != two))
    pairs, inverse = np.unique(codes[before] * len(distinct) + codes[before + 1], return_inverse=True)
    names = [(distinct[pair // len(distinct)], distinct[pair % len(distinct)]) for pair in pairs.tolist()]
    made = [analysis.joined(*two) for two in names]
    numbers = np.array([-1 if term is None else terms.number(term) for term in made], np.int64)[inverse]
    return numbers[numbers >= 0], before[numbers >= 0]
