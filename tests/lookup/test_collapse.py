"""One hit of each group, over a ranking of drawn groups in drawn partitions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.errors import InputError
from lookup.candidates import Candidates
from lookup.collapse import Duplicates

NAMES = ("A", "B")


class InMemory(Duplicates):
    """Groups that no file has."""

    def __init__(self, groups: dict[str, np.ndarray]) -> None:
        self._records: Any = {name: SimpleNamespace(kinds={"photo": None, "any": None}) for name in groups}
        self.groups = groups

    def _mapped(self, name: str, kind: str, record: Any) -> np.ndarray:
        groups = self.groups[name]
        sizes = np.bincount(groups, minlength=len(groups))[groups] if len(groups) else groups
        return np.stack([groups, sizes]).astype(np.int32)


def drawn(seed: int, rows: tuple[int, int], groups: int) -> tuple[dict[str, np.ndarray], Candidates]:
    """Groups of each partition by their least position, and a ranking of all rows; scores of which many are equal."""
    rng = np.random.default_rng(seed)
    labels = [rng.integers(0, max(1, groups), count) for count in rows]
    least = {
        name: np.array([np.flatnonzero(one == x)[0] for x in one], np.int64)
        for name, one in zip(NAMES, labels, strict=True)
    }
    scores = rng.integers(0, 50, sum(rows)).astype(np.float32)
    found = [(scores[: rows[0]], np.arange(rows[0])), (scores[rows[0] :], np.arange(rows[1]))]
    return least, Candidates.of(NAMES, found).ranked()


@given(
    seed=st.integers(0, 10_000),
    rows=st.tuples(st.integers(0, 400), st.integers(0, 400)),
    groups=st.integers(1, 300),
    k=st.integers(1, 200),
)
def test_each_group_has_one_hit_its_best(seed: int, rows: tuple[int, int], groups: int, k: int) -> None:
    """min(k, groups) hits, in the order of the ranking, each the first of its group; however deep one has to look, and
    with only as many rows of each partition as were asked for.
    """
    least, ranking = drawn(seed, rows, groups)
    asked = list[int]()

    def search(depth: int) -> Candidates:
        asked.append(depth)
        each = [ranking.take(np.flatnonzero(ranking.part == part)).first(depth) for part in (0, 1)]
        kept = np.isin(np.arange(len(ranking)), [])
        for part, one in enumerate(each):
            kept |= (ranking.part == part) & np.isin(ranking.positions, one.positions)
        return ranking.take(np.flatnonzero(kept))

    found = InMemory(least).best_of_each(search, "photo", k)
    wanted, seen = [], set()
    for at in range(len(ranking)):
        group = ranking.name(at), int(least[ranking.name(at)][ranking.positions[at]])
        if group not in seen:
            seen.add(group)
            wanted.append((ranking.name(at), int(ranking.positions[at])))
    assert [(found.hits.name(at), int(found.hits.positions[at])) for at in range(len(found.hits))] == wanted[:k]
    for (name, position), others in zip(wanted, found.others, strict=False):
        assert others == np.count_nonzero(least[name] == least[name][position]) - 1
    assert asked == sorted(asked)
    if k <= 100:  # the first hits are the same for every k up to 100: as deep for each
        assert asked[0] == 100


def test_what_is_behind_a_flood_is_found_at_once() -> None:
    """A group of 30,000 before all others: three searches find a hundred groups, and hardly more rows than there are
    before these.
    """
    groups = np.concatenate([np.zeros(30_000, np.int64), np.arange(30_000, 60_000)])
    ranking = Candidates.of(["A"], [(np.arange(60_000, 0, -1).astype(np.float32), np.arange(60_000))]).ranked()
    asked = list[int]()

    def search(depth: int) -> Candidates:
        asked.append(depth)
        return ranking.first(depth)

    found = InMemory({"A": groups}).best_of_each(search, "photo", 10)
    assert found.hits.positions.tolist() == [0, *range(30_000, 30_009)]
    assert found.others == [29_999, *[0] * 9]
    assert len(asked) == 3
    assert sum(asked) < 40_000


def test_a_partition_without_groups_has_each_row_for_itself() -> None:
    """Such as one that was published before duplicates were looked for."""
    least, ranking = drawn(1, (5, 5), 1)
    found = InMemory({"A": least["A"]}).best_of_each(ranking.first, "any", 10)
    assert len(found.hits) == 1 + 5
    assert sorted(found.others) == [0, 0, 0, 0, 0, 4]


def test_a_kind_that_nobody_looked_for_is_refused() -> None:
    """With the kinds that there are; a snapshot without any is told how to get them."""
    duplicates = InMemory({"A": np.zeros(1, np.int64)})
    assert (duplicates.kind(None), duplicates.kind(False), duplicates.kind(True)) == (None, None, "any")
    assert duplicates.kind("photo") == "photo"
    with pytest.raises(InputError, match="collapse by any, photo"):
        duplicates.kind("near")
    with pytest.raises(InputError, match="were looked for"):
        InMemory({}).kind(True)
