"""Which queries a re-ranker answers, and what it needs for that."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from foundation.errors import InputError
from lookup.query import Query
from lookup.rerank.rerank import Ranker
from lookup.store.entries.ranker_record import RankerSettings


def ranker(*features: str, weight: float | None = 0.4, kind: str = "logistic") -> Ranker:
    """One that sees these features, of a snapshot whose scores have such a share of words."""
    settings = RankerSettings.model_construct(type=kind, features=features, kinds=("text", "both"), top=10)
    return Ranker(settings, None, "", weight)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "features", "weight", "applies"),
    [
        ({}, ["score"], 0.4, True),
        ({"lexical_weight": 0.4}, ["score"], 0.4, True),
        ({"lexical_weight": 0.0}, ["score_gap"], 0.4, False),
        ({"lexical_weight": 0.0}, ["dense", "lexical"], 0.4, False),
        ({"lexical_weight": 0.9}, ["score"], 0.4, False),
        ({"lexical_weight": 0.9}, ["dense", "overlap"], 0.4, True),
        ({"lexical_weight": 0.0}, ["score"], None, True),  # it is not searched by words: the weight changes nothing
        ({"lexical_weight": 0.4, "image": b"a"}, ["score"], 0.4, False),  # whole; by itself it would be halved
        ({"rerank": False}, ["overlap"], 0.4, False),
    ],
)
def test_scores_of_another_weight_are_not_held_against_the_model(
    asked: dict[str, Any], features: list[str], weight: float | None, applies: bool
) -> None:
    """A query with a weight of words of its own is re-ranked only where the model sees nothing of that."""
    assert ranker(*features, weight=weight).applies(Query("a", **asked)) is applies


def test_without_lightgbm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trees on a host without LightGBM: an error in three parts, which says what to install."""
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(InputError, match=r"pip install 'vitrine-index\[rank\]'"):
        ranker("score", kind="trees").load()
