"""What a re-ranker sees of a candidate: a stated list, each a small function, computed alike in training and in a
search.

To add a feature, add a function and its line in `FEATURES`. A feature is (n,) float64, a number of each candidate, NaN
where it says nothing: a photo has no words, a product may have no price. Ranks are log2(1 + rank), so that the first
places count most.

Of each attribute by name there are two, see `attribute_features`: its value, of prices, dates and times against those
of the other candidates, and its place among them, which does not depend on any scale.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lookup.candidates import Candidates
from lookup.rerank.words import Title, Words, numbers_of, plain_of

Feature = npt.NDArray[np.float64]  # (n,)
VOTERS = (
    20  # candidates nearest by embedding that say which category a query is of, each by how far it is above the last
)


class Kind:
    """What an attribute counts as."""

    NUMBER, PRICE, TIME = "number", "price", "time"


@dataclass(frozen=True)
class Asked:
    """A query's text (None: a photo alone), its candidates, best first, what each is called (None: not known), and
    their attributes as numbers, (n,) float64 by name; prices are amounts, dates and times days since 1970.
    """

    text: str | None
    candidates: Candidates
    titles: Sequence[str | None]
    values: Mapping[str, Feature]
    words: Words

    def __len__(self) -> int:
        return len(self.candidates)

    @cached_property
    def query(self) -> list[str]:
        """The terms of the query, in order."""
        return [] if self.text is None else self.words.terms(self.text, "query")

    @cached_property
    def read(self) -> list[Title | None]:
        """The titles as they are compared; None where there is none, or no query to hold it against."""
        return [self.words.title(one) if one and self.query else None for one in self.titles]

    @cached_property
    def weights(self) -> dict[str, float]:
        """The query's terms -> how much they tell these candidates apart: log(1 + n / titles that have it), which is 0
        of a term that nobody has, for it tells nothing.
        """
        wanted = set(self.query)
        counts = Counter(term for title in self.read if title for term in wanted.intersection(title.terms))
        return {term: float(np.log1p(len(self) / counts[term])) if counts[term] else 0.0 for term in self.query}

    @cached_property
    def numbers(self) -> frozenset[str]:
        """The query's words with digits."""
        return numbers_of(self.text or "")

    @cached_property
    def trigrams(self) -> frozenset[str]:
        """Each three characters of the query."""
        text = plain_of(self.text or "")
        return frozenset(text[i : i + 3] for i in range(len(text) - 2))

    @cached_property
    def held(self) -> Feature:
        """How many of these each title has; NaN where there is none."""
        wanted = self.trigrams
        return self.of_titles(lambda title: sum([one in title.plain for one in wanted]) if wanted else np.nan)

    def of_titles(self, measure: Callable[[Title], float]) -> Feature:
        """`measure` of each title; NaN where there is none."""
        found = (np.nan if title is None else measure(title) for title in self.read)
        return np.fromiter(found, np.float64, len(self.titles))

    def of_terms(self, measure: Callable[[tuple[str, ...]], float]) -> Feature:
        """`measure` of the terms of each title; NaN where there are none."""
        return self.of_titles(lambda title: measure(title.terms) if title.terms else np.nan)


# --- scores ---


def _rank(scores: npt.NDArray[np.float32]) -> Feature:
    order = np.argsort(-scores.astype(np.float64), kind="stable")
    ranks = np.empty(len(scores), np.float64)
    ranks[order] = np.log2(2.0 + np.arange(len(scores)))
    return np.where(np.isnan(scores), np.nan, ranks)


def _gap(scores: npt.NDArray[np.float32]) -> Feature:
    known = scores[~np.isnan(scores)]
    best = float(known.max()) if len(known) else np.nan
    return best - scores.astype(np.float64)


def _number(scores: npt.NDArray[np.float32]) -> Feature:
    return scores.astype(np.float64)


# --- words ---


def _overlap(asked: Asked) -> Feature:
    wanted = set(asked.query)
    return asked.of_terms(lambda terms: len(wanted.intersection(terms)) / len(wanted))


def _weighted_overlap(asked: Asked) -> Feature:
    weights = asked.weights
    whole = sum(weights.values()) or 1.0
    return asked.of_terms(lambda terms: sum(weights[term] for term in set(terms).intersection(weights)) / whole)


def _covered(asked: Asked) -> Feature:
    wanted = set(asked.query)
    return asked.of_terms(lambda terms: sum(term in wanted for term in terms) / len(terms))


def _in_order(asked: Asked) -> Feature:
    pairs = set(pairwise(asked.query))
    if not pairs:
        return np.full(len(asked), np.nan)
    return asked.of_terms(lambda terms: len(pairs.intersection(pairwise(terms))) / len(pairs))


def _last_word(asked: Asked) -> Feature:
    return asked.of_terms(lambda terms: float(asked.query[-1] in terms))


def _first_word(asked: Asked) -> Feature:
    return asked.of_terms(lambda terms: float(asked.query[0] in terms))


def _trigrams(asked: Asked) -> Feature:
    lengths = asked.of_titles(lambda title: max(len(title.plain) - 2, 1))
    return np.asarray(2 * asked.held / (len(asked.trigrams) + lengths))


def _trigrams_held(asked: Asked) -> Feature:
    return np.asarray(asked.held / max(len(asked.trigrams), 1))


def _numbers_common(asked: Asked) -> Feature:
    return asked.of_titles(lambda title: len(asked.numbers & title.numbers))


def _numbers_missing(asked: Asked) -> Feature:
    return asked.of_titles(lambda title: len(asked.numbers - title.numbers))


def _numbers_more(asked: Asked) -> Feature:
    return asked.of_titles(lambda title: len(title.numbers - asked.numbers))


def _query_words(asked: Asked) -> Feature:
    return np.full(len(asked), np.nan if asked.text is None else float(len(asked.query)))


def _title_words(asked: Asked) -> Feature:
    return asked.of_terms(lambda terms: float(len(terms)))


# --- categories ---


def _category_share(asked: Asked) -> Feature:
    part = asked.candidates.part
    weights: Feature = 1 / np.log2(2.0 + np.arange(len(part)))
    shares = np.bincount(part, weights, minlength=len(asked.candidates.partitions)) / weights.sum()
    return np.asarray(shares[part], np.float64)


def _first_category(asked: Asked) -> Feature:
    shares = _category_share(asked)
    return np.asarray(shares >= shares.max(initial=0) - 1e-12, np.float64)


def _category_vote(asked: Asked) -> Feature:
    part, dense = asked.candidates.part, asked.candidates.dense.astype(np.float64)
    known = np.flatnonzero(~np.isnan(dense))
    if not len(known):
        return np.full(len(asked), np.nan)
    voters = known[np.argsort(-dense[known], kind="stable")[:VOTERS]]
    above = dense[voters] - dense[voters[-1]]
    weights = above if above[0] > 0 else np.ones(len(voters))
    votes = np.bincount(part[voters], weights, minlength=len(asked.candidates.partitions)) / weights.sum()
    return np.asarray(votes[part], np.float64)


class Stated(NamedTuple):
    """A feature: what it is `of` (dense, lexical, score, words, category), what it says, and its function."""

    of: str
    what: str
    compute: Callable[[Asked], Feature]


FEATURES: dict[str, Stated] = {
    "dense": Stated("dense", "score of the embedding", lambda asked: _number(asked.candidates.dense)),
    "dense_rank": Stated("dense", "rank by it", lambda asked: _rank(asked.candidates.dense)),
    "dense_gap": Stated("dense", "how far it is below the best", lambda asked: _gap(asked.candidates.dense)),
    "lexical": Stated("lexical", "score of the words", lambda asked: _number(asked.candidates.lexical)),
    "lexical_rank": Stated("lexical", "rank by it", lambda asked: _rank(asked.candidates.lexical)),
    "lexical_gap": Stated("lexical", "how far it is below the best", lambda asked: _gap(asked.candidates.lexical)),
    "score": Stated("score", "score of both together", lambda asked: _number(asked.candidates.score)),
    "score_rank": Stated("score", "rank by it", lambda asked: _rank(asked.candidates.score)),
    "score_gap": Stated("score", "how far it is below the best", lambda asked: _gap(asked.candidates.score)),
    "overlap": Stated("words", "share of the query's words that the title has", _overlap),
    "weighted_overlap": Stated("words", "the same, where words of few candidates count most", _weighted_overlap),
    "covered": Stated("words", "share of the title's words that are the query's", _covered),
    "in_order": Stated("words", "share of the query's pairs of words that stand so in the title", _in_order),
    "first_word": Stated("words", "1 where the title has the query's first word", _first_word),
    "last_word": Stated("words", "1 where it has the last one, often the product itself", _last_word),
    "trigrams": Stated("words", "how alike query and title are by three characters (Dice)", _trigrams),
    "trigrams_held": Stated("words", "share of the query's three characters that the title has", _trigrams_held),
    "numbers_common": Stated("words", "numbers and codes that both have", _numbers_common),
    "numbers_missing": Stated("words", "those of the query that the title lacks", _numbers_missing),
    "numbers_more": Stated("words", "those of the title that the query lacks", _numbers_more),
    "query_words": Stated("words", "words of the query", _query_words),
    "title_words": Stated("words", "words of the title", _title_words),
    "category_share": Stated("category", "share of candidates in its category, first ones count most", _category_share),
    "first_category": Stated("category", "1 in the category that has most of them", _first_category),
    "category_vote": Stated("category", "how likely its category is: vote of the nearest by embedding", _category_vote),
}
_VALUE, _AMONG = "attributes.", "among."


def attribute_features(name: str) -> tuple[str, str]:
    """The names of the features of an attribute: its value, and its place among the candidates', 0..1."""
    return _VALUE + name, _AMONG + name


def attribute_of(feature: str) -> str | None:
    """The attribute of a feature of `attribute_features`; None for one of `FEATURES`."""
    named = next((start for start in (_VALUE, _AMONG) if feature.startswith(start)), None)
    return None if named is None else feature.removeprefix(named)


def needs(features: Sequence[str], *of: str) -> bool:
    """Whether some of `features` are of one of these."""
    return any(name in FEATURES and FEATURES[name].of in of for name in features)


def matrix(asked: Asked, names: Sequence[str], kinds: Mapping[str, str]) -> npt.NDArray[np.float64]:
    """(n, m) float64: the features of these names, in this order; `kinds` of attributes are those of `Kind`."""
    if not len(asked):
        return np.empty((0, len(names)))
    columns = [
        FEATURES[name].compute(asked) if attribute_of(name) is None else _of_attribute(asked, name, kinds)
        for name in names
    ]
    return np.column_stack(columns)


def _of_attribute(asked: Asked, feature: str, kinds: Mapping[str, str]) -> Feature:
    name = str(attribute_of(feature))
    values = asked.values[name]
    known = values[~np.isnan(values)]
    if not len(known):
        return np.full(len(asked), np.nan)
    if feature.startswith(_AMONG):
        below = np.searchsorted(np.sort(known), values, side="left").astype(np.float64)
        return np.where(np.isnan(values), np.nan, below / max(len(known) - 1, 1))
    if kinds[name] == Kind.PRICE:  # against the median, so that shoes and screws compare
        return np.asarray(np.log1p(np.maximum(values, 0)) - np.log1p(max(float(np.median(known)), 0.0)))
    if kinds[name] == Kind.TIME:  # days before the newest, so that the model does not age
        return np.asarray(np.log1p(known.max() - values))
    return values
