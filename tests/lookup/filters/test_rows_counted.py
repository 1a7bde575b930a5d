"""How often the values of an attribute are there."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace

import pyarrow as pa

from lookup.filters.rows import Filters


def filters(*values: list[str | None]) -> Filters:
    """Those of a partition whose segments have these values of an attribute."""
    arrays = [pa.array(one, pa.string()) for one in values]
    segments = SimpleNamespace(attribute=lambda file, row_group, rows, name: arrays[row_group])
    return Filters(segments, ["url"], {})  # type: ignore[arg-type]


def partition(segments: int) -> SimpleNamespace:
    """One of so many segments."""
    return SimpleNamespace(name="all", located=lambda: [("file", at, 0) for at in range(segments)])


def test_of_values_that_are_nearly_all_different_no_string_is_made() -> None:
    """40,000 addresses are left out without a Python object of each; a value more than twice each is counted."""
    urls = [[f"https://shop.example/{number}" for number in range(at, at + 20_000)] for at in (0, 20_000)]
    many, parts = filters(*urls), [partition(2)]
    tracemalloc.start()
    try:
        assert many.value_counts(parts, "url", 2) == {}  # type: ignore[arg-type]
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert len(many.value_counts(parts, "url")) == 40_000  # type: ignore[arg-type]


def test_values_are_counted_over_all_segments() -> None:
    """What is there once in each of two segments is there twice: two rows each, which is enough of 2 and not of 3."""
    few, parts = filters(["a", "b", None], ["b", "a"]), [partition(2)]
    assert few.value_counts(parts, "url", 2) == {"a": 2, "b": 2}  # type: ignore[arg-type]
    assert few.value_counts(parts, "url", 3) == {}  # type: ignore[arg-type]
    assert filters([None]).value_counts([partition(1)], "url", 2) == {}  # type: ignore[list-item]
