"""The texts of a shard's rows: read as they were written, or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from foundation.errors import IntegrityError
from index_builders.rows.shards import SegmentRef, embedding_array, shard_schema, write_shard
from index_builders.rows.texts import text_blocks, texts_digest

FIELDS = ("description", "title")
ROWS = [
    {"title": "red dress", "description": "long"},
    {"title": None, "description": "红色"},
    {"title": "shoe", "description": None},
]


def texts(rows: list[dict[str, str | None]]) -> pa.StructArray:
    """A column of texts."""
    return pa.array(rows, pa.struct([(name, pa.string()) for name in FIELDS]))


def shard(path: Path) -> list[SegmentRef]:
    """A shard of these rows in two segments."""
    schema = shard_schema(2, None, None, pa.schema([]), {}, FIELDS)
    n = len(ROWS)
    columns = {
        "id": [str(row) for row in range(n)],
        "row": list(range(n)),
        "texts": texts(ROWS),
        "embedding": embedding_array(np.eye(n, 2, dtype=np.float32)),
    }
    table = pa.table({name: columns.get(name, pa.nulls(n, schema.field(name).type)) for name in schema.names}, schema)
    return [
        SegmentRef(path, group, 2 - group, digest) for group, digest in enumerate(write_shard(path, table, [0, 2, 3]))
    ]


def test_texts_come_back_in_order(tmp_path: Path) -> None:
    """Field by field, null where a row has none, of the fields that are asked for."""
    refs = shard(tmp_path / "s.parquet")
    digests = [texts_digest(texts(ROWS[:2])), texts_digest(texts(ROWS[2:]))]
    found = pa.concat_tables(text_blocks(refs, digests, FIELDS))
    assert found.to_pylist() == [{name: row[name] for name in FIELDS} for row in ROWS]
    assert pa.concat_tables(text_blocks(refs, digests, ["title"])).column_names == ["title"]


@pytest.mark.parametrize("wrong", ["digest", "rows"])
def test_other_texts_than_recorded_are_refused(tmp_path: Path, wrong: str) -> None:
    """A segment of other texts, or of another length, is no segment of this index."""
    first, second = shard(tmp_path / "s.parquet")
    digest = texts_digest(texts(ROWS[2:]))
    ref = replace(second, rows=2) if wrong == "rows" else first
    with pytest.raises(IntegrityError, match="texts of digest"):
        list(text_blocks([ref], [digest], FIELDS))


def test_a_digest_tells_rows_and_fields_apart() -> None:
    """Texts that moved from one field or row to another, an empty one and none are others."""
    one = {"title": "a", "description": "b"}
    several = [
        [one],
        [{"title": "b", "description": "a"}],
        [{"title": "ab", "description": None}],
        [{"title": "ab", "description": ""}],
        [one, one],
        [{"title": "a", "description": None}, {"title": None, "description": "b"}],
    ]
    assert len({texts_digest(texts(rows)) for rows in several}) == len(several)
    assert texts_digest(texts([one, *ROWS])[1:]) == texts_digest(texts(ROWS))
