"""A shard is named by what it holds: no name has two contents, whatever its inputs were."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from lookup.store.store import Store
from pipeline.catalog.stage_columns import TEXT_VECTOR, with_columns
from pipeline.embed.shard_files import own_record, write_unit
from tests.support.command import config_for
from tests.support.stores import products
from tests.support.units import fused_units

INPUTS = "a" * 32


@pytest.mark.parametrize("row", [0, 9])
def test_other_last_bits_are_another_shard(demo: Path, tmp_path: Path, row: int) -> None:
    """Of equal inputs, too, as with vectors that were encoded beside others; what was written before is as it was, and
    whoever writes the same once more writes nothing.
    """
    config, store = config_for(demo, tmp_path), Store.create(str(tmp_path))
    embedding = config.settings.embedding
    fused = fused_units(config)[0][1]
    first = write_unit(store, INPUTS, fused, embedding)
    before = products(tmp_path)
    vectors = fused.column(TEXT_VECTOR).to_pylist()
    vectors[row] = bytes([vectors[row][0] ^ 1]) + vectors[row][1:]
    other = with_columns(fused, **{TEXT_VECTOR: pa.array(vectors, fused.schema.field(TEXT_VECTOR).type)})
    second = write_unit(store, INPUTS, other, embedding)
    assert first.inputs == second.inputs == INPUTS
    assert first.name != second.name
    assert first.file is not None
    assert second.file is not None
    assert first.file.path != second.file.path
    assert before.items() <= products(tmp_path).items()
    assert own_record(store, first.name) == first
    assert own_record(store, second.name) == second
    after = products(tmp_path)
    assert write_unit(store, INPUTS, fused, embedding) == first
    assert products(tmp_path) == after
