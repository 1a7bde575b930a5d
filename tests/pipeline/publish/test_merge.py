"""What a run publishes over what others published meanwhile: of each partition the newer reading."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookup.store.entries.accepted import Accepted
from lookup.store.manifest import Manifest, Provenance
from pipeline.publish.merge import Merged, Mine, Superseded, merged_over
from tests.support.manifests import manifest_of_readings, reading, readings

NAMES = ("a", "b", "c")
BASE = manifest_of_readings(reading(0), dict.fromkeys("ab", reading(0)), whole=reading(0))


def full(number: int, names: str, minutes: float | None = None, base: Manifest | None = BASE) -> Mine:
    """What a run of the whole catalog, which has the partitions `names`, made on top of `base`."""
    read = reading(number, minutes)
    return Mine(manifest_of_readings(read, dict.fromkeys(names, read), "base", read), base, None, read)


def of_category(number: int, name: str, minutes: float | None = None, base: Manifest | None = BASE) -> Mine:
    """What a run of one category made on top of `base`."""
    read = reading(number, minutes)
    carried = {} if base is None else {one.name: one.provenance for one in base.partitions if one.provenance}
    made = manifest_of_readings(read, carried | {name: read}, "base", base.whole if base else None)
    return Mine(made, base, frozenset([name]), read)


def over(parent: Manifest, mine: Mine) -> Manifest:
    """The merged snapshot; of a run that is superseded what stays published."""
    done = merged_over(parent, "parent", mine)
    return done.manifest if isinstance(done, Merged) else parent


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        (of_category(1, "a"), of_category(2, "b"), {"a": "run-1", "b": "run-2"}),
        (of_category(1, "a"), of_category(2, "a"), {"a": "run-2", "b": "run-0"}),
        (of_category(1, "c"), full(2, "ab"), {"a": "run-2", "b": "run-2"}),  # the newer whole read has no c
        (of_category(2, "c"), full(1, "ab"), {"a": "run-1", "b": "run-1", "c": "run-2"}),
        (full(1, "abc"), full(2, "ac"), {"a": "run-2", "c": "run-2"}),
        (full(1, "a"), of_category(2, "b"), {"a": "run-1", "b": "run-2"}),
        (full(2, "a"), of_category(1, "b"), {"a": "run-2"}),  # which is gone by now
    ],
    ids=["others", "same", "gone", "new", "whole", "back", "gone since"],
)
def test_the_newer_reading_of_each_partition_is_published(first: Mine, second: Mine, wanted: dict[str, str]) -> None:
    """Whichever of two runs that were at work at once publishes first."""
    for one, other in ((first, second), (second, first)):
        assert readings(over(over(BASE, one), other)) == wanted


def test_a_first_store_gets_both() -> None:
    """Two runs that began on nothing: neither is lost."""
    one = over(of_category(1, "a", base=None).manifest, of_category(2, "b", base=None))
    assert readings(one) == {"a": "run-1", "b": "run-2"}
    assert one.whole is None


def test_a_run_that_is_overtaken_publishes_nothing() -> None:
    """All that it read is published from newer readings, which it names; of equal clocks the published one stays."""
    assert merged_over(full(2, "ab").manifest, "parent", full(1, "abc")) == Superseded(("a", "b", "c"))
    assert merged_over(of_category(2, "a").manifest, "parent", of_category(1, "a")) == Superseded(("a",))
    assert merged_over(of_category(2, "a", 5).manifest, "parent", of_category(1, "a", 5)) == Superseded(("a",))


def test_what_a_category_run_took_away_stays_away() -> None:
    """Every row of it was rejected: nobody knows when that was read but that it was meanwhile."""
    left = manifest_of_readings(reading(1), {"b": reading(0)}, "base", reading(0))
    assert readings(over(left, full(2, "ab"))) == {"b": "run-2"}


def test_a_merged_snapshot_says_what_it_stands_on() -> None:
    """Its parent, its run, the last run of the whole catalog, what was accepted of what it carries; and an equal
    snapshot has an equal content.
    """
    words = [Accepted(gate="recall", partition=name, value=0, bound=1, run="x") for name in ("a", "b")]
    parent = of_category(2, "b").manifest.model_copy(update={"accepted": tuple(words)})
    done = merged_over(parent, "parent", full(1, "ab"))
    assert isinstance(done, Merged)
    assert (done.mine, done.theirs) == (frozenset("a"), ("b",))
    made = done.manifest
    assert (made.parent, made.run, made.whole, made.missing) == ("parent", "run-1", reading(1), None)
    assert made.accepted == tuple(words[1:])
    assert made.content != parent.content
    again = merged_over(parent, "parent", full(1, "ab"))
    assert isinstance(again, Merged)
    assert again.manifest.content == made.content


@pytest.mark.parametrize(("mine", "theirs", "wanted"), [(1, 2, 2), (2, 1, 2), (None, 2, 2), (2, None, 2)])
def test_no_older_catalog_follows_on_a_merge(mine: int | None, theirs: int | None, wanted: int) -> None:
    """Its catalog counts as written when the later one of both was, so that the next night is held against that."""

    def written(manifest: Manifest, day: int | None) -> Manifest:
        newest = None if day is None else datetime(2026, 1, day, tzinfo=UTC)
        return manifest.model_copy(update={"catalog": manifest.catalog.model_copy(update={"newest": newest})})

    run = full(1, "ab")
    made = over(written(of_category(2, "b").manifest, theirs), replace(run, manifest=written(run.manifest, mine)))
    assert made.catalog.newest == datetime(2026, 1, wanted, tzinfo=UTC)
    assert made.catalog.identity == run.manifest.catalog.identity


@given(st.floats(-600_000, 600_000), st.sampled_from(NAMES), st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_clock_matters_to_runs_that_follow_one_another(minutes: float, name: str, whole: bool) -> None:
    """A run that began when another's snapshot was published is the newer one, though clocks were set back a year, or
    what is published claims to be of the next.
    """
    first = over(BASE, of_category(1, "a", minutes=500_000))
    mine = full(2, "abc", minutes, first) if whole else of_category(2, name, minutes, first)
    other = over(first, of_category(3, "b", minutes=0, base=first))  # meanwhile; for it and what follows clocks count
    done = readings(over(other, mine))
    for one in mine.scope or set(NAMES):
        if one != "b":
            assert done[one] == "run-2"


@dataclass
class _Night:
    """A run: the partitions that its catalog has, its category, and when it begins and publishes among others."""

    names: frozenset[str]
    category: str | None
    publishes: int


NIGHTS = st.lists(
    st.builds(
        _Night,
        st.sets(st.sampled_from(NAMES), min_size=1).map(frozenset),
        st.none() | st.sampled_from(NAMES),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=6,
)


@given(NIGHTS)
@settings(max_examples=200, deadline=None)
def test_no_partition_is_lost_and_none_is_stale(nights: list[_Night]) -> None:
    """Runs that begin one after another, and publish in any order, leave of each partition what the last of those that
    began says of it.
    """
    top = BASE
    ends = [(2 * (begins + night.publishes) + 1, False, begins) for begins, night in enumerate(nights)]
    events = sorted([*((2 * begins, True, begins) for begins in range(len(nights))), *ends])
    bases: dict[int, Manifest] = {}
    for _, begins, number in events:
        if begins:
            bases[number] = top
        else:
            night, read = nights[number], number + 1
            mine = (
                full(read, "".join(sorted(night.names)), base=bases[number])
                if night.category is None
                else of_category(read, night.category, base=bases[number])
            )
            top = mine.manifest if bases[number] is top else over(top, mine)
    assert readings(top) == _said_last(nights)


def _said_last(nights: list[_Night]) -> dict[str, str]:
    """Partition -> the run that was the last to begin of those that read it; without those that it says are gone."""
    found = {"a": "run-0", "b": "run-0"}
    for number, night in enumerate(nights, 1):
        if night.category is None:
            found = dict.fromkeys(night.names, f"run-{number}")
        else:
            found[night.category] = f"run-{number}"
    return found


def test_provenance_is_of_whoever_read() -> None:
    """A partition that is carried keeps the reading that it is of."""
    done = over(of_category(1, "a").manifest, of_category(2, "b"))
    assert [one.provenance for one in done.partitions] == [reading(1), reading(2)]
    assert isinstance(done.partitions[0].provenance, Provenance)
