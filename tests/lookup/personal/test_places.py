"""The way from an id to its row."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lookup.personal.places as places
from lookup.personal.places import hashes


@given(ids=st.lists(st.text(max_size=12), max_size=30), cut=st.integers(0, 30))
def test_an_id_has_one_hash_wherever_it_stands(ids: list[str], cut: int) -> None:
    """The hash does not depend on what stands beside it, nor on where an array was sliced; position bits are free."""
    array = pa.array(ids, pa.string())
    whole = hashes(array)
    np.testing.assert_array_equal(hashes(array.slice(cut)), whole[cut:])
    np.testing.assert_array_equal([hashes(pa.array([one]))[0] for one in ids], whole)
    assert not (whole & np.uint64(0xFFFFFFFF)).any()


def test_hashes_of_numbered_ids_spread() -> None:
    """Of 200,000 ids in a row not more share their 32 bits than chance has it: 5 pairs are expected."""
    found = hashes(pa.array([f"V-{number:08d}" for number in range(200_000)]))
    assert len(found) - len(np.unique(found)) < 25


def test_ids_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all ids share one hash, each is still found at its own place."""
    ids = pa.chunked_array([["a", "b"], [], ["c", "", "d"]], pa.string())
    monkeypatch.setattr(places, "hashes", lambda some: np.full(len(some), 7 << 32, np.uint64))

    index = SimpleNamespace(id_column=ids, ids=lambda positions: ids.take(pa.array(positions)).to_pylist())
    found = places.Places({"Home": SimpleNamespace(index=index)}).of(["d", "x", "a", ""])  # type: ignore[dict-item]
    assert found == [(("Home", 4),), (), (("Home", 0),), (("Home", 3),)]


def test_long_ids_take_no_more_memory_than_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 65,536 ids of 200 bytes 24 MB are used at most, and 6 stay; a hash does not depend on how they are cut."""
    ids = pa.array([f"{number:0200d}" for number in range(65_536)])
    tracemalloc.start()
    try:
        found = hashes(ids)
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (kept < 6 << 20, most < 24 << 20) == (True, True)
    some = ids.slice(40_000, 9)
    monkeypatch.setattr(places, "_BYTES", 500)
    np.testing.assert_array_equal(hashes(some), found[40_000:40_009])
    monkeypatch.setattr(places, "_BYTES", 5)  # shorter than one id
    np.testing.assert_array_equal(hashes(some), found[40_000:40_009])
