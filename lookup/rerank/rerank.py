"""The step of a search that scores the first candidates anew, by the snapshot's model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lookup.candidates import Candidates
from lookup.hit import Reranked
from lookup.lexical.analysis import Analysis
from lookup.opened import Opened
from lookup.query import Query
from lookup.rerank.features import Asked, matrix, needs
from lookup.rerank.models import Matrix, Model, ranker_spec
from lookup.rerank.values import Values
from lookup.rerank.words import Words
from lookup.store.entries.ranker_record import Kind, RankerSettings


def kind_of(query: Query) -> Kind | None:
    """What a query was asked by; None for neither text nor photo."""
    if query.image is None:
        return None if query.text is None else "text"
    return "photo" if query.text is None else "both"


@dataclass(frozen=True)
class Features:
    """What computes features of an open snapshot's candidates: in training and in searches alike. Threads may share
    it.
    """

    names: tuple[str, ...]
    kinds: Mapping[str, str]  # of attributes, see features.Kind
    values: Values
    words: Words

    @classmethod
    def of(
        cls,
        opened: Opened,
        names: Sequence[str],
        title: str | None,
        languages: Sequence[str],
        kinds: Mapping[str, str],
    ) -> Features:
        """Those of these names; `title` is the attribute that names a product, its words are of `languages`, `kinds`
        has the other attributes.
        """
        words = Words(Analysis(languages=tuple(languages)))
        return cls(tuple(names), kinds, Values(opened, title, tuple(kinds)), words)

    def matrix(self, text: str | None, candidates: Candidates) -> Matrix:
        """(n, m) float64 of candidates, best first, of a query by `text`, None for a photo alone."""
        titles, values = self.values.of(candidates)
        return matrix(Asked(text, candidates, titles, values, self.words), self.names, self.kinds)


@dataclass(frozen=True)
class Ranker:
    """The re-ranker of an open snapshot. Threads may share it."""

    settings: RankerSettings
    features: Features
    _text: str  # its model, read when the snapshot is opened: a collection may delete the file
    _weight: float | None = None  # share of words in the snapshot's scores; None: it is not searched by words
    identity: str = ""  # of its files

    @classmethod
    def of(cls, opened: Opened) -> Ranker | None:
        """That of the snapshot, None where it has none; IntegrityError where a file of it is missing or altered."""
        record = opened.manifest.ranker
        if record is None:
            return None
        found = record.settings
        features = Features.of(opened, found.features, found.title, found.languages, found.attributes)
        text = opened.store.verified(record.files["model"]).read_text(encoding="utf-8")
        lexical = opened.manifest.lexical
        weight = None if lexical is None else lexical.weight
        return cls(found, features, text, weight, record.identity)

    @cached_property
    def model(self) -> Model:
        """The model, made when first asked for, as LightGBM takes a second to load; InputError where it is absent."""
        return ranker_spec(self.settings.type).open(self._text)

    def load(self) -> None:
        """Load the model: the first query pays for that else."""
        _ = self.model

    def depth(self, query: Query) -> int:
        """How many candidates a search for `query` needs."""
        return max(query.k, self.settings.top) if self.applies(query) else query.k

    def applies(self, query: Query) -> bool:
        """Whether `query` is of a kind that it was learned from, asks for it, and has scores as it knows them."""
        return query.rerank and kind_of(query) in self.settings.kinds and not self._of_other_scores(query)

    def told(self, query: Query) -> Reranked | None:
        """What an answer to `query` says of it; None where it does not order that."""
        return Reranked(self.settings.type, self.identity, self.settings.top) if self.applies(query) else None

    def _of_other_scores(self, query: Query) -> bool:
        """Whether the query's own weight of words gives other scores than those that the model was learned from."""
        if query.lexical_weight is None or self._weight is None or query.text is None:
            return False
        # of a text beside a photo, the snapshot's own weight is halved
        same = query.image is None and query.lexical_weight == self._weight
        return not same and needs(self.settings.features, "score", "lexical")

    def reordered(self, query: Query, found: Candidates) -> Candidates:
        """`found`, best first, with the first `top` ordered by the model, equal ones by partition and position, and the
        rest behind as they were. Scores stay what they were.
        """
        first = found.first(self.settings.top)
        if not len(first) or not self.applies(query):
            return found
        scores = self.model.score(self.features.matrix(query.text, first))
        return found.take(np.concatenate([first.order(scores), np.arange(len(first), len(found))]))
