"""Rows at random are the rows of their shards, whoever lays them out first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.embed.earlier.scattered_rows import ScatteredRows, ShardVectors

LENGTHS, DIM, DAMAGED = (5, 0, 7, 3), 4, 3


def shard_of(number: int) -> ShardVectors | None:
    """Vectors that say which shard and row they are of; the last row has none, and one shard is damaged."""
    if number == DAMAGED:
        return None
    n = LENGTHS[number]
    vectors = np.array([[number, row, 0, 1] for row in range(n)], np.float16).reshape(n, DIM)
    keys = [bytes([number + 1, row]) * 8 for row in range(n)]
    return ShardVectors(pa.array([b"?" * 16, *keys], pa.binary(16)).slice(1), vectors, np.arange(n) < n - 1)


def test_rows_are_those_of_their_shards(tmp_path: Path) -> None:
    """Also those that another process laid out; not where the fingerprint is another, the row beyond the shard, the
    vector absent, or the shard damaged, which is named.
    """
    loaded: list[int] = []

    def load(number: int) -> ShardVectors | None:
        loaded.append(number)
        return shard_of(number)

    asked = [(2, 3), (0, 1), (2, 0), (2, 6), (0, 4), (DAMAGED, 0), (0, 2), (2, 9)]
    keys = [bytes([shard + 1, row]) * 8 for shard, row in asked]
    keys[6] = b"x" * 16
    shards, rows = (np.array(column, np.int64) for column in zip(*asked, strict=True))
    for expected in ([0, 2, DAMAGED], []):
        loaded.clear()
        scattered = ScatteredRows(tmp_path / "text_vector.rows", LENGTHS, DIM)
        vectors, there, damaged = scattered.read(shards, rows, pa.array(keys, pa.binary(16)), load)
        assert there.tolist() == [True, True, True, False, False, False, False, False]
        assert vectors[there].tolist() == [[2, 3, 0, 1], [0, 1, 0, 1], [2, 0, 0, 1]]
        assert (damaged, sorted(loaded)) == ([DAMAGED], expected)
