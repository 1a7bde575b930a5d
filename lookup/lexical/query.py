"""A query of words, as indexes score it: groups of terms of which a product has some, and what was corrected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Alternative:
    """A product has it that has all of `terms`."""

    terms: tuple[str, ...]
    weight: float = 1.0


@dataclass(frozen=True)
class Group:
    """What one word of a query asks for: the best of the alternatives that a product has counts."""

    alternatives: tuple[Alternative, ...]
    weight: float = 1.0


@dataclass(frozen=True)
class Correction:
    """A word of a query that no product has, and those that were looked for in its place."""

    word: str
    to: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.word}: looked for {', '.join(self.to)}"


@dataclass(frozen=True)
class LexicalQuery:
    """A query of words. A product's score is the sum over the groups; one that has none of them is not found."""

    groups: tuple[Group, ...]
    corrections: tuple[Correction, ...] = ()

    @property
    def terms(self) -> tuple[str, ...]:
        """Every term that it names, each once."""
        named = (term for group in self.groups for one in group.alternatives for term in one.terms)
        return tuple(dict.fromkeys(named))

    @classmethod
    def of(cls, groups: Iterable[Group], corrections: Sequence[Correction] = ()) -> LexicalQuery:
        """Of `groups`, those with equal alternatives made one of their weights together."""
        weights = dict[tuple[Alternative, ...], float]()
        for group in groups:
            weights[group.alternatives] = weights.get(group.alternatives, 0.0) + group.weight
        return cls(tuple(Group(*one) for one in weights.items()), tuple(corrections))
