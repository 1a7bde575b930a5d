"""What a re-ranker is compared by with the snapshot that it is to order."""

from __future__ import annotations

import pytest
import Stemmer

from lookup.rerank.learned_on import differing_scores, with_terms
from lookup.store.entries.ranker_record import LearnedOn, RankerSettings

PARTS = {"metric": "ip", "lexical half": "none"}


@pytest.mark.parametrize(
    ("features", "differ"),
    [
        (("dense", "overlap"), ["terms of titles"]),
        (("overlap",), ["terms of titles"]),
        (("dense", "attributes.price"), []),
    ],
)
def test_another_stemmer_is_told_where_words_are_seen(
    monkeypatch: pytest.MonkeyPatch, features: tuple[str, ...], differ: list[str]
) -> None:
    """Titles have other terms then, whether or not the snapshot is searched by words."""
    learned = LearnedOn(content="", scores=with_terms(PARTS, features, ("english",)))
    settings = RankerSettings.model_construct(features=features, languages=("english",), learned_on=learned)
    assert differing_scores(settings, PARTS) == []
    monkeypatch.setattr(Stemmer, "version", lambda: "9.9.9")
    assert differing_scores(settings, PARTS) == differ
