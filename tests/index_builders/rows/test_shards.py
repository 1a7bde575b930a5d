"""Embedding shards: what is written is read, damage is found, samples are uniform."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import IntegrityError
from index_builders.rows import shards
from index_builders.rows.shards import SegmentRef

DIM = 8


def rows_of(n: int, seed: int = 0, dim: int = DIM) -> np.ndarray:
    """(n, dim) float32, nearly unit rows whose values are float16 numbers."""
    xb = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return (xb / np.linalg.norm(xb, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)


def shard_table(xb: np.ndarray, ids: list[str]) -> pa.Table:
    attributes = pa.schema([pa.field("title", pa.string()), pa.field("images", pa.list_(pa.string()))])
    schema = shards.shard_schema(xb.shape[1], 4, None, attributes, {"encoder": "é"})
    n = len(ids)
    known = {
        "id": pa.array(ids, pa.string()),
        "row": pa.array(range(n), pa.int32()),
        "attributes": pa.array(
            [{"title": f"t{i}", "images": ["a", None]} for i in range(n)], schema.field("attributes").type
        ),
        "text_vector": pa.array([bytes(8)] * n, pa.binary(8)),
        "embedding": shards.embedding_array(xb),
    }
    return pa.table([known.get(field.name, pa.nulls(n, field.type)) for field in schema], schema=schema)


def written(path: Path, xb: np.ndarray, boundaries: list[int]) -> list[SegmentRef]:
    digests = shards.write_shard(path, shard_table(xb, [f"p{i}" for i in range(len(xb))]), boundaries)
    sizes = np.diff(boundaries).tolist()
    return [SegmentRef(path, i, n, digest) for i, (n, digest) in enumerate(zip(sizes, digests, strict=True))]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """A shard has one row group per segment, and ids, embeddings, columns and metadata come back as they went in."""
    xb = rows_of(50)
    refs = written(tmp_path / "s.parquet", xb, [0, 20, 21, 50])
    assert pq.ParquetFile(tmp_path / "s.parquet").num_row_groups == 3
    for ref, start, stop in zip(refs, (0, 20, 21), (20, 21, 50), strict=True):
        np.testing.assert_array_equal(shards.read_embeddings(ref), xb[start:stop])
        assert shards.read_ids(ref).to_pylist() == [f"p{i}" for i in range(start, stop)]
        assert ref.digest == shards.segment_digest(shards.read_ids(ref), xb[start:stop])
    table = shard_table(xb, [f"p{i}" for i in range(50)])
    assert pq.read_table(tmp_path / "s.parquet").equals(table)
    described = shards.shard_metadata(tmp_path / "s.parquet")
    assert described["metric"] == "inner_product"
    assert (described["dim"], described["text_dim"], described["image_dim"], described["encoder"]) == (
        DIM,
        4,
        None,
        "é",
    )


def test_schema_leaves_absent_columns_out() -> None:
    """Without towers and attributes a shard has no columns for them."""
    assert shards.shard_schema(3, None, None, pa.schema([]), {}).names == [
        *(
            "id",
            "row",
            "photo",
            "text_fingerprint",
            "photo_fingerprint",
            "degraded",
            "detail",
            "photos_lost",
            "embedding",
        ),
    ]


def test_same_table_same_bytes(tmp_path: Path) -> None:
    """Writing a table twice gives equal files."""
    for name in ("a", "b"):
        written(tmp_path / name, rows_of(300), [0, 100, 300])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("boundaries", [[0], [0, 4], [1, 5], [0, 3, 3, 5], [0, 4, 2, 5]])
def test_boundaries_must_cover_the_table(tmp_path: Path, boundaries: list[int]) -> None:
    """Segments that overlap, are empty or miss rows are refused."""
    with pytest.raises(ValueError, match="boundaries must rise from 0 to 5"):
        written(tmp_path / "s.parquet", rows_of(5), boundaries)


def test_altered_bytes_are_found(tmp_path: Path) -> None:
    """A flipped bit in the ids or the embeddings is an error, never other numbers."""
    xb = rows_of(400)
    path = tmp_path / "s.parquet"
    ref = written(path, xb, [0, 400])[0]
    original = path.read_bytes()
    group = pq.read_metadata(path).row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    rng = np.random.default_rng(0)
    found = 0
    for name in ["id", "embedding.list.element"] * 20:
        column = columns[name]
        start = column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset
        at = int(rng.integers(start, start + column.total_compressed_size))
        path.write_bytes(original[:at] + bytes([original[at] ^ 1 << int(rng.integers(8))]) + original[at + 1 :])
        try:
            same = list(shards.verified_blocks([ref])), shards.read_ids(ref).to_pylist()
        except IntegrityError:
            found += 1
            continue
        # A bit of a page header that decides nothing (a statistic, say) may flip without altering what is read.
        np.testing.assert_array_equal(np.concatenate(same[0]), xb)
        assert same[1] == [f"p{i}" for i in range(400)]
    assert found >= 35


def test_another_segment_under_the_digest_is_found(tmp_path: Path) -> None:
    """Rows swapped between ids, or a digest of other rows, end in an IntegrityError that names the shard."""
    ref = written(tmp_path / "s.parquet", rows_of(30), [0, 30])[0]
    other = written(tmp_path / "t.parquet", rows_of(30, seed=1), [0, 30])[0]
    with pytest.raises(IntegrityError, match=r"t\.parquet"):
        list(shards.verified_blocks([SegmentRef(other.path, 0, 30, ref.digest)]))
    with pytest.raises(IntegrityError, match="30 rows in row group 0"):
        shards.read_ids(SegmentRef(other.path, 0, 29, other.digest))
    with pytest.raises(IntegrityError, match="row group 1 of 1"):
        shards.read_embeddings(SegmentRef(other.path, 1, 30, other.digest))


def test_rows_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    """NaN, which FAISS would drop without a word, never leaves the reader."""
    xb = rows_of(30)
    xb[7, 3] = np.nan
    ref = written(tmp_path / "s.parquet", xb, [0, 30])[0]
    with pytest.raises(IntegrityError, match="finite"):
        shards.read_embeddings(ref)


def test_a_file_that_is_no_shard_is_refused(tmp_path: Path) -> None:
    """Other files, missing ones and newer formats are named, in three parts."""
    (tmp_path / "text").write_text("hello")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other.parquet")
    for name in ("text", "absent", "other.parquet"):
        with pytest.raises(IntegrityError, match=name):
            shards.read_embeddings(SegmentRef(tmp_path / name, 0, 1, ""))


@given(st.lists(st.text(max_size=4), min_size=1, max_size=6), st.lists(st.text(max_size=4), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_digest_tells_ids_apart(left: list[str], right: list[str]) -> None:
    """Two lists of ids have one digest only when they are equal, however their letters are cut."""
    one = shards.segment_digest(pa.array(left, pa.string()), np.zeros((len(left), 2), np.float32))
    two = shards.segment_digest(pa.array(right, pa.string()), np.zeros((len(right), 2), np.float32))
    assert (one == two) == (left == right)


def test_digest_knows_each_number_and_the_shape() -> None:
    """One changed number, or other rows out of the same numbers, is another digest."""
    ids, xb = pa.array(["a", "b"]), np.arange(8, dtype=np.float32).reshape(2, 4)
    changed = xb.copy()
    changed[1, 2] += 1
    digests = {shards.segment_digest(ids, x) for x in (xb, changed, xb[::-1])} | {
        shards.segment_digest(pa.array(["a", "b", "c", "d"]), xb.reshape(4, 2))
    }
    assert len(digests) == 4


@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(1, 50), st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_blocks_are_the_rows(tmp_path_factory: pytest.TempPathFactory, sizes: list[int], step: int, seed: int) -> None:
    """However rows are spread over segments, blocks are all rows in order."""
    folder = tmp_path_factory.mktemp("shards")
    xb = rows_of(sum(sizes), seed)
    refs, start = [], 0
    for i, n in enumerate(sizes):
        refs += written(folder / f"{i}", xb[start : start + n], [0, n])
        start += n
    read = list(shards.blocks(refs, step))
    assert max(len(block) for block in read) <= step
    np.testing.assert_array_equal(np.concatenate(read), xb)


def test_a_footer_is_read_once_while_its_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All segments of a shard are read by one parsing of its footer; of a shard that is written anew, by its own."""
    parsed = list[Path]()
    opened = pq.ParquetFile

    def watched(path: Path, metadata: pq.FileMetaData | None = None, **more: object) -> pq.ParquetFile:
        parsed.extend([path] if metadata is None else [])
        return opened(path, metadata=metadata, **more)

    path = tmp_path / "s.parquet"
    refs = written(path, rows_of(30), [0, 10, 20, 30])
    monkeypatch.setattr(shards.pq, "ParquetFile", watched)
    assert len(list(shards.verified_blocks(refs))) == 3
    assert parsed == [path]
    path.unlink()
    assert len(list(shards.verified_blocks(written(path, rows_of(8, seed=1), [0, 8])))) == 1
    assert parsed == [path, path]


@pytest.mark.parametrize("ids", [["a", "bc", "é", ""], ["", "", "", ""], ["abc", "é", "", "x"]])
def test_ids_are_told_apart_by_their_digest(ids: list[str]) -> None:
    """However an array of ids is cut or sliced, its digest is that of its texts and of where each of them ends."""
    whole = pa.array(ids)
    sliced = pa.array(["before", *ids, "after"]).slice(1, 4)
    chunked = pa.chunked_array([whole.slice(0, 1), whole.slice(1, 0), whole.slice(1)])
    assert shards.ids_digest(whole, 4) == shards.ids_digest(sliced, 4) == shards.ids_digest(chunked, 4)
    others = (["ab", "c", "é", ""], ["a", "bc", "é"], [*reversed(ids)], ["abc", "é", "x", ""])
    assert all(shards.ids_digest(pa.array(other), 4) != shards.ids_digest(whole, 4) for other in others if other != ids)
