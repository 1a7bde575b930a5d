"""What is recorded of a re-ranker: the features it sees, what it was learned on, and how much it was better there."""

from __future__ import annotations

from typing import Literal

from lookup.store.fields import FileRef, Record

Kind = Literal["text", "photo", "both"]  # of a query


class Gain(Record):
    """The means of a figure over the held-out queries, without and with the re-ranker, and the 95% bootstrap interval
    of the mean of the differences, query by query.
    """

    before: float
    after: float
    low: float
    high: float

    @property
    def mean(self) -> float:
        """The mean of the differences."""
        return self.after - self.before


class HeldOut(Record):
    """The comparison on queries that nothing was learned from: `folds` sets of queries, or the last days of clicks."""

    split: Literal["query", "day"]
    folds: int
    queries: int
    figures: dict[str, Gain]


class LearnedOn(Record):
    """The snapshot that it was learned on: its content, and the parts of what scores depend on (names -> values)."""

    content: str
    scores: dict[str, str]


class RankerSettings(Record):
    """`config.json` of a re-ranker's folder.

    `features` are columns of what the model sees, in order; `attributes` those that they are of -> what each counts as;
    `title` is the attribute that names a product, whose words are cut to stems of
    `languages`. It was learned from the first `top` candidates of `queries` queries
    of these `kinds`, and only such are re-ranked. `dropped` features said nothing, each with the reason. `weights` is
    the blake3 of the model's file.
    """

    vitrine: Literal["ranker"] = "ranker"
    type: str
    version: int = 1
    features: tuple[str, ...]
    attributes: dict[str, str]
    title: str | None
    languages: tuple[str, ...]
    top: int
    kinds: tuple[Kind, ...]
    queries: int
    dropped: dict[str, str]
    learned_on: LearnedOn
    held_out: HeldOut
    weights: str


class RankerRecord(Record):
    """The re-ranker of a snapshot; `identity` is 64 hex digits of its files, by role `config` and `model`."""

    identity: str
    settings: RankerSettings
    files: dict[str, FileRef]
