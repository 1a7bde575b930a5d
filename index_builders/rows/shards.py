"""The format of embedding shards, and how builders read them: by blocks, or a random sample.

A shard is one Parquet file; its rows are sorted by partition, each partition is one row group, a segment. `embedding`
is a list of float32 that any Parquet reader takes for a vector; its values are float16 numbers, so that float16 refine
vectors are equal to it. The tower vectors, which only Vitrine reads, are plain float16 bytes.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from blake3 import blake3

from foundation.arrays import Vectors
from foundation.errors import IntegrityError
from foundation.machine import machine_fault

FORMAT = 1
METADATA_KEY = b"vitrine"
_VECTORS = ("embedding", "text_vector", "image_vector")
_RANDOM_BYTES = ("text_fingerprint", "photo_fingerprint")
TEXTS = "texts"
_BUFFER = 1 << 20  # bytes of a column read at a time: by default a whole column chunk is held
_FOOTER_BYTES = 1 << 20  # of footers that are held, as they lie in files: parsed they take ten times that
_READ_NUMBERS = 1 << 20  # decoded at a time: 4 MB, of which pyarrow makes 16 on the way


@dataclass(frozen=True)
class SegmentRef:
    """Where one partition's rows of one shard lie. `digest` covers their ids and embeddings, in order.

    `source` and `groups` say what they were made of, for whoever asks for them anew: a catalog file and its row groups,
    from one to before another.
    """

    path: Path
    row_group: int
    rows: int
    digest: str
    source: str = ""
    groups: tuple[int, int] = (0, 0)


# --- writing ---


def embedding_type(dim: int) -> pa.DataType:
    """The Arrow type of `embedding`: fixed-size list of `dim` float32, no nulls inside."""
    return pa.list_(pa.field("element", pa.float32(), nullable=False), dim)


def shard_schema(
    dim: int,
    text_dim: int | None,
    image_dim: int | None,
    attributes: pa.Schema,
    metadata: Mapping[str, Any],
    searched: Sequence[str] = (),
) -> pa.Schema:
    """The schema of a shard. A tower length of None leaves its column out, and so do no attributes `attributes`, and
    no `searched`, the canonical columns whose texts are searched by their words.

    `metadata` is JSON-able and kept beside format, dim, metric and tower lengths under the key `vitrine`.
    """
    fields = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("photo", pa.string()),
        pa.field("text_fingerprint", pa.binary(16)),
        pa.field("photo_fingerprint", pa.binary(16)),
        pa.field("degraded", pa.string()),
        pa.field("detail", pa.string()),  # why a row is degraded, or lost some of its photos
        pa.field("photos_lost", pa.int32()),
    ]
    if len(attributes):
        fields.insert(3, pa.field("attributes", pa.struct(list(attributes))))
    if searched:
        fields.append(pa.field(TEXTS, pa.struct([(name, pa.string()) for name in searched])))
    towers = (("text_vector", text_dim), ("image_vector", image_dim))
    fields += [pa.field(name, pa.binary(2 * length)) for name, length in towers if length is not None]
    fields.append(pa.field("embedding", embedding_type(dim), nullable=False))
    known = {"format": FORMAT, "dim": dim, "metric": "inner_product", "text_dim": text_dim, "image_dim": image_dim}
    described = json.dumps({**metadata, **known}, sort_keys=True)
    return pa.schema(fields, metadata={METADATA_KEY: described.encode()})


def embedding_array(embeddings: Vectors) -> pa.Array:
    """(n, d) float32 as an `embedding` column."""
    values = pa.array(np.ascontiguousarray(embeddings, dtype=np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(values, type=embedding_type(embeddings.shape[1]))


def write_shard(path: Path, table: pa.Table, boundaries: Sequence[int]) -> list[str]:
    """Write `table`, already sorted by partition, one row group per segment; the digest of each segment, in order.

    `boundaries` are the offsets of the segments, from 0 to the number of rows. Same table, same bytes.
    """
    rising = list(boundaries) == sorted(set(boundaries))
    if not rising or len(boundaries) < 2 or (boundaries[0], boundaries[-1]) != (0, len(table)):
        raise ValueError(f"boundaries must rise from 0 to {len(table)}, they are {list(boundaries)}")
    plain = [leaf for leaf in _leaves(table.schema) if leaf.split(".")[0] not in (*_VECTORS, *_RANDOM_BYTES, TEXTS)]
    digests = []
    with pq.ParquetWriter(
        path,
        table.schema,
        compression="zstd",
        use_dictionary=plain,
        write_statistics=plain,
        # Measured on float16 numbers, 64 dimensions: 0.44 of the raw size, 0.7 GB/s read; 0.65 and 0.2 without.
        column_encoding={leaf: "BYTE_STREAM_SPLIT" for leaf in _leaves(table.schema) if leaf.startswith("embedding.")},
        write_page_checksum=True,
    ) as writer:
        for start, stop in itertools.pairwise(boundaries):
            segment = table.slice(start, stop - start)
            writer.write_table(segment, row_group_size=stop - start)
            embeddings = segment.column("embedding").combine_chunks()
            digests.append(segment_digest(segment.column("id"), _matrix(embeddings)))
    return digests


def segment_digest(ids: pa.Array | pa.ChunkedArray, embeddings: Vectors) -> str:
    """64 hex digits of the ids and of the (n, d) float32 embeddings, in order."""
    if len(ids) != len(embeddings):
        raise ValueError(f"{len(ids)} ids for {len(embeddings)} embeddings")
    digest = _started(ids, embeddings.shape[1])
    digest.update(np.ascontiguousarray(embeddings, dtype="<f4").tobytes())
    return digest.hexdigest()


# --- reading ---


def shard_metadata(path: Path | BinaryIO) -> dict[str, Any]:
    """What the schema of a shard says of it: format, dim, metric, tower lengths and what the writer added."""
    with _reading(path) as file:
        return _metadata(file, path)


def read_shard(path: Path | BinaryIO, columns: Sequence[str]) -> pa.Table:
    """Those of `columns` that a shard has, of all its rows; IntegrityError for one that is not as it was written."""
    with _reading(path) as file:
        wanted = [name for name in columns if name in file.schema_arrow.names]
        try:
            return file.read(columns=wanted, use_threads=False)
        except (ConnectionError, TimeoutError):  # says nothing of the shard
            raise
        except (OSError, pa.ArrowInvalid) as err:
            raise machine_fault(err) or _damaged(path, str(err)) from err


def read_segments(path: Path | BinaryIO, groups: Sequence[int], columns: Sequence[str]) -> Iterator[pa.Table]:
    """Those of `columns` that a shard has, of each of its row groups `groups`; IntegrityError as above."""
    with _reading(path) as file:
        wanted = [name for name in columns if name in file.schema_arrow.names]
        for group in groups:
            try:
                yield file.read_row_group(group, columns=wanted, use_threads=False)
            except (ConnectionError, TimeoutError):
                raise
            except (OSError, pa.ArrowInvalid) as err:
                raise machine_fault(err) or _damaged(path, str(err)) from err


def ids_digest(ids: pa.Array | pa.ChunkedArray, dim: int) -> str:
    """64 hex digits of (n,) string ids, in order, of rows of length `dim`."""
    return str(_started(ids, dim).hexdigest())


def read_ids(ref: SegmentRef) -> pa.Array:
    """The ids of a segment, (rows,) string."""
    with _reading(ref.path) as file:
        _check_rows(file, ref)
        try:
            ids = file.read_row_group(ref.row_group, columns=["id"], use_threads=False).column("id").combine_chunks()
        except (OSError, pa.ArrowInvalid) as err:
            raise machine_fault(err) or _damaged(ref.path, str(err)) from err
    if ids.null_count:
        raise _damaged(ref.path, f"{ids.null_count} ids are null in row group {ref.row_group}")
    return ids


def read_embeddings(ref: SegmentRef) -> Vectors:
    """The embeddings of a segment, (rows, d) float32, finite."""
    return np.concatenate(list(_segment_blocks(ref)))


def read_places(ref: SegmentRef, rows: npt.NDArray[np.int64]) -> tuple[list[str], list[int]]:
    """The ids of a segment's `rows`, (n,) int64 rising row numbers, and which rows of their source they were."""
    with _reading(ref.path) as file:
        _check_rows(file, ref)
        try:
            table = file.read_row_group(ref.row_group, columns=["id", "row"], use_threads=False).take(pa.array(rows))
        except (OSError, pa.ArrowInvalid) as err:
            raise machine_fault(err) or _damaged(ref.path, str(err)) from err
    return table.column("id").to_pylist(), table.column("row").to_pylist()


def read_fingerprints(ref: SegmentRef, tower: str) -> pa.Array:
    """What tells the texts or photos of a segment's rows apart, (rows,) binary of 16 bytes; null where there is none.
    `tower` is `text` or `photo`.
    """
    with _reading(ref.path) as file:
        _check_rows(file, ref)
        try:
            found = file.read_row_group(ref.row_group, columns=[f"{tower}_fingerprint"], use_threads=False)
        except (OSError, pa.ArrowInvalid) as err:
            raise machine_fault(err) or _damaged(ref.path, str(err)) from err
    return found.column(0).combine_chunks()


def read_tower(ref: SegmentRef, tower: str) -> tuple[Vectors, npt.NDArray[np.bool_]]:
    """The vectors, (rows, dt) float32, that a tower, `text` or `image`, made of a segment's rows, and which there are;
    the others are zeros.
    """
    with _reading(ref.path) as file:
        length = _metadata(file, ref.path).get(f"{tower}_dim")
        if length is None:
            raise _damaged(ref.path, f"no column {tower}_vector")
        _check_rows(file, ref)
        try:
            column = file.read_row_group(ref.row_group, columns=[f"{tower}_vector"], use_threads=False).column(0)
        except (OSError, pa.ArrowInvalid) as err:
            raise _damaged(ref.path, str(err)) from err
    there = column.is_valid().to_numpy()
    raw = b"".join(column.drop_null().to_pylist())
    vectors = np.zeros((len(there), length), dtype=np.float32)
    vectors[there] = np.frombuffer(raw, dtype="<f2").reshape(-1, length)
    return vectors, there


def blocks(segments: Iterable[SegmentRef], rows: int | None = None) -> Iterator[Vectors]:
    """The embeddings of `segments` in order, (n, d) float32, n <= rows, finite; no block spans two segments.

    By default as many rows as are about a million numbers.
    """
    for ref in segments:
        yield from _segment_blocks(ref, rows)


def verified_blocks(
    segments: Iterable[SegmentRef], rows: int | None = None, see_ids: Callable[[pa.Array, str], None] | None = None
) -> Iterator[Vectors]:
    """`blocks`, (n, d) float32 each, with digests checked: IntegrityError after a segment whose ids or embeddings are
    not those recorded.

    `see_ids` is given the ids of each segment, (rows,) string, and their `ids_digest`, before its first block.
    """
    for ref in segments:
        digest = None
        for block in _segment_blocks(ref, rows):
            if digest is None:
                ids = read_ids(ref)
                digest = _started(ids, block.shape[1])
                if see_ids is not None:
                    see_ids(ids, digest.hexdigest())
            digest.update(block.tobytes())
            yield block
        if digest is None or digest.hexdigest() != ref.digest:
            found = "no rows" if digest is None else f"digest {digest.hexdigest()}"
            raise _damaged(ref.path, f"{found} in row group {ref.row_group}, recorded as {ref.digest}")


def _segment_blocks(ref: SegmentRef, rows: int | None = None) -> Iterator[Vectors]:
    with _reading(ref.path) as file:
        dim = _metadata(file, ref.path)["dim"]
        _check_rows(file, ref)
        try:
            at_once = rows or max(1, _READ_NUMBERS // dim)
            for batch in file.iter_batches(
                at_once, row_groups=[ref.row_group], columns=["embedding"], use_threads=False
            ):
                block = _matrix(batch.column(0))
                if block.shape[1] != dim or not np.isfinite(block).all():
                    raise _damaged(
                        ref.path, f"embeddings that are not {dim} finite numbers in row group {ref.row_group}"
                    )
                yield block
        except (OSError, pa.ArrowInvalid) as err:
            raise machine_fault(err) or _damaged(ref.path, str(err)) from err


def _matrix(embeddings: pa.Array) -> Vectors:
    """An `embedding` column as (n, d) float32, without a copy; flatten(), unlike values, minds slices."""
    numbers: Vectors = embeddings.flatten().to_numpy(zero_copy_only=True)
    return numbers.reshape(len(embeddings), embeddings.type.list_size)


def _started(ids: pa.Array | pa.ChunkedArray, dim: int) -> blake3:
    """A digest that has seen the shape, the length of each id and the ids, so that no two lists of ids look alike."""
    chunks = ids.chunks if isinstance(ids, pa.ChunkedArray) else [ids]
    lengths = [pc.binary_length(chunk.cast(pa.binary())).to_numpy(zero_copy_only=False) for chunk in chunks]
    digest = blake3(np.concatenate([[len(ids), dim], *lengths]).astype("<i8").tobytes())
    for chunk in chunks:
        digest.update(_joined(chunk))
    return digest


def _joined(texts: pa.Array) -> bytes:
    """All of a string array's UTF-8 after one another, as it lies there."""
    _, offsets, joined = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1] if offsets else [0]
    return joined[int(ends[0]) : int(ends[-1])].to_pybytes() if joined else b""


def _leaves(schema: pa.Schema) -> list[str]:
    """The Parquet paths of the columns, nested ones too: `embedding.list.element`."""
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    written = pq.read_metadata(pa.BufferReader(sink.getvalue())).schema
    return [written.column(i).path for i in range(len(written))]


def _reading(path: Path | BinaryIO) -> pq.ParquetFile:
    try:
        if not isinstance(path, Path):
            return pq.ParquetFile(path, page_checksum_verification=True, buffer_size=_BUFFER)
        found = path.stat()
        key = str(path), found.st_ino, found.st_size, found.st_mtime_ns
        file = pq.ParquetFile(path, metadata=_FOOTERS.get(key), page_checksum_verification=True, buffer_size=_BUFFER)
    except (OSError, pa.ArrowInvalid) as err:
        raise machine_fault(err) or _damaged(path, str(err)) from err
    _FOOTERS.keep(key, file.metadata)
    return file


class _Footers:
    """Footers of the shards that were read last: one of 256 segments takes 5 ms to parse, again for each of them."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[str, int, int, int], pq.FileMetaData] = OrderedDict()
        self._lock = threading.Lock()  # indexes are built on several threads

    def get(self, key: tuple[str, int, int, int]) -> pq.FileMetaData | None:
        """The footer of a file as it lies there; None where it has to be read."""
        with self._lock:
            return self._held.get(key)

    def keep(self, key: tuple[str, int, int, int], footer: pq.FileMetaData) -> None:
        """Hold it as the one that was used last, as far as there is room."""
        with self._lock:
            self._held[key] = footer
            self._held.move_to_end(key)
            while sum(one.serialized_size for one in self._held.values()) > _FOOTER_BYTES:
                self._held.popitem(last=False)


_FOOTERS = _Footers()


def _metadata(file: pq.ParquetFile, path: Path | BinaryIO) -> dict[str, Any]:
    described = json.loads((file.schema_arrow.metadata or {}).get(METADATA_KEY, b"{}"))
    if described.get("format") != FORMAT:
        raise IntegrityError(
            f"{_place(path)} to be a shard of format {FORMAT}",
            f"format {described.get('format')}",
            "read it with the version of vitrine that wrote it, or a later one",
        )
    return dict(described)


def _check_rows(file: pq.ParquetFile, ref: SegmentRef) -> None:
    groups = file.metadata.num_row_groups
    found = file.metadata.row_group(ref.row_group).num_rows if ref.row_group < groups else None
    if found != ref.rows:
        raise _damaged(ref.path, f"{found} rows in row group {ref.row_group} of {groups}, recorded as {ref.rows}")


def _damaged(path: Path | BinaryIO, came: str) -> IntegrityError:
    fix = "run `vitrine verify STORE`, delete the files that it names, and run `vitrine run` again: it writes them anew"
    return IntegrityError(f"{_place(path)} as it was written", came, fix)


def _place(path: Path | BinaryIO) -> str:
    if isinstance(path, Path):
        return str(path)
    return str(getattr(path, "path", None) or getattr(path, "name", None) or path)  # fsspec's, or a local file's
