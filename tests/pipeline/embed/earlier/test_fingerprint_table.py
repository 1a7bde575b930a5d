"""The table of fingerprints finds what a dict finds, however many files its rows are scattered over."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embed.earlier import fingerprint_table
from pipeline.embed.earlier.fingerprint_table import FingerprintTable, TableWriter

FINGERPRINT = st.one_of(
    st.none(),
    st.binary(min_size=16, max_size=16),
    st.sampled_from([b"\0" * 16, b"\xff" * 16, b"\0" * 8 + b"\xff" * 8, b"\xff" * 8 + b"\0" * 8]),
)
SHARDS = st.lists(st.lists(FINGERPRINT, max_size=12), max_size=6)


@given(shards=SHARDS, asked=st.lists(FINGERPRINT, max_size=20), bucket=st.sampled_from([1, 3, 1 << 17]))
def test_it_finds_what_a_dict_finds(shards: list[list[bytes | None]], asked: list[bytes | None], bucket: int) -> None:
    """Of equal fingerprints the first row; of those that begin alike the least; nulls and strangers are nowhere."""
    first: dict[bytes, tuple[int, int]] = {}
    for number, shard in enumerate(shards):
        for row, one in enumerate(shard):
            if one is not None:
                first.setdefault(one, (number, row))
    asked = asked + [one for shard in shards for one in shard]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(fingerprint_table, "_BUCKET_ROWS", bucket)
        patch.setattr(fingerprint_table, "_BUFFERED", 5)
        path = Path(folder) / "table"
        writer = TableWriter(path, sum(map(len, shards)), Path(folder))
        for number, shard in enumerate(shards):
            column = pa.array([None, *shard], pa.binary(16)).slice(1)  # a slice: offsets count
            writer.add(number, column)
        assert writer.close() == len(first)
        assert [entry.name for entry in Path(folder).iterdir()] == ["table"]
        assert path.stat().st_size == 24 * len(first)
        found = FingerprintTable(path).find(pa.array([None, *asked], pa.binary(16)).slice(1))
    places = [(int(s), int(r)) if s >= 0 else None for s, r in zip(found.shards, found.rows, strict=True)]
    least = {one[:8]: one for one in sorted(first, reverse=True)}
    assert places == [first[one] if one is not None and least.get(one[:8]) == one else None for one in asked]
